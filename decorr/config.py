"""The paper's networks and training protocols as data: frozen dataclasses, standard library only.

Sources, as named at each field: "text" is the paper; "code" is the author's released Torch7 code, which
differs from the text in ways that decide whether the published figures come out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Size = Literal["tiny", "small", "medium", "large", "huge"]
SIZES: dict[Size, float] = {"tiny": 0.1, "small": 0.3, "medium": 0.5, "large": 0.7, "huge": 0.9}
"""Size name -> factor on the base widths 400, 200, 100 (code); Table 1 prints the products."""

VARIANTS = ("vanilla", "drop", "corr-0.1", "corr-1.0")
"""The paper's networks: VANILLANET, DROPNET, CORRNET-0.1 and CORRNET-1.0."""

PAPER_DROPOUT_RATE = 0.3
"""The rate of `drop` without a number (text, Section 1.3; code)."""


@dataclass(frozen=True)
class Architecture:
    """A fully connected network: what `decorr.models.MLP` needs to know."""

    widths: tuple[int, ...]
    """Units of each hidden layer, first to last."""
    nonlinearity: Literal["prelu", "leaky_relu"]
    """prelu: one learned slope a layer (code). leaky_relu: the slope is fixed (text)."""
    negative_slope: float
    """The slope below zero; for prelu its initial value."""
    initialisation: Literal["torch", "flax"]
    """torch: weights and biases uniform in +-1/sqrt(fan_in) (code). flax: Flax's defaults,
    truncated normal of variance 1/fan_in and zero biases."""
    input_dropout: bool
    """Whether dropout acts on the inputs too, not only after each hidden layer."""


@dataclass(frozen=True)
class Optimisation:
    """Minibatch stochastic gradient descent."""

    learning_rate: float = 0.05
    """Step size (text, code)."""
    momentum: float = 0.0
    """Heavy-ball momentum, undamped. 0 (code): its momentum buffer is rebuilt at every call and never
    acts. The text says 0.8."""
    weight_decay: float = 1e-4
    """Multiplier of the parameters added to the gradient (text, code); of biases and slopes too (code)."""
    batch_size: int = 50
    """Samples a minibatch (text, code); an epoch's last, incomplete minibatch is left out."""


@dataclass(frozen=True)
class Regulariser:
    """What a variant adds to the training of one network. None: absent, and costs nothing."""

    penalty_weight: float | None = None
    """Multiplier of the sum over hidden layers of P (Section 3.1) in the loss that is differentiated."""
    dropout_rate: float | None = None
    """Probability to drop an activation in training."""


@dataclass(frozen=True)
class Protocol:
    """Everything that the networks of one sweep have in common. The defaults are `released`."""

    name: str = "released"
    """How results name it."""
    width_order: Literal["descending", "ascending"] = "descending"
    """descending: 360-180-90 for huge, each layer half of the one before (text, Section 1.3; code).
    ascending: 90-180-360, as Table 1 prints it; an ablation, its columns are reversed by mistake."""
    input_scaling: Literal["max", "zscore"] = "max"
    """max: pixels divided by the largest (code). zscore: by their mean and standard deviation over the
    training set (text, Section 2.2: "approximately z-scored")."""
    nonlinearity: Literal["prelu", "leaky_relu"] = "prelu"
    """prelu (code); leaky_relu (text, Section 1.3)."""
    negative_slope: float = 0.25
    """Torch's initial PReLU slope 0.25 (code)."""
    initialisation: Literal["torch", "flax"] = "torch"
    """torch (code); the text gives none."""
    input_dropout: bool = True
    """True (code); the text says "at each layer", read here as each hidden layer."""
    penalty_scale: Literal["per_sample", "full"] = "per_sample"
    """per_sample: the gradient of P is multiplied by weight / batch_size (code), so that the weights 0.1
    and 1.0 act as 0.002 and 0.02. full: by weight (text, Section 3.1)."""
    optimisation: Optimisation = Optimisation()
    """The optimiser (text, Section 1.3; code)."""
    epochs: int = 100
    """Passes over the training set (text, code)."""

    def architecture(self, size: Size) -> Architecture:
        """The network of a size: tiny, small, medium, large or huge."""
        if size not in SIZES:
            raise ValueError(f"unknown size {size!r}; the sizes are {', '.join(SIZES)}")
        # Rounded before the floor: 100 * 0.7 is a little more or less than 70 in binary.
        widths = tuple(math.floor(round(base * SIZES[size], 6)) for base in (400, 200, 100))
        return Architecture(
            widths=widths if self.width_order == "descending" else widths[::-1],
            nonlinearity=self.nonlinearity,
            negative_slope=self.negative_slope,
            initialisation=self.initialisation,
            input_dropout=self.input_dropout,
        )

    def regulariser(self, variant: str) -> Regulariser:
        """The regulariser of a variant: vanilla, drop, drop-RATE or corr-WEIGHT for any number."""
        kind, _, number = variant.partition("-")
        try:
            value = float(number) if number else None
        except ValueError:
            value = math.nan
        if variant == "vanilla":
            return Regulariser()
        if variant == "drop":
            return Regulariser(dropout_rate=PAPER_DROPOUT_RATE)
        if kind == "drop" and value is not None and 0 <= value < 1:
            return Regulariser(dropout_rate=value)
        if kind == "corr" and value is not None and 0 <= value < math.inf:
            per_sample = self.penalty_scale == "per_sample"
            divisor = self.optimisation.batch_size if per_sample else 1
            return Regulariser(penalty_weight=value / divisor)
        raise ValueError(
            f"unknown variant {variant!r}; the variants are vanilla, drop, "
            "drop-RATE with 0 <= RATE < 1, and corr-WEIGHT with WEIGHT >= 0"
        )


RELEASED = Protocol()
"""What the author's released code does: the protocol that gives the published figures."""

PAPER = Protocol(
    name="paper",
    input_scaling="zscore",
    nonlinearity="leaky_relu",
    negative_slope=0.01,  # text gives none; the value of Maas et al. (2013), who named the leaky ReLU
    initialisation="flax",
    input_dropout=False,
    penalty_scale="full",
    optimisation=Optimisation(momentum=0.8),
)
"""What the paper's text says, with customary values where it is silent."""

_STEPS = {
    "width-order": ("width_order",),
    "input-scaling": ("input_scaling",),
    "prelu": ("nonlinearity", "negative_slope"),
    "initialisation": ("initialisation",),
    "momentum": ("optimisation",),
    "penalty-scale": ("penalty_scale",),
    "input-dropout": ("input_dropout",),
}


def _ablation() -> Iterator[Protocol]:
    protocol = replace(PAPER, name="ablation-printed", width_order="ascending")
    yield protocol
    for step, fields in _STEPS.items():
        released = {field: getattr(RELEASED, field) for field in fields}
        protocol = replace(protocol, name=f"ablation-{step}", **released)
        yield protocol


ABLATION = tuple(_ablation())
"""From the text, with Table 1 as printed, to the released code: each protocol takes one step more than the
one before. The second is `paper` and the last `released`, but for the names."""

PROTOCOLS = {protocol.name: protocol for protocol in (RELEASED, PAPER, *ABLATION)}
"""Protocols by name."""
