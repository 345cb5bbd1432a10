"""What is compared, on what, and with which numbers it is tried: as values, without JAX."""

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from decorr.config import Architecture, Normalisation, Optimisation
from experiments.grid.networks import Family, Penalty, Recipe, Size

BASE = Optimisation()
"""What methods do not choose: the released code's batch size and, but for weight decay, its weight decay."""

RATES = 0.01, 0.3
"""Between which learning rates are drawn, by their logarithms."""

STEPS = {500: 5_000, 2_000: 12_000, 10_000: 20_000, 50_000: 40_000}
"""Training images -> steps, by the end of which most methods have passed their best moment; between them by
logarithms."""

PLANNED = (
    *(f"{name}-{images}" for name in ("mnist", "fashion_mnist") for images in STEPS),
    "fashion_mnist-2000-conv",
)
"""The settings of PLAN.md, by name."""


@dataclass(frozen=True)
class Numbers:
    """What one trial is trained with."""

    learning_rate: float
    weight_decay: float = BASE.weight_decay
    penalty_share: float | None = None
    """The penalty's weight x (its sum over layers) / log(classes), at initialisation; None: no penalty."""
    dropout_rate: float | None = None


@dataclass(frozen=True)
class Method:
    """What is done against overfitting."""

    strength: Callable[[float, float], dict[str, float]]
    """Those of `Numbers` that it chooses, of two uniform draws."""
    penalty: Penalty = "corr"
    """What the penalty's share is of, if it has one."""
    normalisation: Normalisation = "none"
    """Of its hidden layers."""


def _log_uniform(draw: float, low: float, high: float) -> float:
    return math.exp(math.log(low) + draw * math.log(high / low))


def _dropout_rate(draw: float) -> float:
    return 0.05 + draw * (0.6 - 0.05)


def _share(draw: float) -> float:
    return _log_uniform(draw, 1e-4, 1)


METHODS: dict[str, Method] = {
    "vanilla": Method(lambda u, v: {}),
    "dropout": Method(lambda u, v: {"dropout_rate": _dropout_rate(u)}),
    "weight-decay": Method(lambda u, v: {"weight_decay": _log_uniform(u, 1e-5, 1e-2)}),
    "batchnorm": Method(lambda u, v: {}, normalisation="batch"),
    "whiten": Method(lambda u, v: {}, normalisation="whiten"),
    "corr": Method(lambda u, v: {"penalty_share": _share(u)}),
    "decov": Method(lambda u, v: {"penalty_share": _share(u)}, penalty="decov"),
    "vcreg": Method(lambda u, v: {"penalty_share": _share(u)}, penalty="vcreg"),
    "corr-dropout": Method(lambda u, v: {"penalty_share": _share(u), "dropout_rate": _dropout_rate(v)}),
}
"""By name, in the order of tables. The penalties are those of `experiments.grid.networks.Penalty`."""


@dataclass(frozen=True)
class Setting:
    """One table: networks, data and budget, the same for all methods."""

    dataset: str
    images: int
    """The first so many of a fixed random order of the training images."""
    family: Family = "mlp"
    size: Size = "medium"
    steps: int = STEPS[2_000]
    """Of each training."""
    trials: int = 12
    """Sets of numbers that each method is tried with."""
    seeds: int = 3
    """Networks of a trial: the seeds 0, 1, ..."""
    report_seeds: int = 10
    """Networks of the report, trained with the best trial's numbers: the seeds after those."""
    moments: int = 50
    """How often the validation error is taken, in equal steps."""
    identity: str = ""
    """Of the data: `Dataset.identity`. Kept beside the configuration, since results say it of each method."""

    def __post_init__(self) -> None:
        least = {"images": BASE.batch_size, "trials": 1, "seeds": 1, "report_seeds": 2, "moments": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                what = name.replace("_", " ")
                raise ValueError(f"{what} must be at least {number}; got {getattr(self, name)}")
        if self.steps < 1 or self.steps % self.moments:
            raise ValueError(f"steps must be a multiple of the {self.moments} moments; got {self.steps}")

    @property
    def name(self) -> str:
        """How results name it: mnist-2000, fashion_mnist-2000-conv."""
        dataset = self.dataset.replace("/", "-")
        return f"{dataset}-{self.images}" + ("" if self.family == "mlp" else f"-{self.family}")

    def configuration(self) -> dict:
        """As plain numbers and strings."""
        return {name: value for name, value in asdict(self).items() if name != "identity"}

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, of all methods' networks."""
        return Recipe(family=self.family).architecture(self.size).widths

    def architecture(self, method: Method) -> Architecture:
        """A method's network."""
        plain = Recipe(family=self.family).architecture(self.size)
        return replace(plain, normalisation=method.normalisation)

    def numbers(self, method: Method) -> tuple[Numbers, ...]:
        """What each trial of a method is trained with: for all methods of the same draws."""
        return tuple(
            Numbers(_log_uniform(rate, *RATES), **method.strength(first, second))
            for rate, first, second in _draws(self.trials)
        )


@functools.cache
def _draws(count: int) -> tuple[tuple[float, float, float], ...]:
    """The first points of a scrambled Sobol sequence in the unit cube."""
    from scipy.stats import qmc  # it takes its time

    points = qmc.Sobol(3, rng=np.random.default_rng(0)).random_base2(max(1, math.ceil(math.log2(count))))
    return tuple((float(x), float(y), float(z)) for x, y, z in points[:count])


def steps_for(images: int, moments: int) -> int:
    """How many steps a training set of some size gets, a multiple of the moments: as `STEPS`."""
    logs = np.log(list(STEPS)), np.log(list(STEPS.values()))
    return max(1, round(math.exp(np.interp(math.log(images), *logs)) / moments)) * moments
