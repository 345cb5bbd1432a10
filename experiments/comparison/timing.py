"""Estimates how long networks take, from finished networks."""

import functools
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence

from experiments.comparison import results
from experiments.comparison.results import Row
from experiments.comparison.settings import Setting
from experiments.disk import netcdf
from experiments.disk.files import listed


def seconds(setting: Setting, method: str, done: Sequence[Row]) -> float | None:
    """Estimates the seconds for a network of a method in a setting.

    The estimate is the median over the method's networks that are done in this setting. If there are none,
    it comes from the reference's networks of this method, family and optimiser: from those on this data set
    or, if there are none, from all of them. It is None if the reference has no such networks.
    """
    if done:
        return statistics.median(row["seconds"] for row in done)
    by_pool = _step_seconds(setting.plain.family, setting.plain.optimiser)[method]
    known = by_pool.get(setting.pool) or [each for times in by_pool.values() for each in times]
    return setting.plain.steps * statistics.median(known) if known else None


@functools.cache
def _step_seconds(family: str, optimiser: str) -> defaultdict[str, dict[str, list[float]]]:
    """Returns the seconds of a training step, for each method, data set and network of the reference."""
    found: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)
    for path in listed(results.REFERENCE, ".nc"):
        with netcdf.header(path) as header:  # takes a quarter of the time of reading the file
            setting = json.loads(header.attrs["setting"])
            plain = setting["plain"]
            if (plain["family"], plain["optimiser"]) != (family, optimiser):
                continue
            methods = header.variables["method"]
            names = methods.attrs["flag_meanings"].split()
            for method, of_network in zip(methods[()], header.variables["seconds"][()], strict=True):
                times = found[names[method]].setdefault(setting["pool"], [])
                times.append(float(of_network) / plain["steps"])
    return found
