"""Whether what is stored was made with the options that are asked for."""

import itertools
import json
import warnings
from pathlib import Path

from experiments.disk.errors import ResultsError
from experiments.grid.cells import Cell
from experiments.grid.networks import Variant

_OF_ONE_CELL = ("size", "variant", "widths", "regulariser")
"""In which the cells of a sweep differ."""


def complete(stored: dict) -> dict:
    """A stored configuration, with what it did not say when it was written: networks were of one family, and
    no rate shrank."""
    protocol = {"family": "mlp", "optimisation": {}} | stored.get("protocol", {})
    protocol["optimisation"] = {"schedule": "constant"} | protocol["optimisation"]
    return stored | {"protocol": protocol}


def check_form(found: object, like: object, name: str = "configuration") -> None:
    """ValueError unless a configuration that was found, read from JSON, has all parts of one that it should
    be like: for a text a text, for a number a number, for a list a list of these."""
    if _kind(found) != _kind(like):
        raise ValueError(f"{name} is {found!r:.50}")
    if isinstance(found, dict) and isinstance(like, dict):
        for key, value in like.items():
            check_form(found.get(key), value, key)
    elif isinstance(found, list) and isinstance(like, (list, tuple)):
        for each in found:
            check_form(each, like[0], name)


def _kind(value: object) -> object:
    kinds = {tuple: list, bool: int, float: int}
    return kinds.get(type(value), type(value))


def check(what: object, found: str, cell: Cell) -> None:
    """ResultsError if the configuration that was found of something, as JSON, is not the cell's."""
    stored = complete(json.loads(found))
    if "variant" in stored:
        stored = stored | {"variant": Variant.parse(stored["variant"]).name}  # once stored as it was typed
    check_numbers(what, stored, json.loads(json.dumps(cell.configuration())))  # tuples become lists


def check_numbers(what: object, found: dict, wanted: dict) -> None:
    """ResultsError if what was found of something is not what is wanted."""
    if different := "; ".join(_differences(found, wanted)):
        raise ResultsError(
            f"{what} was made with other options ({different}): give the same ones, or another --out"
        )


def check_data(what: object, found: str, wanted: str) -> None:
    """ResultsError if something was trained on other data than what is added to it, by `Dataset.identity`.

    Results of before 0.2 have a version and no hash: a warning says that their content was not compared.
    """
    if not same_data(found, wanted):
        raise ResultsError(
            f"{what} was trained on other data (version {found} there, not {wanted}): give those, or another "
            "--out"
        )
    if "sha256:" in wanted and not all("sha256:" in each for each in found.split("; ")):
        warnings.warn(
            f"{what} names the version of its data ({found}) and not their content, which was not compared",
            stacklevel=2,
        )


def same_data(found: str, wanted: str) -> bool:
    """Whether versions, and hashes where both have one, are the same; one text may be of several data."""
    told = [each.split() for text in (found, wanted) for each in text.split("; ")]
    pairs = itertools.combinations(told, 2)
    return all(one == other for pair in pairs for one, other in zip(*pair, strict=False))


def check_together(path: Path, found: str, wanted: str) -> None:
    """ResultsError if the cell in a file and the one wanted, by their configurations, are of two sweeps."""
    ours, theirs = (
        {name: value for name, value in complete(json.loads(each)).items() if name not in _OF_ONE_CELL}
        for each in (found, wanted)
    )
    if different := "; ".join(_differences(ours, theirs)):
        raise ResultsError(f"{path} is of another sweep ({different}): keep them in folders apart, by --out")


def _differences(found: object, wanted: object, name: str = "") -> list[str]:
    """`name is FOUND there, not WANTED` for every number or string in which two configurations differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in wanted | found
            for line in _differences(found.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{name} is {found} there, not {wanted}"]
