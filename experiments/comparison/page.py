"""The results of a folder as one page: what each kind of user can expect, then the evidence."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.comparison import analysis, ladder, results
from experiments.comparison.analysis import MARGIN, Judged, Networks
from experiments.comparison.planned import LADDER_SETS
from experiments.comparison.recipes import METHODS, WITHOUT_LABELS
from experiments.comparison.results import Row, Stored
from experiments.disk.errors import ResultsError
from experiments.page import drawing
from experiments.page.tables import Table
from experiments.statistics import intervals
from experiments.statistics.over_sets import Effect

DECIDING = 6
"""Seeds below which a page recommends nothing: five differences cannot be significant after any
correction."""


def compared(settings: Sequence[Stored]) -> list[Stored]:
    """The settings whose methods are compared with vanilla on the classes that they learn."""
    return [
        stored
        for stored in settings
        if results.of(stored.reported, "vanilla") and stored.setting["title"] != "features"
    ]


def change(rows: Sequence[Row], method: str) -> intervals.Interval:
    """The test error of a method less vanilla's in points, paired by seed, with Student's 95% interval."""
    gain = ladder.gain(list(rows), "vanilla", method)
    return intervals.Interval(-gain.estimate, -gain.high, -gain.low)


def heat_map(shown: Sequence[Stored]) -> Figure:
    """Methods by settings: by how many % of vanilla's error a method errs more (red) or less (blue)."""
    present = {row["method"] for column in shown for row in column.reported}
    methods = [name for name in METHODS if name in present and name != "vanilla"]
    if not methods:
        raise drawing.Missing("needs a method beside vanilla")
    values, limit = np.full((len(methods), len(shown)), np.nan), 30
    height = 0.32 * len(methods) + 1.6
    figure = Figure(figsize=(0.62 * len(shown) + 2.0, height), layout="constrained")
    ax = figure.subplots()
    for x, column in enumerate(shown):
        plain = ladder.errors(column.reported, "vanilla").mean()
        for y, method in enumerate(methods):
            of_method = results.of(column.reported, method)
            if not of_method or not plain:
                continue
            difference = change(column.reported, method)
            values[y, x] = 100 * difference.estimate / plain
            failed = int(sum(row["failed"] for row in of_method))
            decided = difference.low > 0 or difference.high < 0
            text = f"{values[y, x]:+.0f}" + (f"\n{failed} failed" if failed else "")
            weight = "bold" if decided else "normal"
            ink = "white" if abs(values[y, x]) > 0.7 * limit else "black"
            ax.text(x, y, text, ha="center", va="center", size=7, weight=weight, color=ink)
    clipped = np.clip(values, -limit, limit)
    ax.imshow(clipped, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", alpha=0.7)
    names = [column.name for column in shown]
    ax.set_xticks(range(len(shown)), names, rotation=60, size=7, ha="right")
    ax.set_yticks(range(len(methods)), methods, size=8)
    ax.tick_params(length=0)
    ax.set_title("test error against vanilla's, %; bold: its 95% interval excludes 0", size=8)
    return figure


def table(column: Stored) -> Table:
    """What was measured of a setting's methods: means over its reported networks."""
    header = ["method", "test error, %", "- vanilla, points [95%]", "nll", "after scaling", "noise", "pruned"]
    header += ["effective units", "ms a step", "failed"]
    steps, lines = column.setting["plain"]["steps"], []
    for method in [name for name in METHODS if results.of(column.reported, name)]:
        rows = results.of(column.reported, method)
        difference = "" if method == "vanilla" else told(change(column.reported, method))
        units = [name for name in rows[0] if name.startswith("effective_units")]
        lines.append(
            [
                method,
                f"{ladder.errors(rows, method).mean():.2f}",
                difference,
                f"{_mean(rows, 'test_nll'):.3f}",
                f"{_mean(rows, 'scaled_nll'):.3f}",
                f"{100 * _mean(rows, 'noise_error'):.1f}",
                f"{100 * _mean(rows, 'pruned_error'):.1f}",
                ", ".join(f"{_mean(rows, name):.0f}" for name in units),
                f"{1000 * np.median([row['seconds'] for row in rows]) / steps:.2f}",
                f"{sum(row['failed'] for row in rows):.0f} of {len(rows)}",
            ]
        )
    return Table(header, lines)


def _mean(rows: Sequence[Row], name: str) -> float:
    """Over the networks that have the number."""
    values = np.array([row.get(name, np.nan) for row in rows], float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def told(interval: intervals.Interval) -> str:
    """An interval in points."""
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def percent(effect: Effect) -> str:
    """The mean effect as % of the other's error, with its interval."""
    ends = [100 * (np.exp(end) - 1) for end in effect.interval]
    return f"{ends[0]:+.1f}% [{ends[1]:+.1f}, {ends[2]:+.1f}]"


def answers(networks: Networks) -> Iterator[str]:
    """A sentence for each kind of data: what to use, by PLAN.md's rule."""
    for name, images in (("small image sets", True), ("tables", False)):
        of_kind = analysis.kind(networks, images)
        better = analysis.better_of(of_kind, "vanilla", "dropout")
        for method in ("corr", "corr-dropout"):
            effect = analysis.effect(of_kind, method, better)
            if not np.isfinite(effect.interval.low):
                yield f"On {name}: too few data sets are done to say anything about {method}."
            elif effect.interval.high < 0:
                yield f"On {name}: use {method}. Its error against {better}'s: {percent(effect)}."
            elif effect.interval.low > 0:
                yield f"On {name}: do not use {method}. Its error against {better}'s: {percent(effect)}."
            else:
                yield f"On {name}: {method} is not decided against {better}: {percent(effect)}."


def hypotheses(judged: Sequence[Judged]) -> Table:
    """H1 to H5."""
    header = ["", "statement", "outcome", "effect [95%]", "p (Holm)", "sets", "P(A > B)", "within 2%, p"]
    rows = [
        [
            each.hypothesis.name,
            each.hypothesis.text,
            each.outcome,
            percent(each.effect),
            f"{each.p:.2g}",
            len(each.effect.sets),
            f"{each.better:.2f}",
            f"{each.equivalent:.2g}",
        ]
        for each in judged
        if len(each.effect.sets)
    ]
    return Table(header, rows)


def without_labels(settings: Sequence[Stored]) -> Iterator[tuple[str, Table]]:
    """Each set's methods that learn from two views: the probe's errors and effective units."""
    for name, setting, reported in settings:
        if setting["title"] != "views":
            continue
        header = ["loss", "error with 100 labels, %", "all labels, %", "effective units", "of the embedding"]
        lines = []
        for method in [name for name in WITHOUT_LABELS if results.of(reported, name)]:
            rows = results.of(reported, method)
            mean = intervals.of_mean(ladder.errors(rows, method))
            half = mean.high - mean.estimate
            lines.append(
                [
                    method,
                    f"{mean.estimate:.1f} ± {half:.1f}",
                    f"{100 * _mean(rows, 'all_labels_error'):.1f}",
                    f"{_mean(rows, 'effective_units'):.1f}",
                    f"{_mean(rows, 'embedded_effective_units'):.1f}",
                ]
            )
        yield name.removesuffix("-views"), Table(header, lines)


def seeds_that_decide(shown: Sequence[Stored]) -> str:
    """A warning if the settings have too few seeds for any statement; else ""."""
    least = min((len(results.of(column.reported, "vanilla")) for column in shown), default=0)
    if least >= DECIDING:
        return ""
    return f"{least} seeds cannot decide anything: report at least {DECIDING}. Nothing is recommended here."


def write(folder: Path = results.REFERENCE, out: Path | None = None) -> Path:
    """Writes the page compare.html, with figures/NAME.svg and .png, of all settings in a folder.

    Args:
      folder: of the settings' files.
      out: where to write; None: there.

    Returns:
      The path of the page.

    Raises:
      ResultsError: the folder has no results.
    """
    settings = results.stored(folder)
    shown, label_free = compared(settings), dict(without_labels(settings))
    if not shown and not label_free:
        raise ResultsError(f"{folder} holds no reported networks yet")
    out = out or folder
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    climbed, networks = ladder.of(settings), analysis.of(settings)
    warning = seeds_that_decide(shown)
    in_map = [column for column in shown if "-2000-" not in column.name]
    page = drawing.template(Path(__file__).parent / "compare.html.j2").render(
        title="does it help me?",
        warning=warning,
        answers=[] if warning else list(answers(networks)),
        heat_map=drawing.picture(figures, "methods", "", lambda: heat_map(in_map)),
        ladder=drawing.picture(figures, "ladder", "", lambda: ladder.figure(climbed)),
        statements=[(each, told(each.interval)) for each in ladder.statements(climbed)],
        rungs=[(name, ladder.table(climbed, name)) for name in LADDER_SETS if climbed],
        hypotheses=hypotheses(analysis.judge(networks)),
        label_free=label_free,
        tables=[(column.name, table(column)) for column in shown],
        margin=f"{100 * (np.exp(MARGIN) - 1):.0f}%",
    )
    drawing.write_text(out / "compare.html", page)
    return out / "compare.html"
