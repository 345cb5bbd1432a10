"""The compared methods and the hyperparameters that they try, as plain values without JAX."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from decorr.config import Architecture, Normalisation

Penalty = Literal["none", "corr", "decov", "vcreg"]
Optimiser = Literal["sgd", "momentum", "adamw"]


class Numbers(NamedTuple):
    """The hyperparameters of a network. A value is None if the recipe does not use it."""

    learning_rate: float
    """The learning rate, or its largest value if a schedule changes it."""
    weight_decay: float
    penalty_share: float | None = None
    """The penalty's share of the loss: weight x (the penalty before training, summed over layers) /
    log(classes)."""
    dropout_rate: float | None = None
    smoothing: float | None = None
    """Label smoothing: the share of a label's probability that is spread over all classes."""
    orthogonality: float | None = None
    """Multiplier of |W^T W - I|^2 / units, summed over hidden layers. W is a kernel whose columns are scaled
    to length 1."""
    weight: float | None = None
    """For losses without labels: the weight of all terms except the alignment of the two views."""


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained, except for its hyperparameters. Networks with the same recipe share
    a program."""

    architecture: Architecture = Architecture(  # noqa: RUF009
        widths=(128, 128, 128),
        nonlinearity="leaky_relu",
        negative_slope=0.0,
        initialisation="he",
        input_dropout=False,
    )
    family: Literal["mlp", "conv"] = "mlp"
    optimiser: Optimiser = "momentum"
    """sgd: SGD without momentum. momentum: SGD with a Nesterov momentum of 0.9. adamw: AdamW."""
    schedule: Literal["constant", "warmup-cosine"] = "warmup-cosine"
    """warmup-cosine: the learning rate rises linearly over the first 5% of the steps, then falls to 0 by a
    half cosine."""
    clip: bool = True
    """Whether the gradient is clipped to a global norm of 1."""
    weight_decay: float | None = None
    """Weight decay of all parameters, like in the paper's released code. None: the decay is tuned,
    and acts on kernels only."""
    batch_size: int = 100
    steps: int = 1500
    penalty: Penalty = "none"
    fades: bool = False
    """Whether the penalty's weight falls linearly to 0 over training."""


@dataclass(frozen=True)
class Method:
    """A method that reduces overfitting: its changes to the plain recipe, and the hyperparameters to tune."""

    penalty: Penalty = "none"
    fades: bool = False
    normalisation: Normalisation = "none"
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The ranges of the hyperparameters that the method tunes besides learning rate and weight decay."""
    fixed_slope: bool = False
    """Whether the slope stays at its initial value, even if the plain recipe learns it."""
    numbers_of: str | None = None
    """Another method, whose chosen hyperparameters this method uses instead of tuning its own."""
    slopes_of: str | None = None
    """Another method. After every step, its slopes are copied into this method's network of the same seed."""

    def recipe(self, plain: Recipe) -> Recipe:
        """Returns the plain recipe, changed by the method."""
        architecture = plain.architecture
        if self.normalisation != "none":
            architecture = replace(architecture, normalisation=self.normalisation)
        if self.fixed_slope:
            architecture = replace(architecture, nonlinearity="leaky_relu")
        return replace(plain, architecture=architecture, penalty=self.penalty, fades=self.fades)


SHARE = {"penalty_share": (1e-3, 1.0)}
RATE = {"dropout_rate": (0.05, 0.6)}
METHODS: dict[str, Method] = {
    "vanilla": Method(),
    "dropout": Method(ranges=RATE),
    "batchnorm": Method(normalisation="batch"),
    "smoothing": Method(ranges={"smoothing": (0.01, 0.3)}),
    "orthogonal": Method(ranges={"orthogonality": (1e-4, 0.1)}),
    "corr": Method("corr", ranges=SHARE),
    "corr-fading": Method("corr", fades=True, ranges=SHARE),
    "decov": Method("decov", ranges=SHARE),
    "vcreg": Method("vcreg", ranges=SHARE),
    "corr-dropout": Method("corr", ranges=SHARE | RATE),
    "whiten": Method(normalisation="whiten"),
    "corr-tenth": Method("corr", ranges={"penalty_share": (0.1, 0.1)}),  # not tuned
    "vanilla-fixed": Method(fixed_slope=True),
    "corr-fixed": Method("corr", ranges=SHARE, fixed_slope=True),
    "vanilla-copied": Method(numbers_of="vanilla", slopes_of="corr"),
    "corr-copied": Method("corr", ranges=SHARE, numbers_of="corr", slopes_of="vanilla"),
}
"""Maps names to methods, in the order of tables. The last four methods need a plain recipe that learns
slopes."""
_WEIGHT = {"weight": (1e-2, 1e2)}
WITHOUT_LABELS: dict[str, Method] = {
    "untrained": Method(),
    "align": Method(),
    "align-corr": Method(ranges=_WEIGHT),
    "align-corr-strong": Method(ranges={"weight": (1.0, 1e4)}),
    "align-corr-floor": Method(ranges=_WEIGHT),
    "vicreg": Method(ranges=_WEIGHT),
    "barlow": Method(ranges={"weight": (5e-5, 0.5)}),
}
"""Maps the name of each loss in `views.LOSSES` to a method that learns from two views of each image."""

RANGES = {
    "momentum": {"learning_rate": (3e-3, 0.3), "weight_decay": (1e-5, 1e-2)},
    "sgd": {"learning_rate": (1e-2, 1.0), "weight_decay": (1e-5, 1e-2)},
    "adamw": {"learning_rate": (1e-4, 1e-2), "weight_decay": (1e-3, 1.0)},
}
"""Maps each optimiser to the ranges of learning rate and weight decay."""

_EVENLY = {"dropout_rate"}
"""Hyperparameters that are searched on a linear scale. All others are searched on a logarithmic scale."""


def search(method: Method, plain: Recipe, points: int) -> tuple[Numbers, ...]:
    """Returns the hyperparameters that a method tries: the first points of a scrambled Sobol sequence that
    all methods share.

    Args:
      method: the method.
      plain: the recipe that the method changes.
      points: the number of points.
    """
    fixed = {} if plain.weight_decay is None else {"weight_decay": plain.weight_decay}
    ranges = _ranges(method, plain)
    return tuple(
        Numbers(
            **fixed,
            **{name: _between(draw, *ranges[name], evenly=name in _EVENLY) for name, draw in point.items()},
        )
        for point in draws(method, plain, points)
    )


def draws(method: Method, plain: Recipe, points: int) -> tuple[dict[str, float], ...]:
    """Returns where each point of `search` lies in each hyperparameter's range, from 0 (low) to 1 (high)."""
    return tuple(dict(zip(_ranges(method, plain), point, strict=False)) for point in _sobol(points))


def _ranges(method: Method, plain: Recipe) -> dict[str, tuple[float, float]]:
    ranges = RANGES[plain.optimiser] | dict(method.ranges)
    if plain.weight_decay is not None:
        del ranges["weight_decay"]
    return ranges


def _between(draw: float, low: float, high: float, evenly: bool) -> float:
    return low + draw * (high - low) if evenly else low * (high / low) ** draw


@functools.cache
def _sobol(count: int) -> tuple[tuple[float, ...], ...]:
    from scipy.stats import qmc  # slow to import

    points = qmc.Sobol(4, rng=np.random.default_rng(0)).random_base2(max(1, math.ceil(math.log2(count))))
    return tuple(map(tuple, points[:count].tolist()))
