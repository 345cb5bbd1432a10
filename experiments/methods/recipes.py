"""What is compared, and with which numbers it is tried: values, without JAX."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from decorr.config import Architecture

Penalty = Literal["none", "corr", "decov", "vcreg"]


class Numbers(NamedTuple):
    """What a network is trained with: numbers, or None for what its recipe does without."""

    learning_rate: float
    """The largest, if a schedule changes it."""
    weight_decay: float
    penalty_share: float | None = None
    """The penalty's weight x (its sum over layers) / log(classes), before training."""
    dropout_rate: float | None = None
    smoothing: float | None = None
    """Share of a label's probability that is spread over all classes."""
    orthogonality: float | None = None
    """Multiplier of sum over hidden layers of |W^T W - I|^2 / units, W's columns scaled to unit length."""


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained, up to its numbers: networks of one recipe share a program."""

    architecture: Architecture = Architecture(  # noqa: RUF009
        widths=(256, 256, 256),
        nonlinearity="leaky_relu",
        negative_slope=0.0,
        initialisation="he",
        input_dropout=False,
    )
    family: Literal["mlp", "conv"] = "mlp"
    optimiser: Literal["sgd", "momentum", "adamw"] = "momentum"
    """sgd: without momentum. momentum: Nesterov's, 0.9."""
    schedule: Literal["constant", "warmup-cosine"] = "warmup-cosine"
    """warmup-cosine: linear over the first 5% of the steps, then half a cosine to 0."""
    clip: bool = True
    """Whether the gradient is clipped to a global norm of 1."""
    decays: Literal["all", "kernels"] = "kernels"
    """Which parameters decay."""
    batch_size: int = 100
    steps: int = 2000
    penalty: Penalty = "none"
    fades: bool = False
    """Whether the penalty's weight falls linearly to 0 over training."""


@dataclass(frozen=True)
class Method:
    """What is done against overfitting: changes to the plain recipe, and the numbers that it tunes."""

    changes: Mapping[str, object] = field(default_factory=dict)
    """Fields of `Recipe`."""
    normalisation: Literal["none", "batch", "whiten"] = "none"
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Names of `Numbers` beside rate and decay, and between which values they are searched."""

    def recipe(self, plain: Recipe) -> Recipe:
        """The plain recipe with the method."""
        architecture = replace(plain.architecture, normalisation=self.normalisation)
        return replace(plain, architecture=architecture, **self.changes)  # type: ignore[arg-type]


SHARE = {"penalty_share": (1e-3, 1.0)}
RATE = {"dropout_rate": (0.05, 0.6)}
METHODS: dict[str, Method] = {
    "vanilla": Method(),
    "dropout": Method(ranges=RATE),
    "batchnorm": Method(normalisation="batch"),
    "whiten": Method(normalisation="whiten"),
    "smoothing": Method(ranges={"smoothing": (0.01, 0.3)}),
    "orthogonal": Method(ranges={"orthogonality": (1e-4, 0.1)}),
    "corr": Method({"penalty": "corr"}, ranges=SHARE),
    "corr-fading": Method({"penalty": "corr", "fades": True}, ranges=SHARE),
    "decov": Method({"penalty": "decov"}, ranges=SHARE),
    "vcreg": Method({"penalty": "vcreg"}, ranges=SHARE),
    "corr-dropout": Method({"penalty": "corr"}, ranges=SHARE | RATE),
}
"""By name, in the order of tables. The learning rate and the weight decay are tuned in all."""

RANGES = {
    "momentum": {"learning_rate": (3e-3, 0.3), "weight_decay": (1e-5, 1e-2)},
    "sgd": {"learning_rate": (1e-2, 1.0), "weight_decay": (1e-5, 1e-2)},
    "adamw": {"learning_rate": (1e-4, 1e-2), "weight_decay": (1e-3, 1.0)},
}
"""By optimiser, between which values its numbers are searched."""

_LINEAR = {"dropout_rate"}
"""Searched evenly; all others by their logarithms."""


def search(method: Method, optimiser: str, points: int, wider: float = 1.0) -> tuple[Numbers, ...]:
    """The numbers that a method is tried with: the first points of one scrambled Sobol sequence.

    Args:
      method: which.
      optimiser: that of its recipe.
      points: how many.
      wider: factor by which each range of logarithms reaches beyond both of its ends.
    """
    ranges = RANGES[optimiser] | dict(method.ranges)
    return tuple(
        Numbers(
            **{
                name: _between(draw, *ends, linear=name in _LINEAR, wider=wider)
                for (name, ends), draw in zip(ranges.items(), point, strict=False)
            }
        )
        for point in _sobol(points)
    )


def _between(draw: float, low: float, high: float, linear: bool, wider: float) -> float:
    if linear:
        return low + draw * (high - low)
    low, high = math.log(low / wider), math.log(high * wider)
    return math.exp(low + draw * (high - low))


@functools.cache
def _sobol(count: int) -> tuple[tuple[float, ...], ...]:
    from scipy.stats import qmc  # it takes its time

    points = qmc.Sobol(4, rng=np.random.default_rng(0)).random_base2(max(1, math.ceil(math.log2(count))))
    return tuple(map(tuple, points[:count].tolist()))
