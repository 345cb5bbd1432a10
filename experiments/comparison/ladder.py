"""Part 1 of PLAN.md. Which step from the released network to a customary one ends the penalty's gain?"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.comparison import results
from experiments.comparison.analysis import Outcome
from experiments.comparison.planned import LADDER_METHODS, LADDER_SETS, alone, rungs
from experiments.comparison.results import Row, Stored
from experiments.page import drawing
from experiments.page.tables import Table
from experiments.statistics import intervals
from experiments.statistics.intervals import Interval

Ladder = dict[tuple[str, str], list[Row]]
"""Maps a data set and a rung to the reported networks."""

SHOWN_AS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
TITLES = {
    "released": "released",
    "relu": "ReLU",
    "he": "He's start",
    "schedule": "cosine, clipping",
    "momentum": "momentum",
    "decay": "tuned decay",
    "batchnorm": "batch norm.",
}
"""The names of the rungs in the picture."""


class Statement(NamedTuple):
    """A statement of the plan about one data set, and its outcome."""

    name: str
    pool: str
    text: str
    interval: Interval
    """A difference in test error, in points, with its 95% interval."""
    outcome: Outcome

    @property
    def points(self) -> str:
        """The difference and its interval, as text."""
        return told(self.interval)


def of(settings: Sequence[Stored]) -> Ladder:
    """Returns the reported networks of the rungs that have vanilla and corr, in the ladder's order."""
    reported = {setting.name: setting.reported for setting in settings}
    names = {(pool, title): f"{pool}-2000-{title}" for pool in LADDER_SETS for title in (*rungs(), *alone())}
    return {
        rung: reported[name]
        for rung, name in names.items()
        if name in reported and all(results.of(reported[name], method) for method in LADDER_METHODS[:2])
    }


def errors(rows: list[Row], method: str, measure: str = "test_error") -> np.ndarray:
    """Returns a measure of a method's reported networks, in %, ordered by seed."""
    of_method = sorted(results.of(rows, method, "report"), key=lambda row: row["seed"])
    return 100 * np.array([row[measure] for row in of_method])


def gain(rows: list[Row], plain: str, method: str) -> Interval:
    """Returns the error of `plain` minus the error of `method`, in points, paired by seed: the mean over
    seeds, with its 95% interval."""
    return intervals.of_mean(errors(rows, plain) - errors(rows, method))


def gain_where_none_failed(rows: list[Row], plain: str, method: str) -> Interval:
    """Returns the `gain`, averaged only over seeds with which neither method's network failed."""
    trained = ~np.any([errors(rows, name, "failed").astype(bool) for name in (plain, method)], axis=0)
    return intervals.of_mean((errors(rows, plain) - errors(rows, method))[trained])


def judge(interval: Interval, low: float = -np.inf, high: float = np.inf) -> Outcome:
    """Returns "holds" if an interval is in [low, high], "fails" if it is entirely outside, else "open"."""
    if low <= interval.low and interval.high <= high:
        return "holds"
    return "fails" if interval.high < low or interval.low > high else "open"


def statements(ladder: Ladder) -> Iterator[Statement]:
    """Yields the plan's statements L1 to L3 and S1 to S3, for the finished data sets and rungs."""
    for (name, title), rows in ladder.items():
        methods = {str(row["method"]) for row in rows}
        if not methods.issuperset(LADDER_METHODS):
            continue
        corr = gain(rows, "vanilla", "corr")
        if title == "released":
            yield Statement("L1", name, "corr errs less than vanilla", corr, judge(corr, low=0))
        elif title != "relu":
            text = f"{TITLES[title]}: corr is within 0.5 points of vanilla"
            yield Statement("L2", name, text, corr, judge(corr, -0.5, 0.5))
        if title in ("decay", "batchnorm"):
            more = gain(rows, "dropout", "corr-dropout")
            text = f"with {TITLES[title]}, corr-dropout errs less than dropout"
            yield Statement("L3", name, text, more, judge(more, low=0))
        if {"vanilla-fixed", "corr-fixed", "vanilla-copied", "corr-copied"} <= methods:
            text = "learned slopes: the gain is at least 1 point"
            yield Statement("S1", name, text, corr, judge(corr, low=1))
            fixed = gain(rows, "vanilla-fixed", "corr-fixed")
            text = "fixed slopes: the gain is within 0.3 points of 0"
            yield Statement("S2", name, text, fixed, judge(fixed, -0.3, 0.3))
            vanilla = errors(rows, "vanilla")
            more_than_half = vanilla - errors(rows, "vanilla-copied") - (vanilla - errors(rows, "corr")) / 2
            half = intervals.of_mean(more_than_half)
            text = "copied slopes bring half of the gain or more"
            yield Statement("S3", name, text, half, judge(half, low=0))


def table(ladder: Ladder, name: str) -> Table:
    """Returns the table of a data set: for each rung, mean test errors in %, gains with intervals, and the
    number of failed networks."""
    rows = []
    for title in rungs():
        if (name, title) in ladder:
            networks = ladder[name, title]
            cells = [
                f"{errors(networks, method).mean():.2f}" if results.of(networks, method) else ""
                for method in LADDER_METHODS
            ]
            failed = results.failed(row for row in networks if row["method"] in LADDER_METHODS)
            all_seeds = told(gain(networks, "vanilla", "corr"))
            without = told(gain_where_none_failed(networks, "vanilla", "corr"))
            row = [TITLES[title], *cells, all_seeds, "" if without == all_seeds else without]
            rows.append([*row, failed])
    header = [
        SHOWN_AS[name],
        *LADDER_METHODS,
        "gain of corr [95%]",
        "where neither failed",
        "failed, of all four",
    ]
    return Table(header, rows)


def steps_alone(ladder: Ladder) -> Table:
    """Returns the table of single steps from the released network: mean errors in %, gains, and numbers of
    failures."""
    header = ["the released network with"]
    for name in LADDER_SETS:
        header += [f"{SHOWN_AS[name]}: vanilla", "corr", "gain of corr [95%]", "failed, vanilla and corr"]
    rows = []
    for title in ("released", "relu", *alone()):
        row = ["no change" if title == "released" else TITLES[title.removesuffix("-alone")]]
        for name in LADDER_SETS:
            networks = ladder.get((name, title))
            if networks is None:
                row += [""] * 4
                continue
            row += [f"{errors(networks, method).mean():.2f}" for method in ("vanilla", "corr")]
            failed = [results.failed(results.of(networks, method)) for method in ("vanilla", "corr")]
            row += [told(gain(networks, "vanilla", "corr")), "{} and {}".format(*failed)]
        rows.append(row)
    return Table(header, rows)


def told(interval: Interval) -> str:
    """Returns a difference and its interval, in points, as text."""
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


SHOWN = -2, 4
"""The range of gains in the picture, in points. A gain outside of this range is written at the edge."""


def figure(ladder: Ladder) -> Figure:
    """Draws the gains of corr against vanilla, and of corr-dropout against dropout, on each rung."""
    if not ladder:
        raise drawing.Missing("needs a rung with vanilla and corr")
    names = [name for name in LADDER_SETS if any(pool == name for pool, _ in ladder)]
    figure, axes = drawing.grid(1, len(names), width=3.8, height=3.0, sharey=True)
    pairs = (("vanilla", "corr", "#0072B2", "o"), ("dropout", "corr-dropout", "#D55E00", "s"))
    for ax, name in zip(axes[0], names, strict=True):
        titles = [title for title in rungs() if (name, title) in ladder]
        for shift, (plain, method, colour, marker) in zip((-0.12, 0.12), pairs, strict=True):
            label = f"{method} against {plain}"
            for place, title in enumerate(titles):
                if not results.of(ladder[name, title], method):
                    continue  # not finished yet
                networks = ladder[name, title]
                mean, low, high = gain(networks, plain, method)
                x, y = place + shift, np.clip(mean, *SHOWN)
                reach = [[y - np.clip(low, *SHOWN)], [np.clip(high, *SHOWN) - y]]
                ax.errorbar(x, y, reach, fmt=marker, color=colour, capsize=2, label=label, clip_on=False)
                label = ""
                without = gain_where_none_failed(networks, plain, method).estimate
                if without != mean:
                    ax.plot(x, without, marker, color=colour, markerfacecolor="white")
                if y != mean:
                    text = f"{mean:+.0f} [{low:+.0f}, {high:+.0f}]"
                    side = "bottom" if y == SHOWN[0] else "center"  # keeps the text off the axis
                    ax.text(place + 0.3, y, text, color=colour, size=7, va=side)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_ylim(SHOWN)
        ax.set_xlim(-0.5, len(TITLES) - 0.5)
        ax.set_xticks(range(len(titles)), [TITLES[title] for title in titles], rotation=40, ha="right")
        ax.set_title(f"{SHOWN_AS[name]}, 2,000 images", size=9)
    axes[0, 0].set_ylabel("points of test error gained", size=8)
    drawing.legend(figure, axes[0, 0], columns=2)
    return figure
