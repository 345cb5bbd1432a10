"""The paper's variants, and protocols: its text, its released code, and the steps between the two."""

from collections.abc import Iterator
from dataclasses import replace

from decorr.config import Optimisation
from experiments.grid.networks import Recipe, Variant

VANILLA, DROP, CORR_01, CORR_10 = VARIANTS = tuple(
    map(Variant.parse, ("vanilla", "drop", "corr-0.1", "corr-1.0"))
)
"""VANILLANET, DROPNET, CORRNET-0.1 and CORRNET-1.0."""

BY_WEIGHT = VANILLA, CORR_01, CORR_10
"""The variants that differ only by the penalty's weight, in order of rising weight."""

EARLY = 2
"""The number of epochs after which Figure 4 shows errors."""

RELEASED = Recipe()
"""The author's released code: the protocol that gives the published figures."""

PAPER = Recipe(
    name="paper",
    input_scaling="zscore",
    nonlinearity="leaky_relu",
    negative_slope=0.01,  # the text gives no slope; Maas et al. (2013), who named the leaky ReLU, use 0.01
    initialisation="flax",
    input_dropout=False,
    penalty_scale="full",
    optimisation=Optimisation(momentum=0.8),
)
"""The paper's text, with customary values where the text gives no value."""

_STEPS = {
    "width-order": ("width_order",),
    "input-scaling": ("input_scaling",),
    "prelu": ("nonlinearity", "negative_slope"),
    "initialisation": ("initialisation",),
    "momentum": ("optimisation",),
    "penalty-scale": ("penalty_scale",),
    "input-dropout": ("input_dropout",),
}


def _ablation() -> Iterator[Recipe]:
    protocol = replace(PAPER, name="ablation-printed", width_order="ascending")
    yield protocol
    for step, fields in _STEPS.items():
        released = {field: getattr(RELEASED, field) for field in fields}
        protocol = replace(protocol, name=f"ablation-{step}", **released)
        yield protocol


ABLATION = tuple(_ablation())
"""The protocols of the ablation: from the text, with Table 1 as printed, to the released code. Each protocol
takes one more step of `_STEPS` than the protocol before it. Except for their names, the second protocol
equals `paper`, and the last protocol equals `released`."""

WITHOUT = tuple(
    replace(
        RELEASED, name=f"released-without-{step}", **{field: getattr(ABLATION[0], field) for field in fields}
    )
    for step, fields in _STEPS.items()
)
"""For each step of the ablation, a protocol: the released code with only this step undone."""

DECAY = replace(
    RELEASED, name="released-decay", optimisation=replace(RELEASED.optimisation, schedule="cosine")
)
"""The released code with a learning rate that shrinks, as Section 4 suggests."""

PROTOCOLS = {protocol.name: protocol for protocol in (RELEASED, PAPER, DECAY, *ABLATION, *WITHOUT)}
"""Protocols by name."""
