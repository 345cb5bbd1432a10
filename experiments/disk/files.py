"""Files: the one way in which this project replaces one, and where users keep theirs."""

import math
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write_to: Callable[[Any], object]) -> None:
    """Writes a file of which a reader, or a crash, sees all or nothing; the last of several writers wins."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb+") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path, suffix: str) -> None:
    """Removes what killed writers of files of a suffix left behind: nobody may be writing any now."""
    for path in folder.glob(f".*{suffix}.*.tmp"):
        path.unlink(missing_ok=True)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path that a user gave, ~ and ~user being users' folders; ValueError if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}; give the folder itself") from None


def cache_dir() -> Path | None:
    """Where what can be made again is kept: $XDG_CACHE_HOME/decorr, ~/.cache/decorr; None without a home."""
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "decorr"
    except ValueError:
        return None


def least_bytes(shape: Iterable[int], itemsize: int) -> int:
    """Of an array in a file. One without entries, or of entries of nothing, counts as if it had some: whoever
    goes along its other axes does so as often."""
    return math.prod(max(1, length) for length in shape) * max(1, itemsize)
