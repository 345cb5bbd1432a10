"""Lets only one command at a time write in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from experiments.disk.errors import ResultsError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second writer out of the folder. The operating system unlocks the folder, however this process
    ends."""
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise ResultsError(f"another command is at work in {folder}: wait, or give --out") from None
