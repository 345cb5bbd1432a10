"""How every figure looks: the paper's colours, told apart in grey and by the colour-blind (Okabe and Ito)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from experiments import intervals

_LOOKS = {  # colour, hatch, marker, line: blue, green and red as in the paper
    "vanilla": ("#0072B2", "", "o", "-"),
    "drop": ("#E69F00", "..", "^", "--"),
    "corr-0.1": ("#009E73", "//", "s", "-."),
    "corr-1.0": ("#D55E00", "xx", "D", ":"),
}
PUBLISHED: dict[str, Any] = {
    "color": "black",
    "marker": "_",
    "markersize": 11,
    "markeredgewidth": 2,
    "linestyle": "none",
}
"""A published number."""


def colour(variant: str) -> str:
    return _LOOKS[variant][0] if variant in _LOOKS else "#555555"


def bar(variant: str) -> dict[str, Any]:
    return {"facecolor": colour(variant), "hatch": _LOOKS[variant][1], "edgecolor": "white", "linewidth": 0}


def line(variant: str) -> dict[str, Any]:
    _, _, marker, style = _LOOKS[variant]
    return {"color": colour(variant), "marker": marker, "linestyle": style, "markersize": 4}


def name(size: str, variant: str) -> str:
    """A network as the paper writes it: HUGE-CORRNET-0.1."""
    return f"{size.upper()}-{network(variant)}"


def network(variant: str) -> str:
    kind, _, number = variant.partition("-")
    return f"{kind.upper()}NET" + (f"-{number}" if number else "")


def grid(
    rows: int, columns: int, width: float = 2.6, height: float = 2.2, **shared: Any
) -> tuple[Figure, Any]:
    """A figure and its axes [row, column]."""
    figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
    return figure, axes


def mean(values: np.ndarray) -> float:
    """Over the seeds that did not diverge; NaN if all did."""
    return intervals.of_mean(values[np.isfinite(values)]).estimate


def error_bar(axes: Axes, x: float, values: np.ndarray, **look: Any) -> None:
    """The mean over seeds with its 95% interval."""
    middle, low, high = intervals.of_mean(values[np.isfinite(values)])
    looks: dict[str, Any] = {"color": "black", "capsize": 2} | look
    if np.isfinite(low):
        axes.errorbar(x, middle, [[middle - low], [high - middle]], **looks)


def dots(axes: Axes, x: float, values: np.ndarray, width: float = 0.0, **look: Any) -> None:
    """Every seed, side by side within a width."""
    places = x + np.linspace(-width / 2, width / 2, len(values) + 2)[1:-1]
    defaults: dict[str, Any] = {"s": 7, "color": "black", "alpha": 0.55, "linewidths": 0, "zorder": 3}
    axes.scatter(places, values, **defaults | look)


def band(axes: Axes, x: np.ndarray, values: np.ndarray, variant: str) -> None:
    """A line of means of [seed, x] with the band of their 95% intervals."""
    looks = line(variant) | {"markevery": max(1, len(x) // 6), "label": network(variant)}
    found = [intervals.of_mean(column[np.isfinite(column)]) for column in values.T]
    axes.plot(x, [each.estimate for each in found], **looks)
    if all(np.isfinite(each.low) for each in found):
        low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour(variant), alpha=0.2, linewidth=0)


def log_scale(axes: Axes) -> None:
    """A logarithmic y-axis with plain numbers at 1, 2, 3 and 5 times the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def legend(figure: Figure, axes: Axes, columns: int = 4, extra: Sequence = ()) -> None:
    """One legend above all axes, of what one of them shows; as many columns as there is room for."""
    columns = min(columns, int(figure.get_figwidth() / 1.4))
    handles, labels = axes.get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True)) | {each.get_label(): each for each in extra}
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns, frameon=False)
