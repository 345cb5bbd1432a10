"""What the commands have in common: options, the console, and errors of one line."""

import dataclasses
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console

from experiments.disk.errors import ResultsError, first_line
from experiments.disk.files import expanded

Options = TypeVar("Options")


def parse(options: type[Options], name: str) -> Options:
    """The options of `python -m experiments.NAME`, a dataclass; ~ in paths is the home folder."""
    parsed: Any = tyro.cli(options, prog=f"python -m experiments.{name}")
    paths = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)}
    return dataclasses.replace(
        parsed, **{name: expanded(path) for name, path in paths.items() if isinstance(path, Path)}
    )


def make_console() -> Console:
    """Standard output; text is printed as it is. Wide enough for the table wherever nobody reads along."""
    if sys.stdout is None:  # closed
        return Console(file=open(os.devnull, "w"), width=160, markup=False, highlight=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that cannot be printed is no reason to stop
    return Console(width=None if is_live(sys.stdout) else 160, markup=False, highlight=False)


def is_live(stream: Any) -> bool:
    """Whether a stream is a terminal on which a line can be drawn again."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


@contextmanager
def explained() -> Iterator[None]:
    """Turns what users can mend into one line, SystemExit without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on from the last checkpoint") from None
    except (ValueError, OSError, RuntimeError, ResultsError) as error:
        raise SystemExit(f"error: {first_line(error)}") from error
