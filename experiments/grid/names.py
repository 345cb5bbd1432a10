"""Errors for unknown names, with a suggestion."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: str, names: Iterable[str]) -> ValueError:
    """The error of an unknown name: the known name that is closest to it, and all known names."""
    known = list(names)
    return ValueError(f"unknown {kind} {name!r}{meant(name, known)}: choose from {', '.join(known)}")


def meant(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'NAME'?)` for the closest of some names; empty if none is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != name else ""
