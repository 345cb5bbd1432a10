"""Measures how long a user waits for the first epoch, and for the compiler."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SWEEP = (sys.executable, "-m", "experiments.sweep")


def measure() -> Iterator[dict[str, Any]]:
    """Times `--help` and `--plan`, and the default sweep with a cold and a warm compilation cache. For the
    sweep, measures the seconds until a terminal shows a finished epoch, and the seconds of compiling."""
    for option in ("--help", "--plan"):
        start = time.perf_counter()
        subprocess.run([*_SWEEP, option], stdout=subprocess.DEVNULL, check=True)
        yield {"what": option, "seconds": time.perf_counter() - start}
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("cold", "warm"):
            seconds, log = _first_epoch(Path(folder), cache)
            yield {"what": f"first epoch, {cache} cache", "seconds": seconds}
            for name, seconds in re.findall(
                r"Finished XLA compilation of jit\((\w+)\) in ([\d.e-]+) sec", log
            ):
                if float(seconds) > 0.1:
                    yield {"what": f"{name}, {cache} cache", "seconds": float(seconds)}


def _first_epoch(folder: Path, out: str) -> tuple[float, str]:
    """Returns the seconds until a terminal shows a finished epoch, and everything that it shows until then,
    including JAX's log of compilations."""
    environment = {n: v for n, v in os.environ.items() if n != "JAX_COMPILATION_CACHE_DIR"} | {
        "JAX_LOG_COMPILES": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    import pty  # not on every system

    command = [*_SWEEP, "--out", str(folder / out)]
    terminal, its_end = pty.openpty()
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=its_end, stderr=its_end)
    os.close(its_end)
    try:
        shown = b""
        while not re.search(rb"epoch [1-9]", shown):  # the terminal may not show every epoch
            try:
                more = os.read(terminal, 1 << 16)
            except OSError:  # Linux raises this when the other end is closed
                more = b""
            if not more:
                raise RuntimeError(f"{' '.join(command)} failed: {shown.decode(errors='replace')}")
            shown += more
        return time.perf_counter() - start, shown.decode(errors="replace")
    finally:
        process.kill()  # otherwise the sweep would write to the terminal even after an interruption
        process.wait()
        os.close(terminal)
