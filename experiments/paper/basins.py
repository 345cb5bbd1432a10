"""Where HUGE-VANILLANET ends, by the PReLU slope of layer 1, and what tells it early: PLAN.md, part 1."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from experiments.grid.protocols import VANILLA
from experiments.page import drawing, style
from experiments.page.drawing import Missing
from experiments.paper.claims import HUGE_VANILLA
from experiments.paper.slopes import by_slope
from experiments.statistics import intervals
from experiments.statistics.intervals import Interval
from experiments.store.gathered import cell_of

EPOCHS = (1, 2, 5)
"""After which the numbers are taken."""

DRAWS = 10_000
"""Of a permutation test."""


class Basin(NamedTuple):
    """A group of `slopes.by_slope`."""

    which: str
    ended: int
    """How many networks end in it."""
    networks: int
    share: Interval
    """With Wilson's 95% interval."""


class Sign(NamedTuple):
    """A number early in training, and how it tells the networks that end above from the rest."""

    what: str
    epoch: int
    area: float
    """Under the ROC curve."""
    p: float
    """Of the permutation test, corrected by Holm for all numbers."""


def basins(sweep: xr.Dataset | None) -> list[Basin]:
    """How many networks end in each group; [] without these networks or learned slopes.

    A network that diverged ends in none, and counts among all.
    """
    found = []
    for which, group in ({} if sweep is None else by_slope(sweep, HUGE_VANILLA)).items():
        count, of = int(group.sum()), group.size
        wilson = stats.binomtest(count, of).proportion_ci(method="wilson")
        found.append(Basin(which, count, of, Interval(count / of, float(wilson.low), float(wilson.high))))
    return found


def signs(sweep: xr.Dataset | None) -> list[Sign]:
    """What tells the networks that end with a slope above `slopes.FLAT` from the rest; [] if there are
    none of either, or the sweep ends before the last of `EPOCHS`.

    Of each number the area under the ROC curve, P(above > rest) + P(above = rest) / 2 over pairs of networks,
    with a two-sided permutation test of |area - 1/2|. Networks that diverged end nowhere, and are left out.
    """
    numbers = {} if sweep is None else _numbers(sweep)
    if sweep is None or not numbers:
        return []
    *others, above = by_slope(sweep, HUGE_VANILLA).values()
    rest = np.any(others, axis=0)
    if not above.any() or not rest.any():
        return []
    areas, p = zip(*(_told(each[above], each[rest]) for each in numbers.values()), strict=True)
    corrected = intervals.holm(np.array(p))
    return [
        Sign(what, epoch, area, float(each))
        for (what, epoch), area, each in zip(numbers, areas, corrected, strict=True)
    ]


def _numbers(sweep: xr.Dataset) -> dict[tuple[str, int], np.ndarray]:
    """By name and epoch: [seed]; {} where a number is missing."""
    if not by_slope(sweep, HUGE_VANILLA) or not {*EPOCHS} <= {*sweep.epoch.values.tolist()}:
        return {}
    cell = cell_of(sweep, HUGE_VANILLA)
    measured = {
        "slope of layer 1": cell.slope.isel(slope_layer=0),
        "validation error": cell.validation_error,
        "mean abs. rho of layer 1": cell.mean_correlation.sel(layer=1),
    }
    return {
        (what, epoch): each.sel(epoch=epoch).values for what, each in measured.items() for epoch in EPOCHS
    }


def _told(above: np.ndarray, rest: np.ndarray) -> tuple[float, float]:
    """The area under the ROC curve, and the p value of the permutation test."""
    n, m = len(above), len(rest)
    ranks = stats.rankdata(np.concatenate([above, rest]))  # of ties the mean

    def area(of_above: np.ndarray, axis: int = -1) -> np.ndarray:
        # Mann and Whitney's U over n m: the sum of ranks, less the least that it can be.
        area: np.ndarray = (of_above.mean(axis=axis) - (n + 1) / 2) / m
        return area

    found = stats.permutation_test(
        (ranks[:n], ranks[n:]),
        lambda of_above, _, axis: abs(area(of_above, axis) - 0.5),
        vectorized=True,
        n_resamples=DRAWS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(area(ranks[:n])), float(found.pvalue)


def figure(sweep: xr.Dataset | None) -> Figure:
    """The nine numbers of `signs`, a dot for each network, by the group in which it ends."""
    told = signs(sweep)
    if sweep is None or not told:
        raise Missing("needs huge vanilla networks that end above and not")
    numbers, groups = _numbers(sweep), by_slope(sweep, HUGE_VANILLA)
    panels, axes = drawing.grid(3, len(EPOCHS), height=1.9, sharex=True)
    for ax, each in zip(axes.flat, told, strict=True):
        for place, group in enumerate(groups.values()):
            values = numbers[each.what, each.epoch][group]
            drawing.dots(ax, place, values, 0.6, s=14, color=style.colour(VANILLA), alpha=0.8)
        ax.set_title(f"epoch {each.epoch}: area {each.area:.2f}, p = {each.p:.2g}", size=8)
        ax.set_xlim(-0.6, len(groups) - 0.4)
    for ax, each in zip(axes[:, 0], told[:: len(EPOCHS)], strict=True):
        ax.set_ylabel(each.what, size=8)
    for ax in axes[-1]:
        labels = [f"{which}\n({group.sum()})" for which, group in groups.items()]
        ax.set_xticks(range(len(groups)), labels, size=7)
        ax.set_xlabel("slope of layer 1 at the end", size=8)
    return panels
