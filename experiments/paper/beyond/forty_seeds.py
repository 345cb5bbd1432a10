"""Judges C5 with forty seeds, and groups HUGE-VANILLANETs by the PReLU slope of layer 1 (PLAN.md, part 1)."""

import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from experiments.grid.cells import make_cells
from experiments.grid.networks import SIZES
from experiments.grid.protocols import RELEASED
from experiments.page import drawing
from experiments.page.drawing import Missing
from experiments.page.tables import Table
from experiments.paper import claims
from experiments.paper.claims import HUGE_VANILLA
from experiments.paper.slopes import FLAT, by_slope
from experiments.paper.study import Exhibit, Study, renamed
from experiments.statistics import intervals
from experiments.statistics.intervals import Interval
from experiments.statistics.verdicts import Verdict
from experiments.store.gathered import cell_of

EPOCHS = (1, 2, 5)
"""The epochs after which `signs` takes its early numbers."""

DRAWS = 10_000
"""Number of permutations for each test."""


def judge(forty: xr.Dataset, main: xr.Dataset) -> tuple[Verdict, ...]:
    """Judges C5 with all forty seeds. The remark gives the verdict with only those seeds that the main sweep
    lacks."""
    verdict = renamed(claims.c5(forty), "forty")
    unseen = claims.c5(forty.isel(seed=~forty.seed.isin(main.seed).values))
    seeds = unseen.comparisons[0].values.size
    apart = f" With only the {seeds} seeds that the main sweep lacks: {unseen.verdict} ({unseen.counts})."
    return (replace(verdict, remark=verdict.remark + apart),)


class Basin(NamedTuple):
    """A group of networks from `by_slope`."""

    name: str
    members: int
    """Number of networks that end in the group."""
    networks: int
    share: Interval
    """The group's share of the networks, with Wilson's 95% interval."""


class Sign(NamedTuple):
    """A number measured early in training, and how well it separates the networks whose slope ends above
    `FLAT` from the rest."""

    quantity: str
    epoch: int
    area: float
    """The area under the ROC curve."""
    p: float
    """The p-value of the permutation test, after Holm's correction over all numbers."""


def basins(sweep: xr.Dataset) -> list[Basin]:
    """Returns the groups, and how many networks end in each group; [] if slopes are not learned. A network
    that diverged is in no group, but counts in the total."""
    rows = []
    for name, group in by_slope(sweep, HUGE_VANILLA).items():
        members, networks = int(group.sum()), group.size
        wilson = stats.binomtest(members, networks).proportion_ci(method="wilson")
        share = Interval(members / networks, float(wilson.low), float(wilson.high))
        rows.append(Basin(name, members, networks, share))
    return rows


def signs(sweep: xr.Dataset) -> list[Sign]:
    """Tests how well early numbers separate networks with a final slope above `FLAT` from the rest. Returns
    [] if either group is empty, or if the sweep ends before the last of `EPOCHS`.

    The area under the ROC curve is P(above > rest) + P(above = rest) / 2, over all pairs with one network
    from each group. The two-sided permutation test uses |area - 1/2|. Networks that diverged are in no
    group, and are left out.
    """
    numbers = _early_numbers(sweep)
    if not numbers:
        return []
    *others, above = by_slope(sweep, HUGE_VANILLA).values()
    rest = np.any(others, axis=0)
    if not above.any() or not rest.any():
        return []
    tests = [_roc_test(tuple(values[above]), tuple(values[rest])) for values in numbers.values()]
    corrected = intervals.holm(np.array([p for _, p in tests]))
    return [
        Sign(quantity, epoch, area, float(p))
        for (quantity, epoch), (area, _), p in zip(numbers, tests, corrected, strict=True)
    ]


def _early_numbers(sweep: xr.Dataset) -> dict[tuple[str, int], np.ndarray]:
    """Returns the early numbers [seed], by name and epoch; {} if slopes are not learned, or an epoch is
    missing."""
    if not by_slope(sweep, HUGE_VANILLA) or not {*EPOCHS} <= {*sweep.epoch.values.tolist()}:
        return {}
    cell = cell_of(sweep, HUGE_VANILLA)
    quantities = {
        "slope of layer 1": cell.slope.isel(slope_layer=0),
        "validation error": cell.validation_error,
        "mean abs. rho of layer 1": cell.mean_correlation.sel(layer=1),
    }
    return {
        (name, epoch): values.sel(epoch=epoch).values
        for name, values in quantities.items()
        for epoch in EPOCHS
    }


@functools.cache  # `tables` and `figure` need the same tests
def _roc_test(above: tuple[float, ...], rest: tuple[float, ...]) -> tuple[float, float]:
    """Returns the area under the ROC curve, and the p-value of the permutation test."""
    n, m = len(above), len(rest)
    ranks = stats.rankdata(np.concatenate([above, rest]))  # ties share their mean rank

    def area(ranks_above: np.ndarray, axis: int = -1) -> np.ndarray:
        # Mann and Whitney's U, divided by n m. U is the sum of ranks minus its smallest possible value.
        area: np.ndarray = (ranks_above.mean(axis=axis) - (n + 1) / 2) / m
        return area

    test = stats.permutation_test(
        (ranks[:n], ranks[n:]),
        lambda ranks_above, _, axis: abs(area(ranks_above, axis) - 0.5),
        vectorized=True,
        n_resamples=DRAWS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(area(ranks[:n])), float(test.pvalue)


def tables(sweep: xr.Dataset) -> list[Table]:
    """Returns `basins` and `signs` as tables."""
    shares = [
        (
            basin.name,
            f"{basin.members} of {basin.networks}",
            f"{basin.share.estimate:.2f} [{basin.share.low:.2f}, {basin.share.high:.2f}]",
        )
        for basin in basins(sweep)
    ]
    areas = [(sign.quantity, sign.epoch, f"{sign.area:.2f}", f"{sign.p:.2g}") for sign in signs(sweep)]
    return [
        Table(("slope of layer 1 at the end", "networks", "share [95%]"), shares),
        Table(("number", "after epoch", "area under the ROC curve", "p, corrected"), areas),
    ]


_GROUPS = (("#D55E00", "X"), ("#666666", "d"), ("#0072B2", "o"))
"""Colour and marker of each group of `by_slope`."""


def figure(sweep: xr.Dataset) -> Figure:
    """Draws a panel for each of the nine numbers of `signs`. Each network is a dot, in the column of its
    group."""
    nine = signs(sweep)
    if not nine:
        raise Missing(f"needs huge vanilla networks with final slopes above {FLAT}, and with other slopes")
    numbers, groups = _early_numbers(sweep), by_slope(sweep, HUGE_VANILLA)
    panels, axes = drawing.grid(3, len(EPOCHS), width=2.9, height=2.0, sharex=True)
    for ax, sign in zip(axes.flat, nine, strict=True):
        percent = 100 if sign.quantity == "validation error" else 1
        for place, (group, (colour, marker)) in enumerate(zip(groups.values(), _GROUPS, strict=True)):
            values = percent * numbers[sign.quantity, sign.epoch][group]
            drawing.dots(ax, place, values, 0.6, s=18, color=colour, marker=marker, alpha=0.7)
        ax.set_title(f"epoch {sign.epoch}: area {sign.area:.2f}, p = {sign.p:.2g}", size=9)
        ax.set_xlim(-0.6, len(groups) - 0.4)
    for ax, sign in zip(axes[:, 0], nine[:: len(EPOCHS)], strict=True):
        ax.set_ylabel(sign.quantity.replace("error", "error (%)").replace("abs. rho", "|rho|"), size=9)
    for ax in axes[-1]:
        labels = [f"{name}\n({group.sum()})" for name, group in groups.items()]
        ax.set_xticks(range(len(groups)), labels, size=8)
        ax.set_xlabel("slope of layer 1 at the end", size=9)
    return panels


STUDY = Study(
    "mnist-forty",
    make_cells("mnist", RELEASED, tuple(SIZES), ("vanilla", "corr-0.1"), seeds=40),
    judge=judge,
    exhibit=Exhibit(
        "basins",
        "Final slopes of HUGE-VANILLANET",
        lambda sweep: (
            "The first table groups the networks by the PReLU slope of layer 1 after the last epoch, with "
            "Wilson's 95% intervals. The second table shows how well numbers early in training separate "
            f"the networks whose slope ends above {FLAT} from the rest. By chance, the area under the ROC "
            "curve is 0.5. The permutation tests are corrected by Holm."
        ),
        figure,
        tables,
    ),
)
