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


def check(what: object, found: str, cell: Cell) -> None:
    """ResultsError if the configuration that was found of something, as JSON, is not the cell's."""
    stored = complete(json.loads(found))
    if "variant" in stored:
        stored = stored | {"variant": Variant.parse(stored["variant"]).name}  # once stored as it was typed
    wanted = json.dumps(cell.configuration())  # tuples become lists
    check_numbers(what, json.dumps(stored), json.loads(wanted))


def check_numbers(what: object, found: str, wanted: dict) -> None:
    """The same of plain numbers and strings."""
    if different := "; ".join(_differences(json.loads(found), wanted)):
        raise ResultsError(
            f"{what} was made with other options ({different}): give the same ones, or another --out"
        )


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
