"""The pictures of the paper's page, except those of its claims and studies."""

import functools
from collections.abc import Callable, Mapping, Sequence

import xarray as xr
from matplotlib.figure import Figure

from experiments.grid.protocols import EARLY
from experiments.page import curves
from experiments.paper import by_steps, figures, slopes
from experiments.store import gathered as stored

FIRST = ("figure2", "figure4", "error_by_size", "steps")
"""The pictures that the page shows beside the answer."""

CAPTIONS = {
    "figure2": "Each line is one weight, averaged over seeds. The left end shows pairs with |rho| near 0.",
    "figure4": "Lower is better. Bars: mean over seeds with 95% interval. Dots: seeds. Dashes: the paper.",
    "error_by_size": "Lower is better. Networks that diverged are counted above and left out of the means.",
    "steps": "Shaded: steps at which weight 0.02 (the paper's 1.0) errs less than no penalty. MNIST has more "
    "steps than the digits.",
    "learning_curves": "Both axes are logarithmic, to show the first epochs and the last differences.",
    "correlation_curves": "Grey: the number of units in the layer.",
    "slopes": f"Numbers: how many slopes are below {-slopes.FLAT} / in between / above {slopes.FLAT}.",
}
"""The caption of each picture, which says what to see."""


def of(
    sweep: xr.Dataset, others: Mapping[str, xr.Dataset], contrasted: Sequence[xr.Dataset]
) -> list[tuple[str, str, Callable[[], Figure]]]:
    """Returns the name, title and drawing of every picture, except for the pictures of claims and studies.

    Args:
      sweep: the sweep that is judged.
      others: sweeps by name. Sweeps with the same data and protocol as `sweep` add their weights and rates
        to the pictures.
      contrasted: the sweeps of the digits and of MNIST, if both exist.
    """
    scans = [sweep, *(other for other in others.values() if _same_protocol(sweep, other))]
    alone = {
        "figure2": (figures.figure2, "Figure 2: less correlation in every layer"),
        "figure4": (figures.figure4, f"Figure 4: the error after {EARLY} epochs"),
        "error_by_size": (curves.error_by_size, "The error after the last epoch"),
    }
    pair = {"steps": (by_steps.figure, "Error against update steps")}
    rest = {
        "table1": (figures.table1, "Table 1: network sizes"),
        "figure1": (figures.figure1, "Figure 1: dropout and the correlations of layer 1"),
        "figure3": (figures.figure3, "Figure 3: how the error grows as the network shrinks"),
        "learning_curves": (curves.learning_curves, "Learning curves"),
        "correlation_curves": (curves.correlation_curves, "Correlation and effective units over epochs"),
        "heat_maps": (curves.heat_maps, "Which units are correlated"),
        "slopes": (slopes.slopes, "The PReLU slope that layer 1 learns"),
    }
    together = {
        "error_by_weight": (curves.error_by_weight, "Error against the penalty's weight"),
        "correlation_by_rate": (curves.correlation_by_rate, "Dropout rate and correlation"),
    }
    return [
        (name, title, functools.partial(function, *sweeps))
        for figures_of, sweeps in ((alone, [sweep]), (pair, contrasted), (rest, [sweep]), (together, scans))
        for name, (function, title) in figures_of.items()
    ]


def _same_protocol(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(
        stored.configuration(a)[name] == stored.configuration(b)[name] for name in ("dataset", "protocol")
    )
