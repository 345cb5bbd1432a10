"""Errors for unknown names, with a suggestion. Standard library only."""

import difflib
from collections.abc import Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def check_name(what: str, name: str, names: Iterable[Name]) -> Name:
    """Returns the name if it is known. Otherwise raises ValueError with a suggestion and all known names."""
    known = list(names)
    for each in known:
        if each == name:
            return each
    raise ValueError(f"unknown {what} {name!r}{meant(name, known)}: choose from {', '.join(known)}")


def meant(name: str, names: Iterable[str]) -> str:
    """Returns ` (did you mean 'NAME'?)` with the closest name, or "" if no name is close."""
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != name else ""
