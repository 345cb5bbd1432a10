"""What is wrong with a file, in one line that never advises to destroy what may be whole."""

from pathlib import Path


class ResultsError(Exception):
    """What is on disk is not what was asked for: one line that says what was found and what to do."""


def first_line(error: Exception) -> str:
    """What an error says first; its kind if it says nothing. A file's own words may not move the cursor."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def unreadable(path: Path, error: Exception, kind: str) -> ResultsError:
    """Why a file could not be read: another program has it, it may not be, or what is in it is damaged."""
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
        f"{path} is not a readable {kind} ({first_line(error)}): it is damaged or another's, move it away"
    )
