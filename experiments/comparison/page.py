"""The results of a folder as one page: what each kind of user can expect, then the evidence."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.comparison import analysis, ladder, results, tables
from experiments.comparison.analysis import MARGIN
from experiments.comparison.planned import JUDGED, LADDER_SETS, RATES, SETS, alone, rungs
from experiments.comparison.recipes import METHODS
from experiments.comparison.results import Row, Stored
from experiments.comparison.settings import DECIDING, Budget
from experiments.disk.errors import ResultsError
from experiments.page import drawing
from experiments.page.tables import Table, markdown


def compared(settings: Sequence[Stored]) -> list[Stored]:
    """Returns the settings in which methods are compared with vanilla after tuning, except settings with
    held-out classes."""
    return [
        stored
        for stored in settings
        if results.of(stored.reported, "vanilla") and stored.setting["title"] not in ("features", RATES)
    ]


def in_maps(shown: Sequence[Stored]) -> tuple[list[Stored], list[Stored]]:
    """Returns the settings of the first heat map, which are of one kind, and the settings of the second. A
    kind is a title, and whether samples have more than 1,000 rows. The ladder's settings are in neither map.
    Settings are sorted by kind, then by the plan's order of data sets."""

    def kind(column: Stored) -> tuple[str, bool]:
        return column.setting["title"], column.setting["rows"] > 1000

    def order(column: Stored) -> tuple:
        pool = column.setting["pool"]
        return *kind(column), SETS.index(pool) if pool in SETS else len(SETS), column.name

    ladder_titles = {*rungs(), *alone()}
    mapped = sorted((each for each in shown if each.setting["title"] not in ladder_titles), key=order)
    first = [each for each in mapped if kind(each) == kind(mapped[0])]
    return first, mapped[len(first) :]


def heat_map(shown: Sequence[Stored]) -> Figure:
    """Draws a heat map of methods and settings: each method's error minus vanilla's, in % of vanilla's. Red
    cells have a larger error than vanilla, blue cells a smaller one. In bold cells, the 95% interval of the
    difference excludes 0."""
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
            difference = ladder.gain(column.reported, method, "vanilla")
            values[y, x] = 100 * difference.estimate / plain
            failed = results.failed(of_method)
            decided = difference.low > 0 or difference.high < 0
            text = f"{values[y, x]:+.0f}".replace("-0", "0").replace("+0", "0")
            text += f"\n{failed} failed" if failed else ""
            weight = "bold" if decided else "normal"
            ink = "white" if abs(values[y, x]) > 0.7 * limit else "black"
            ax.text(x, y, text, ha="center", va="center", size=7, weight=weight, color=ink)
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", alpha=0.7)
    names = [column.name.removesuffix("-1000") for column in shown]
    ax.set_xticks(range(len(shown)), names, rotation=60, size=7, ha="right")
    ax.set_yticks(range(len(methods)), methods, size=8)
    ax.tick_params(length=0)
    return figure


def seeds_that_decide(settings: Iterable[list[Row]]) -> str:
    """Returns a warning if the settings have too few seeds for any statement; else ""."""
    least = min((len(results.of(rows, "vanilla")) for rows in settings), default=DECIDING)
    if least >= DECIDING:
        return ""
    return (
        f"{least} seeds cannot decide anything: at least {DECIDING} are needed. This page recommends nothing."
    )


def unfinished(settings: Sequence[Stored]) -> str:
    """Returns a warning if some of the plan's data sets are not done; else "". Answers need all of the plan's
    data sets. Other data sets need none of them."""
    planned = analysis.of([each for each in settings if each.setting["budget"] == asdict(Budget())])
    done = len(set(analysis.having(planned, *JUDGED)) & set(SETS))
    if done == len(SETS) or not set(planned) & set(SETS):
        return ""
    return (
        f"{done} of the plan's {len(SETS)} data sets are done. Nothing is judged before all of them are done."
    )


def write(folder: Path = results.REFERENCE, out: Path | None = None) -> Path:
    """Writes the page compare.html about all settings in a folder, with figures/NAME.svg and .png. Tables for
    other documents are written to answers.md, advice.md, ladder.md, rates.md, statements.md and
    without-labels.md.

    Args:
      folder: the folder of the settings' files.
      out: the folder to write into; None: the same folder.

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
    # The plan has fewer seeds for settings that train on whole data sets. No answer uses these settings.
    answering = analysis.having(networks, "vanilla").values() or [column.reported for column in shown]
    warning = seeds_that_decide(answering) or unfinished(settings)
    judged, advised = ([], []) if warning else (analysis.judge(networks), list(analysis.advice(networks)))
    answers = Table([], []) if warning else tables.answers(settings, judged, advised)
    hypotheses, advice = tables.hypotheses(judged), tables.advice(advised)
    statements, rates = ladder.statement_table(climbed), ladder.rate_table(settings)
    tables_of_rungs = [(name, table) for name in LADDER_SETS if (table := ladder.table(climbed, name)).rows]
    if any(title.endswith("-alone") for _, title in climbed):
        tables_of_rungs.append(("single steps", ladder.steps_alone(climbed)))
    in_map, in_second_map = in_maps(shown)
    page = drawing.template(Path(__file__).parent / "compare.html.j2").render(
        title="does it help me?",
        warning=warning,
        answers=answers,
        heat_map=drawing.picture(figures, "methods", "", lambda: heat_map(in_map)),
        second_map=drawing.picture(figures, "methods-elsewhere", "", lambda: heat_map(in_second_map)),
        ladder=drawing.picture(figures, "ladder", "", lambda: ladder.figure(climbed)),
        statements=statements,
        label_free_statements=tables.label_free_statements(settings),
        rungs=tables_of_rungs,
        rates=rates,
        hypotheses=hypotheses,
        advice=advice,
        label_free=label_free,
        methods=tables.methods(settings),
        edges=tables.edges(settings),
        measures=tables.measures(settings),
        transfer=tables.transfer(settings),
        tables=[(column.name, tables.setting(column)) for column in shown],
        margin=f"{100 * (np.exp(MARGIN) - 1):.0f}%",
    )
    drawing.write_text(out / "compare.html", page)
    for name, of_file in {
        "answers": [answers, hypotheses],
        "advice": [advice],
        "ladder": [table for _, table in tables_of_rungs],
        "statements": [statements],
        "rates": [rates],
        "without-labels": label_free.values(),
    }.items():
        drawing.write_text(out / f"{name}.md", markdown(*of_file))
    return out / "compare.html"
