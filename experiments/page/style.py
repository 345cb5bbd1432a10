"""How variants look, in matplotlib's terms, from `experiments.grid.networks.VARIANT_KINDS`."""

from typing import Any

from experiments.grid.networks import VARIANT_KINDS, Look, Variant

_PLAIN = Look("#555555", "", "o", "-")


def colour(variant: Variant) -> str:
    """The colour of lines and dots; grey for a variant without a style of its own."""
    return (variant.look or _PLAIN).colour


def bar(variant: Variant) -> dict[str, Any]:
    """The style of bars. Bars differ by colour and hatch."""
    look = variant.look or _PLAIN
    return {"facecolor": look.colour, "hatch": look.hatch, "edgecolor": "white", "linewidth": 0}


def line(variant: Variant) -> dict[str, Any]:
    """The style of lines. Lines differ by colour, marker and dashes."""
    look = variant.look or _PLAIN
    return {"color": look.colour, "marker": look.marker, "linestyle": look.line, "markersize": 4}


def with_looks() -> tuple[Variant, ...]:
    """The variants that have a style of their own, in order."""
    return tuple(
        Variant(kind, number) for kind, registered in VARIANT_KINDS.items() for number in registered.looks
    )
