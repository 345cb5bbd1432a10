"""The results of a folder as one page: what each kind of user can expect, then the evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.comparison import analysis, ladder, results, tables
from experiments.comparison.analysis import MARGIN, Networks
from experiments.comparison.planned import JUDGED, LADDER_SETS, SETS
from experiments.comparison.recipes import METHODS
from experiments.comparison.results import Stored
from experiments.comparison.settings import Budget
from experiments.disk.errors import ResultsError
from experiments.page import drawing
from experiments.page.tables import Table, markdown

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
            difference = tables.change(column.reported, method)
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


def answers(networks: Networks) -> Iterator[str]:
    """A sentence for each kind of data: what to use, by PLAN.md's rule."""
    for each in analysis.advice(networks):
        kind = "Image sets" if each.images else "Tables"
        told = f"{tables.percent(each.effect)} over {len(each.effect.sets)} data sets"
        if each.says == "use it":
            yield f"{kind}: use {each.method}. Its error against {each.against}'s: {told}."
        elif each.says == "do not":
            yield f"{kind}: do not use {each.method}. Its error against {each.against}'s: {told}."
        elif each.says == "not decided":
            yield f"{kind}: between {each.method} and {each.against} nothing is decided: {told}."
        else:
            yield f"{kind}: too few data sets are done to say anything about {each.method}."


def seeds_that_decide(shown: Sequence[Stored]) -> str:
    """A warning if the settings have too few seeds for any statement; else ""."""
    least = min((len(results.of(column.reported, "vanilla")) for column in shown), default=0)
    if least >= DECIDING:
        return ""
    return f"{least} seeds cannot decide anything: report at least {DECIDING}. Nothing is recommended here."


def unfinished(settings: Sequence[Stored]) -> str:
    """A warning while the plan's data sets are not all done: nothing is read from some of them. Else ""."""
    planned = analysis.of([each for each in settings if each.setting["budget"] == asdict(Budget())])
    done = len(analysis.having(planned, *JUDGED))
    if not planned or done == len(SETS):
        return ""
    return f"{done} of the plan's {len(SETS)} data sets are done. Nothing is judged before all of them are."


def write(folder: Path = results.REFERENCE, out: Path | None = None) -> Path:
    """Writes the page compare.html, with figures/NAME.svg and .png, of all settings in a folder; answers.md
    has what it says first, and the hypotheses.

    Args:
      folder: of the settings' files.
      out: where to write; None: there.

    Returns:
      The path of the page.

    Raises:
      ResultsError: the folder has no results.
    """
    settings = results.stored(folder)
    shown, label_free = compared(settings), dict(tables.without_labels(settings))
    if not shown and not label_free:
        raise ResultsError(f"{folder} holds no reported networks yet")
    out = out or folder
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    climbed, networks = ladder.of(settings), analysis.of(settings)
    warning = seeds_that_decide(shown) or unfinished(settings)
    told = [] if warning else list(answers(networks))
    hypotheses = Table([], []) if warning else tables.hypotheses(analysis.judge(networks))
    in_map = [column for column in shown if "-2000-" not in column.name]
    page = drawing.template(Path(__file__).parent / "compare.html.j2").render(
        title="does it help me?",
        warning=warning,
        answers=told,
        heat_map=drawing.picture(figures, "methods", "", lambda: heat_map(in_map)),
        ladder=drawing.picture(figures, "ladder", "", lambda: ladder.figure(climbed)),
        statements=[(each, ladder.told(each.interval)) for each in ladder.statements(climbed)],
        rungs=[(name, ladder.table(climbed, name)) for name in LADDER_SETS if climbed],
        hypotheses=hypotheses,
        label_free=label_free,
        methods=tables.methods(settings),
        edges=tables.edges(settings),
        elsewhere=tables.elsewhere(settings),
        transfer=tables.transfer(settings),
        tables=[(column.name, tables.setting(column)) for column in shown],
        margin=f"{100 * (np.exp(MARGIN) - 1):.0f}%",
    )
    drawing.write_text(out / "compare.html", page)
    advice = [] if warning else [tables.advice(networks)]
    drawing.write_text(out / "answers.md", markdown(*advice, hypotheses))
    return out / "compare.html"
