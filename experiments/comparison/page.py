"""A comparison as one page: what can be recommended, and for each setting the table and the curves."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.comparison import analysis, results
from experiments.comparison.analysis import Row
from experiments.comparison.methods import BASE, METHODS, PLANNED, Setting
from experiments.disk.errors import ResultsError
from experiments.disk.files import load_all
from experiments.page import drawing
from experiments.page.evidence import evidence
from experiments.statistics.verdicts import RULE

REFERENCE = Path(__file__).parent / "reference"
"""The committed comparison."""

# Okabe and Ito's, after grey; a line's dashes tell them apart too.
_COLOURS = ["#555555", "#E69F00", "#56B4E9", "#0072B2", "#000000", "#D55E00", "#009E73", "#CC79A7", "#8B4513"]
_DASHES = ("-", "--", "-.", ":")


def _look(method: str) -> tuple[str, str]:
    place = list(METHODS).index(method) if method in METHODS else 0
    return _COLOURS[place % len(_COLOURS)], _DASHES[place % len(_DASHES)]


def load(folder: Path = REFERENCE) -> list[xr.Dataset]:
    """The settings of a folder; other files in it are left out with a warning."""
    return list(load_all(folder, ".nc", results.load).values())


def planned(folder: Path = REFERENCE) -> list[xr.Dataset]:
    """The settings of PLAN.md, of which the paper's page judges C10; [] while some are missing."""
    by_name = {results.setting_of(each).name: each for each in load(folder)}
    return [by_name[name] for name in PLANNED] if {*PLANNED} <= {*by_name} else []


def write(folder: Path, out: Path | None = None) -> Path:
    """Writes the page compare.html, figures/NAME.svg and .png, and errors.md, of all settings in a folder.

    Args:
      folder: of the settings' files.
      out: where to write; None: there.

    Returns:
      The path of the page.

    Raises:
      ResultsError: the folder has none.
    """
    comparison, out = load(folder), out or folder
    if not comparison:
        raise ResultsError(f"{folder} holds no comparison: python -m experiments.compare --out {folder}")
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    groups = analysis.grouped(comparison)
    tables = {
        name: [(results.setting_of(each), analysis.rows(each)) for each in group]
        for name, group in groups.items()
    }
    judged = analysis.c10(comparison)
    page = drawing.template(Path(__file__).parent / "compare.html.j2").render(
        recommendation=analysis.recommendation(itertools.chain(*tables.values())),
        rule=RULE,
        batch_size=BASE.batch_size,
        tables=tables,
        judged=judged,
        evidence=[
            drawing.picture(figures, each.claim, "", functools.partial(evidence, each)) for each in judged
        ],
        pictures={
            name: [
                drawing.picture(
                    figures, f"{kind}-{name.replace(', ', '-')}", "", functools.partial(draw, group)
                )
                for kind, draw in (("differences", differences), ("curves", curves))
            ]
            for name, group in groups.items()
        },
        provenance={
            name: sorted({str(value) for each in comparison for value in each[name].values})
            for name in ("dataset_version", "commit", "machine", "versions")
        },
    )
    drawing.write_text(out / "compare.html", page)
    drawing.write_text(out / "errors.md", errors(tables))
    return out / "compare.html"


def differences(group: Sequence[xr.Dataset]) -> Figure:
    """Test error less vanilla's, in points: every seed a dot, the mean with Student's 95% interval."""
    figure, axes = drawing.grid(1, len(group), width=2.6, height=2.6)
    for ax, found in zip(axes[0], group, strict=True):
        names = [str(name) for name in found.method.values if name != analysis.VANILLA]
        if not names:
            raise drawing.Missing("needs methods beside vanilla")
        points = [100 * analysis.difference(found, name, analysis.VANILLA) for name in names]
        for place, (name, values) in enumerate(zip(names, points, strict=True)):
            drawing.dots(ax, place, values, 0.5, s=10, color=_look(name)[0], alpha=0.8)
            drawing.error_bar(ax, place, values)
        ax.axhline(0, color="black", linewidth=0.8)
        if linear := drawing.linear_range(np.concatenate(points), beyond=8):  # a network diverged
            ax.margins(y=0.1)
            ax.set_yscale("symlog", linthresh=linear)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.set_xlabel(f"logarithmic beyond {linear:g}", size=7)
        ax.set_xticks(range(len(names)), names, rotation=60, size=7, ha="right", rotation_mode="anchor")
        ax.set_title(f"{results.setting_of(found).images:,} images", size=9)
    axes[0, 0].set_ylabel("test error - vanilla's, points", size=8)
    return figure


def curves(group: Sequence[xr.Dataset]) -> Figure:
    """Validation error over the training of the report's networks, the mean over seeds; a dot where each
    method's networks were looked at, which the trials' own curves say."""
    figure, axes = drawing.grid(1, len(group), width=2.6, height=2.6)
    for ax, found in zip(axes[0], group, strict=True):
        setting = results.setting_of(found)
        steps = np.arange(1, setting.moments + 1) * (setting.steps // setting.moments)
        for name in map(str, found.method.values):
            one, (colour, dashes) = results.one(found, name), _look(name)
            means = 100 * one.validation_error.mean("seed").values
            _, moment = results.best(one.tuning_error.values)
            ax.plot(steps, means, dashes, color=colour, linewidth=1.2, label=name)
            ax.plot(steps[moment - 1], means[moment - 1], "o", color=colour, markersize=4)
        ax.set_title(f"{setting.images:,} images", size=9)
        ax.set_xlabel("step", size=8)
        drawing.log_scale(ax)
    axes[0, 0].set_ylabel("validation error, %", size=8)
    drawing.legend(figure, axes[0, 0], columns=5)
    return figure


def errors(tables: Mapping[str, Sequence[tuple[Setting, Sequence[Row]]]]) -> str:
    """The mean test errors of all settings as Markdown, in %; bold where decidedly below vanilla's, in
    brackets where decidedly above, and how many networks diverged."""
    settings = [each for group in tables.values() for each in group]
    by_setting = [(setting.name, {row.method: row for row in rows}) for setting, rows in settings]
    lines = [["method", *(name for name, _ in by_setting)]]
    lines.append(["---"] * len(lines[0]))
    names = results.in_order({name for _, rows in by_setting for name in rows})
    lines += [[name, *(_error(rows.get(name)) for _, rows in by_setting)] for name in names]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _error(row: Row | None) -> str:
    if row is None:
        return ""
    text = f"{100 * row.error.estimate:.2f}"
    outcome = row.to_vanilla.outcome if row.to_vanilla else "open"
    shown = {"for": f"**{text}**", "against": f"({text})", "open": text}[outcome]
    return shown + (f", {row.diverged} diverged" if row.diverged else "")
