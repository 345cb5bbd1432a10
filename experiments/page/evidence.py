"""The comparisons that a sentence is judged by, as a picture."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.page import drawing
from experiments.page.drawing import Missing
from experiments.statistics.verdicts import Comparison, Verdict


def evidence(verdict: Verdict) -> Figure:
    """The comparisons of a claim: every seed as a dot, the mean with its 95% bootstrap interval.

    Comparisons with different values have axes of their own: they measure different things. Of comparisons
    that every value must meet, the distances from it are drawn, as shares of what is tolerated.
    """
    shown = [comparison for comparison in verdict.comparisons if comparison.finite.size]
    if not shown:
        raise Missing("no comparison was measured")
    kinds = [(comparison.tolerance is None, comparison.expected) for comparison in shown]
    parts = [
        [comparison for comparison, its_kind in zip(shown, kinds, strict=True) if its_kind == kind]
        for kind in dict.fromkeys(kinds)
    ]
    height = 0.3 * len(shown) + 0.35 * len(parts) + 0.3
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=[len(part) for part in parts])[:, 0]
    for ax, part in zip(axes, parts, strict=True):
        labels = [f"{comparison.what}  [{comparison.outcome}]" for comparison in reversed(part)]
        ax.set_yticks(range(len(part)), labels, size=7)
        ax.set_ylim(-0.6, len(part) - 0.4)
        ax.tick_params(axis="x", labelsize=7)
        ax.xaxis.get_offset_text().set_fontsize(7)
        ax.spines[["top", "right"]].set_visible(False)
        _means(ax, part) if part[0].tolerance is None else _distances(ax, part)
    return figure


_OUTCOMES = {"for": ("#0072B2", "o"), "against": ("#D55E00", "X"), "open": ("#777777", "d")}


def _seeds(ax: Axes, place: int, values: np.ndarray, comparison: Comparison) -> None:
    """Every value of a comparison as a dot, side by side."""
    jitter = place + np.linspace(-0.2, 0.2, values.size)
    ax.scatter(values, jitter, s=8, color=_OUTCOMES[comparison.outcome][0], alpha=0.45, linewidths=0)


def _distances(ax: Axes, shown: list[Comparison]) -> None:
    """Distances from what every value must equal, over what is tolerated.

    A hundredth and less is drawn as a hundredth: what rounding makes differs between processors.
    """
    for place, comparison in enumerate(reversed(shown)):
        shares = np.abs(comparison.finite - comparison.expected) / comparison.tolerance
        _seeds(ax, place, np.clip(shares, 0.01, 100), comparison)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlim(0.007, 140)
    ax.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01\nor less", "0.1", "1", "10", "100\nor more"])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("error as a share of what is tolerated", size=7)


def _means(ax: Axes, shown: list[Comparison]) -> None:
    """Comparisons with one value, from top to bottom."""
    for place, comparison in enumerate(reversed(shown)):
        shade, marker = _OUTCOMES[comparison.outcome]
        _seeds(ax, place, comparison.finite, comparison)
        mean, low, high = comparison.interval
        ax.plot([low, high], [place, place], color="black", linewidth=2)
        ax.plot(mean, place, marker, color=shade, markersize=6, markeredgecolor="black")
    ax.axvline(shown[0].expected, color="black", linewidth=0.8)
    far = np.abs(np.concatenate([comparison.finite for comparison in shown]))
    # Above 0.5 a network diverged.
    if linear := drawing.linear_range(far, beyond=30) if far.max() > 0.5 else None:
        ax.margins(x=0.1)
        ax.set_xscale("symlog", linthresh=linear)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel(f"logarithmic beyond {linear:g}", size=7)
