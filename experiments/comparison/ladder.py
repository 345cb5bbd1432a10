"""Part 1 of PLAN.md. Which step from the released network to a customary one ends the penalty's gain?"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments.comparison import results
from experiments.comparison.analysis import Outcome
from experiments.comparison.planned import LADDER_METHODS, LADDER_SETS, RATES, RATES_METHODS, alone, rungs
from experiments.comparison.recipes import METHODS, search
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
    points: Interval
    """A difference in test error, in points, with its 95% interval."""
    where_none_failed: Interval
    """The same difference, averaged only over seeds with which no network failed. The plan does not use
    it."""
    outcome: Outcome


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


def contrast(rows: list[Row], weights: Mapping[str, float], failed: bool = True) -> Interval:
    """Returns a weighted sum of methods' errors, in points, paired by seed: the mean over seeds, with its 95%
    interval.

    Args:
      rows: the networks of a setting.
      weights: maps methods to their weights.
      failed: whether seeds with which a network of these methods failed are included.
    """
    differences = np.sum([weight * errors(rows, method) for method, weight in weights.items()], axis=0)
    if not failed:
        any_failed = np.any([errors(rows, method, "failed") for method in weights], axis=0)
        differences = differences[~any_failed]
    return intervals.of_mean(differences)


def gain(rows: list[Row], plain: str, method: str, failed: bool = True) -> Interval:
    """Returns the error of `plain` minus the error of `method`, as a `contrast`."""
    return contrast(rows, {plain: 1, method: -1}, failed)


def judge(interval: Interval, low: float = -np.inf, high: float = np.inf) -> Outcome:
    """Returns "holds" if an interval is in [low, high], "fails" if it is entirely outside, else "open"."""
    if low <= interval.low and interval.high <= high:
        return "holds"
    return "fails" if interval.high < low or interval.low > high else "open"


CORR, DROPOUT = {"vanilla": 1, "corr": -1}, {"dropout": 1, "corr-dropout": -1}
FIXED = {"vanilla-fixed": 1, "corr-fixed": -1}
MORE_THAN_HALF = {"vanilla": 0.5, "corr": 0.5, "vanilla-copied": -1}
"""(vanilla - vanilla-copied) - (vanilla - corr) / 2."""


def statements(ladder: Ladder) -> Iterator[Statement]:
    """Yields the plan's statements L1 to L3 and S1 to S3, for the finished data sets and rungs."""
    for (pool, title), rows in ladder.items():
        methods = {str(row["method"]) for row in rows}
        if not methods.issuperset(LADDER_METHODS):
            continue
        stated = functools.partial(_stated, pool, rows)
        if title == "released":
            yield stated("L1", "corr errs less than vanilla", CORR)
        elif title != "relu":
            yield stated("L2", f"{TITLES[title]}: corr is within 0.5 points of vanilla", CORR, -0.5, 0.5)
        if title in ("decay", "batchnorm"):
            yield stated("L3", f"with {TITLES[title]}, corr-dropout errs less than dropout", DROPOUT)
        if {"vanilla-fixed", "corr-fixed", "vanilla-copied", "corr-copied"} <= methods:
            yield stated("S1", "learned slopes: the gain is at least 1 point", CORR, 1)
            yield stated("S2", "fixed slopes: the gain is within 0.3 points of 0", FIXED, -0.3, 0.3)
            yield stated("S3", "copied slopes bring half of the gain or more", MORE_THAN_HALF)


def _stated(
    pool: str,
    rows: list[Row],
    name: str,
    text: str,
    weights: Mapping[str, float],
    low: float = 0,
    high: float = np.inf,
) -> Statement:
    """Returns the statement that a `contrast` lies between two numbers of points."""
    found, trained = (contrast(rows, weights, failed) for failed in (True, False))
    return Statement(name, pool, text, found, trained, judge(found, low, high))


def statement_table(ladder: Ladder) -> Table:
    """Returns the table of the plan's statements about the ladder, with three columns for each data set."""
    found = {(each.name, each.text, each.pool): each for each in statements(ladder)}
    pools = [pool for pool in LADDER_SETS if any(pool == of_pool for *_, of_pool in found)]
    header, rows = ["", "statement"], []
    for pool in pools:
        header += [f"{SHOWN_AS[pool]}: points [95%]", "where none failed", "outcome"]
    # Sorting by name keeps the order of the statements of one name.
    for name, text in sorted(dict.fromkeys(key[:2] for key in found), key=lambda each: each[0]):
        row = [name, text]
        for pool in pools:
            each = found.get((name, text, pool))
            row += [*_both(each.points, each.where_none_failed), each.outcome] if each else [""] * 3
        rows.append(row)
    return Table(header, rows)


def _both(points: Interval, where_none_failed: Interval) -> list[str]:
    """Returns two differences as text. The second is "" if it equals the first."""
    all_seeds, none_failed = told(points), told(where_none_failed)
    return [all_seeds, "" if none_failed == all_seeds else none_failed]


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
            every = [row for row in networks if row["method"] in LADDER_METHODS]
            failed = f"{results.failed(every)} of {len(every)}"
            gains = [gain(networks, "vanilla", "corr", failed=each) for each in (True, False)]
            rows.append([TITLES[title], *cells, *_both(*gains), failed])
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


def at_equal_rates(settings: Sequence[Stored]) -> dict[str, dict[str, list[Row]]]:
    """Returns, for each data set and method, the networks that train the first rung at the same learning
    rates, ordered by point and seed. Data sets that are not finished are left out."""
    found = {}
    for stored in settings:
        if stored.setting["title"] != RATES:
            continue
        by_method = {
            method: sorted(results.of(stored.searched, method), key=lambda row: (row["point"], row["seed"]))
            for method in RATES_METHODS
        }
        if all(by_method.values()):
            found[stored.setting["pool"]] = by_method
    return {pool: found[pool] for pool in LADDER_SETS if pool in found}


class AtRate(NamedTuple):
    """The networks of one learning rate. Pairs are in the order of `RATES_METHODS`."""

    rate: float
    failed: tuple[int, int]
    """The number of networks of each method that fail."""
    seeds: int
    errors: tuple[float, float]
    """Each method's mean tuning error in %, over the seeds with which neither method's network fails; NaN if
    there are none."""


def by_rate(settings: Sequence[Stored]) -> dict[str, list[AtRate]]:
    """Returns, for each data set, what happens at each learning rate, the smallest rate first."""
    tried = search(METHODS[RATES_METHODS[0]], rungs()["released"], points=16)
    found: dict[str, list[AtRate]] = {}
    for pool, by_method in at_equal_rates(settings).items():
        found[pool] = []
        for point, numbers in sorted(enumerate(tried), key=lambda each: each[1].learning_rate):
            pair = [[row for row in rows if row["point"] == point] for rows in by_method.values()]
            trained = [
                rows for rows in zip(*pair, strict=True) if not any(bool(row["failed"]) for row in rows)
            ]
            errors = [[100 * row["tuning_error"] for row in rows] for rows in trained] or [[np.nan] * 2]
            first, second = np.mean(errors, axis=0).tolist()
            failed = results.failed(pair[0]), results.failed(pair[1])
            found[pool].append(AtRate(numbers.learning_rate, failed, len(pair[0]), (first, second)))
    return found


def rate_table(settings: Sequence[Stored]) -> Table:
    """Returns the table of `by_rate`."""
    found = by_rate(settings)
    header = ["learning rate"]
    for pool in found:
        header += [
            f"{SHOWN_AS[pool]}: failed, {' and '.join(RATES_METHODS)}",
            "tuning errors where neither fails, %",
        ]
    rows = []
    for at in zip(*found.values(), strict=True):
        row = [f"{at[0].rate:.3f}"]
        for _, failed, seeds, errors in at:
            row.append("{} and {} of {}".format(*failed, seeds))
            row.append("" if np.isnan(errors[0]) else "{:.1f} and {:.1f}".format(*errors))
        rows.append(row)
    return Table(header, rows)


def only_one_failed(settings: Sequence[Stored], diverged: bool = False) -> tuple[int, int, float]:
    """Counts the pairs of networks with the same data set, learning rate and seed of which only one fails.

    Args:
      settings: all settings of a folder.
      diverged: counts only failures with a loss that is not finite. Other failed networks have hardly
        learned.

    Returns:
      The number of pairs in which only the plain network fails; in which only the penalised one fails; and
      the p value of an exact sign test.
    """

    def fails(row: Row) -> bool:
        return bool(row["failed"]) and not (diverged and np.isfinite(row["train_nll"]))

    plain, penalised = (
        np.array([fails(row) for of_set in at_equal_rates(settings).values() for row in of_set[method]])
        for method in RATES_METHODS
    )
    first, second = int((plain & ~penalised).sum()), int((penalised & ~plain).sum())
    return first, second, float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def told(interval: Interval) -> str:
    """Returns a difference and its interval, in points, as text: "none" if every seed is left out."""
    if np.isnan(interval.estimate):
        return "none"
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


SHOWN = -2, 4
"""The range of gains in the picture, in points. A gain outside of this range is written at the edge, and an
interval that goes on is drawn with an arrow."""


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
                without = gain(networks, plain, method, failed=False).estimate
                if without != mean:
                    ax.plot(x, without, marker, color=colour, markerfacecolor="white")
                if y != mean:
                    text = f"{mean:+.0f} [{low:+.0f}, {high:+.0f}]"
                    side = "bottom" if y == SHOWN[0] else "center"  # keeps the text off the axis
                    ax.text(place + 0.3, y, text, color=colour, size=7, va=side)
                for edge, arrow, beyond in zip(SHOWN, "v^", (low < SHOWN[0], high > SHOWN[1]), strict=True):
                    if beyond:
                        ax.plot(x, edge, arrow, color=colour, markersize=4, clip_on=False)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_ylim(SHOWN)
        ax.set_xlim(-0.5, len(TITLES) - 0.5)
        ax.set_xticks(range(len(titles)), [TITLES[title] for title in titles], rotation=40, ha="right")
        ax.set_title(f"{SHOWN_AS[name]}, 2,000 images", size=9)
    axes[0, 0].set_ylabel("points of test error gained", size=8)
    drawing.legend(figure, axes[0, 0], columns=2)
    return figure
