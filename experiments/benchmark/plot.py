"""Draws how time depends on the number of networks, from the rows of the section `scaling`."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.page.drawing import settings


@settings()
def draw(rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], path: Path) -> None:
    """Draws the time of a training step of one network against the number of networks in a program. There
    is one line for each size and number of devices."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    markers = cycle("os^Dv*Xp")
    sizes, counts = (sorted({row[name] for row in rows}) for name in ("size", "devices"))
    for size, count in product(sizes, counts):
        mine = [row for row in rows if (row["size"], row["devices"]) == (size, count)]
        axes.plot(
            [row["networks"] for row in mine],
            [statistics.median(row["milliseconds"]) for row in mine],
            marker=next(markers),
            linestyle="-" if count == max(counts) else "--",
            label=f"{size}, {count} device{'s' * (count > 1)}",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("networks side by side in one program, on each device")
    axes.set_ylabel("ms per network-step, whole machine")
    axes.set_title(
        f"corr-0.1 on {machine['cores']} cores of {machine['processor']}, {machine['date']}", size=9
    )
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
