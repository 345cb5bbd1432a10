"""Turns the styles in `experiments.grid.networks.VARIANT_KINDS` into arguments of matplotlib."""

from typing import Any

from experiments.grid.networks import VARIANT_KINDS, Look, Variant

_PLAIN = Look("#555555", "", "o", "-")


def colour(variant: Variant) -> str:
    """Returns the colour of a variant's lines and dots; grey if the variant has no style of its own."""
    return (variant.look or _PLAIN).colour


def bar(variant: Variant) -> dict[str, Any]:
    """Returns the style of a variant's bars. Bars differ by colour and hatch."""
    look = variant.look or _PLAIN
    return {"facecolor": look.colour, "hatch": look.hatch, "edgecolor": "white", "linewidth": 0}


def line(variant: Variant) -> dict[str, Any]:
    """Returns the style of a variant's lines. Lines differ by colour, marker and dashes."""
    look = variant.look or _PLAIN
    return {"color": look.colour, "marker": look.marker, "linestyle": look.line, "markersize": 4}


def with_looks() -> tuple[Variant, ...]:
    """Returns the variants that have a style of their own, in the order of `VARIANT_KINDS`."""
    return tuple(
        Variant(kind, number) for kind, registered in VARIANT_KINDS.items() for number in registered.looks
    )
