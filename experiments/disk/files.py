"""Replaces files, lists folders and finds users' folders. The project does this only here."""

import io
import os
import re
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from experiments.disk.errors import ResultsError

Content = TypeVar("Content")


def write_atomically(path: Path, write_to: Callable[[io.BytesIO], object]) -> None:
    """Writes a file completely or not at all, even in a crash. The last of several writers wins.

    If the path is a link, the link's target is replaced. The content is made in memory, because on a full
    disk HDF5 and zip cannot close a file, and HDF5 then ends the process. An OSError names the path.
    """
    content = io.BytesIO()
    write_to(content)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path, suffix: str) -> None:
    """Removes the unfinished files that killed writers left. `suffix` is that of the finished files. Call it
    only while nothing writes to `folder`."""
    for path in folder.glob(f".*{suffix}.*.tmp"):
        path.unlink(missing_ok=True)


def listed(folder: Path, suffix: str) -> list[Path]:
    """Returns a folder's files with a suffix, sorted. Hidden files, such as macOS's ._NAME, are left out."""
    visible = (path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    return sorted(path for path in visible if path.is_file())


def load_all(folder: Path, suffix: str, load: Callable[[Path], Content]) -> dict[str, Content]:
    """Loads a folder's files with a suffix. Returns a dict from each file's name, without the suffix, to its
    content. A file whose loading raises ResultsError is left out, with a warning."""
    loaded = {}
    for path in listed(folder, suffix):
        try:
            loaded[path.stem] = load(path)
        except ResultsError as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
    return loaded


def expanded(path: str | os.PathLike[str]) -> Path:
    """Returns a path with ~ and ~user replaced by users' folders. Raises ValueError if there is no such user,
    or for an address such as gs://bucket, which pathlib would turn into a folder named gs:."""
    if re.match(r"\w[\w+.-]+:/", str(path)):
        raise ValueError(f"{path} is an address: give a folder of this machine")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}; give the folder itself") from None


def check_folder(path: Path) -> None:
    """Raises ValueError if a file stands where a folder is needed."""
    there = next(part for part in (path, *path.parents) if os.path.lexists(part))
    if not there.is_dir():
        raise ValueError(f"{there} is not a folder: give a folder")


def cache_dir() -> Path | None:
    """Returns the folder for caches: $XDG_CACHE_HOME/decorr or ~/.cache/decorr; None without a home
    folder."""
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "decorr"
    except ValueError:
        return None
