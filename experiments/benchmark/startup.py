"""How long a user waits for the first epoch, and for the compiler."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decorr.config import Size


def measure(size: Size) -> Iterator[dict[str, Any]]:
    """Seconds to the first finished epoch, and of compiling, with a cold and a warm compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("cold", "warm"):
            command = [sys.executable, "-m", "experiments.sweep", "--sizes", size, "--variants", "corr-0.1"]
            environment = {n: v for n, v in os.environ.items() if n != "JAX_COMPILATION_CACHE_DIR"} | {
                "JAX_LOG_COMPILES": "1",
                "XDG_CACHE_HOME": str(Path(folder) / "cache"),
            }
            start = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--epochs", "1", "--out", str(Path(folder) / cache)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout
            for line in process.stdout:
                if "epoch 1/1" in line:
                    yield {"what": f"first epoch, {cache} cache", "seconds": time.perf_counter() - start}
            _, log = process.communicate()
            if process.wait():
                raise RuntimeError(f"{' '.join(command)} failed")
            for name, seconds in re.findall(
                r"Finished XLA compilation of jit\((\w+)\) in ([\d.e-]+) sec", log
            ):
                if float(seconds) > 0.1:
                    yield {"what": f"{name}, {cache} cache", "seconds": float(seconds)}
