"""A picture of the comparisons behind a verdict."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.page.drawing import Missing
from experiments.statistics import intervals
from experiments.statistics.verdicts import Comparison, Outcome, Verdict

FOR, AGAINST, OPEN = "#0072B2", "#D55E00", "#666666"
_OUTCOMES: dict[Outcome, tuple[str, str]] = {
    "for": (FOR, "o"),
    "against": (AGAINST, "X"),
    "open": (OPEN, "d"),
}
_WORDS: dict[Outcome, str] = {"for": "for", "against": "against", "open": "open"}
SIDES = "← against the sentence", "for the sentence →"


def evidence(
    verdict: Verdict, words: Mapping[Outcome, str] = _WORDS, sides: tuple[str, str] = SIDES
) -> Figure:
    """Draws the comparisons of a claim: every seed as a dot, and the mean with its 95% bootstrap interval.

    Values that support the sentence are on the right, or in the shaded band if the sentence names a value.
    Each quantity has axes of its own. Networks that diverged are counted at the edge. A mean
    that leaves out such networks has a hollow marker.

    Args:
      verdict: the claim.
      words: the picture's word for each outcome.
      sides: titles of the left and the right side.
    """
    shown = [comparison for comparison in verdict.comparisons if comparison.finite.size]
    if not shown:
        raise Missing("no comparison was measured")
    kinds = [(each.tolerance is None, each.expected, each.quantity) for each in shown]
    parts = [
        [comparison for comparison, its_kind in zip(shown, kinds, strict=True) if its_kind == kind]
        for kind in dict.fromkeys(kinds)
    ]
    height = 0.3 * len(shown) + 0.75 * len(parts) + 0.1
    # Room at the sides, because labels are wider in some programs and fonts.
    figure = Figure(figsize=(7.6, height), layout=ConstrainedLayoutEngine(w_pad=0.15))
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=[len(part) for part in parts])[:, 0]
    for ax, part in zip(axes, parts, strict=True):
        ax.set_yticks(range(len(part)), [comparison.what for comparison in reversed(part)], size=8)
        ax.set_ylim(-0.6, len(part) - 0.4)
        ax.tick_params(axis="x", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        for place, comparison in enumerate(reversed(part)):
            ax.text(1.01, place, words[comparison.outcome], size=8, va="center", weight="bold",
                    color=_OUTCOMES[comparison.outcome][0], transform=ax.get_yaxis_transform())  # fmt: skip
        _means(ax, part, sides) if part[0].tolerance is None else _distances(ax, part)
    return figure


def _seeds(ax: Axes, place: int, values: np.ndarray, comparison: Comparison) -> None:
    """Draws the values of a comparison as dots, side by side."""
    jitter = place + np.linspace(-0.2, 0.2, values.size)
    ax.scatter(values, jitter, s=10, color=_OUTCOMES[comparison.outcome][0], alpha=0.45, linewidths=0)


def _distances(ax: Axes, shown: list[Comparison]) -> None:
    """Draws distances from the expected value, as shares of the allowed distance. A share below 0.01 is drawn
    as 0, because rounding differs between processors.
    """
    for place, comparison in enumerate(reversed(shown)):
        shares = np.abs(comparison.finite - comparison.expected) / comparison.tolerance
        _seeds(ax, place, np.where(shares < 0.01, 0, shares)[shares <= 1.5], comparison)
        _count(ax, place, int((shares > 1.5).sum()), "larger", right=True)
    ax.axvspan(0, 1, color=FOR, alpha=0.12, linewidth=0)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xlim(-0.05, 1.6)
    ax.set_xticks([0, 0.5, 1], ["0", "half", "all"])
    ax.set_xlabel("error, as a share of what is allowed", size=8)
    ax.set_title("for: within the band", size=8, color=FOR, loc="left")


def _means(ax: Axes, shown: list[Comparison], sides: tuple[str, str]) -> None:
    """Draws comparisons with the same quantity and the same expected value, from top to bottom."""
    quantity = shown[0].quantity
    for place, comparison in enumerate(reversed(shown)):
        shade, marker = _OUTCOMES[comparison.outcome]
        near = comparison.finite[np.abs(comparison.finite) <= quantity.far]
        beyond = comparison.finite[np.abs(comparison.finite) > quantity.far]
        _seeds(ax, place, quantity.scale * near, comparison)
        interval = intervals.bootstrap(near) if beyond.size else comparison.interval
        mean, low, high = (quantity.scale * each for each in interval)
        ax.plot([low, high], [place, place], color="black", linewidth=2)
        ax.plot(mean, place, marker, color="white" if beyond.size else shade, markersize=6,
                markeredgecolor=shade if beyond.size else "black")  # fmt: skip
        _count(ax, place, int((beyond > 0).sum()), "diverged", right=True)
        _count(ax, place, int((beyond < 0).sum()), "diverged", right=False)
    expected, margin = quantity.scale * shown[0].expected, shown[0].margin
    ax.axvline(expected, color="black", linewidth=0.8)
    low, high = ax.get_xlim()
    values = np.concatenate([comparison.finite for comparison in shown])
    room = 0.2 * (high - low)  # for counts at an edge
    ax.set_xlim(low - room * (values < -quantity.far).any(), high + room * (values > quantity.far).any())
    if margin is None:
        ax.axvspan(expected, max(ax.get_xlim()), color=FOR, alpha=0.07, linewidth=0)
        ax.set_title(sides[0], size=8, color=AGAINST, loc="left")
        ax.set_title(sides[1], size=8, color=FOR, loc="right")
    else:
        ax.axvspan(expected - margin, expected + margin, color=FOR, alpha=0.2, linewidth=0)
        ax.set_title("for: within the band", size=8, color=FOR, loc="left")
    ax.set_xlabel(quantity.title, size=8)


def _count(ax: Axes, place: int, count: int, what: str, right: bool) -> None:
    """Writes at an edge of the axes how many values lie beyond this edge."""
    if count:
        text = f"{count} {what} →" if right else f"← {count} {what}"
        ax.text(0.99 if right else 0.01, place, text, size=7, va="center", color="#333333",
                ha="right" if right else "left", transform=ax.get_yaxis_transform())  # fmt: skip
