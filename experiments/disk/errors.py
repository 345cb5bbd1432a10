"""One-line errors about files. No error advises deleting a file that may be intact."""

from pathlib import Path


class ResultsError(Exception):
    """An error about an unexpected file. It says in one line what is wrong, and what to do."""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or the error's class if the message is empty. Control
    characters from a file are escaped."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def unreadable(path: Path, error: Exception, kind: str) -> ResultsError:
    """Returns an error that says why a file could not be read: it is locked, not permitted, or damaged."""
    try:
        if isinstance(error, BlockingIOError):  # HDF5 could not lock it
            raise error
        with path.open("rb") as file:
            file.read(1)
    except BlockingIOError:
        return ResultsError(f"{path} is in use by another program: close it and run again")
    except OSError as refusal:
        return ResultsError(f"{path} cannot be read by this user or from this disk: {refusal.strerror}")
    return ResultsError(
        f"{path} is not a readable {kind} ({first_line(error)}): it is damaged or from another program, so "
        "move it away"
    )
