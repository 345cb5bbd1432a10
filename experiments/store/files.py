"""The one way in which this project replaces a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ResultsError(Exception):
    """What is on disk is not what was asked for: one line that says what was found and what to do."""


def write_atomically(path: Path, write_to: Callable[[Any], object]) -> None:
    """Writes a file of which a reader, or a crash, sees all or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb+") as file:
        write_to(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
