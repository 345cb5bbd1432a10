"""Whether what is stored was made with the options that are asked for."""

import json
from pathlib import Path

from decorr.config import Variant
from experiments.run.grid import Cell
from experiments.store.errors import ResultsError

_OF_ONE_CELL = ("size", "variant", "widths", "regulariser")
"""In which the cells of a sweep differ."""


def complete(stored: dict) -> dict:
    """A stored configuration, with what it did not say when it was written: networks were of one family, and
    no rate shrank."""
    protocol = {"family": "mlp", "optimisation": {}} | stored.get("protocol", {})
    protocol["optimisation"] = {"schedule": "constant"} | protocol["optimisation"]
    return stored | {"protocol": protocol}


def check(path: Path, found: str, cell: Cell) -> None:
    """ResultsError if the configuration that was found in a file, as JSON, is not the cell's."""
    _refuse(path, differences(json.loads(found), cell))


def check_numbers(path: Path, found: str, wanted: dict) -> None:
    """ResultsError if what was found in a file, as JSON, is not what is wanted: plain numbers and strings."""
    _refuse(path, "; ".join(_differences(json.loads(found), wanted)))


def _refuse(path: Path, different: str) -> None:
    if different:
        raise ResultsError(
            f"{path} was made with other options ({different}): give the same ones, or another --out"
        )


def differences(found: dict, cell: Cell) -> str:
    """In which numbers and strings a stored configuration is not the cell's; empty if in none."""
    wanted = json.loads(json.dumps(cell.configuration()))  # tuples become lists
    found = complete(found)
    if "variant" in found:
        found = found | {"variant": Variant.parse(found["variant"]).name}  # once stored as it was typed
    return "; ".join(_differences(found, wanted))


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
