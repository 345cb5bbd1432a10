"""Whether what is stored was made with the options that are asked for."""

import json
from pathlib import Path

from decorr.config import Variant
from experiments.run.grid import Cell
from experiments.store.errors import ResultsError


def check(path: Path, found: object, cell: Cell) -> None:
    """ResultsError if the configuration that was found in a file, as JSON, is not the cell's."""
    if different := differences(json.loads(found) if isinstance(found, str) else {}, cell):
        raise ResultsError(
            f"{path} was made with other options ({different}): give the same ones, or another --out"
        )


def differences(found: dict, cell: Cell) -> str:
    """In which numbers and strings a stored configuration is not the cell's; empty if in none."""
    wanted = json.loads(json.dumps(cell.configuration()))  # tuples become lists
    if "variant" in found:
        found = found | {"variant": Variant.parse(found["variant"]).name}  # once stored as it was typed
    return "; ".join(_differences(found, wanted))


def _differences(found: object, wanted: object, name: str = "") -> list[str]:
    """`name is FOUND there, not WANTED` for every number or string in which two configurations differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in wanted | found
            for line in _differences(found.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{name} is {found} there, not {wanted}"]
