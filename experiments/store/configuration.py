"""Compares stored configurations with the given options."""

import itertools
import json
import warnings
from pathlib import Path

from experiments.disk.errors import ResultsError
from experiments.grid.cells import Cell
from experiments.grid.networks import Variant

_OF_ONE_CELL = ("size", "variant", "widths", "regulariser", "seeds")
"""Parts of a configuration in which the cells of a sweep may differ."""


def complete(stored: dict) -> dict:
    """Adds to a stored configuration the parts that older files lack."""
    protocol: dict = {"family": "mlp", "widths": [], "optimiser": "sgd", "optimisation": {}}
    protocol |= stored.get("protocol", {})
    protocol["optimisation"] = {"schedule": "constant"} | protocol["optimisation"]
    return stored | {"protocol": protocol}


def check_form(stored: object, like: object, name: str = "configuration") -> None:
    """Raises ValueError unless a configuration, read from JSON, has all parts of `like`, with the same types:
    text, number, or a list of these."""
    if _kind(stored) != _kind(like):
        raise ValueError(f"{name} is {stored!r:.50}")
    if isinstance(stored, dict) and isinstance(like, dict):
        for key, value in like.items():
            check_form(stored.get(key), value, key)
    elif isinstance(stored, list) and isinstance(like, (list, tuple)):
        for item in stored:
            check_form(item, like[0], name)


def _kind(value: object) -> object:
    kinds = {tuple: list, bool: int, float: int}
    return kinds.get(type(value), type(value))


def check(source: object, stored: str, cell: Cell) -> None:
    """Raises ResultsError if the stored configuration of a source, as JSON, differs from the cell's."""
    configuration = complete(json.loads(stored))
    if "variant" in configuration:  # older files have the name that the user typed
        configuration |= {"variant": Variant.parse(configuration["variant"]).name}
    check_numbers(source, configuration, json.loads(json.dumps(cell.configuration())))  # tuples become lists


def check_numbers(source: object, stored: dict, wanted: dict) -> None:
    """Raises ResultsError if the stored numbers or texts of a source differ from the wanted ones."""
    if different := "; ".join(_differences(stored, wanted)):
        raise ResultsError(
            f"{source} was made with other options ({different}): give the same options, or another --out"
        )


def check_data(source: object, stored: str, wanted: str) -> None:
    """Raises ResultsError if a source was trained on data with another `Dataset.identity` than `wanted`.

    Results from before 0.2 have no hash. For these, a warning says that only the version was compared.
    """
    if not same_data(stored, wanted):
        raise ResultsError(
            f"{source} was trained on other data ({stored}, not {wanted}): give the data on which it was "
            "trained, or another --out"
        )
    if "sha256:" in wanted and not all("sha256:" in identity for identity in stored.split("; ")):
        warnings.warn(
            f"{source} records the version of its data ({stored}) but not their content: only the version "
            "was compared",
            stacklevel=2,
        )


def same_data(first: str, second: str) -> bool:
    """Returns whether two identities of data have the same version, and the same hash if both have one. An
    identity may join those of several data sets by "; "."""
    identities = [identity.split() for text in (first, second) for identity in text.split("; ")]
    pairs = itertools.combinations(identities, 2)
    return all(ours == theirs for pair in pairs for ours, theirs in zip(*pair, strict=False))


def check_together(path: Path, stored: str, wanted: str) -> None:
    """Raises ResultsError if the configurations of a stored and a wanted cell are of different sweeps."""
    theirs, ours = (
        {name: value for name, value in complete(json.loads(text)).items() if name not in _OF_ONE_CELL}
        for text in (stored, wanted)
    )
    if different := "; ".join(_differences(theirs, ours)):
        raise ResultsError(
            f"{path} belongs to another sweep ({different}): keep the two in separate folders, by --out"
        )


def _differences(stored: object, wanted: object, name: str = "") -> list[str]:
    """Returns `name is STORED there, not WANTED` for each number or text in which configurations differ."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            line
            for key in wanted | stored
            for line in _differences(stored.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if stored == wanted else [f"{name} is {stored} there, not {wanted}"]
