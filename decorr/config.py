"""Architectures, optimisers and regularisers as immutable values. Needs only the standard library.

Each field names its source: "text" is the paper, and "code" is the author's released Torch7 code.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from decorr._names import check_name

Nonlinearity = Literal["prelu", "leaky_relu"]
Initialisation = Literal["torch", "flax", "he"]
Normalisation = Literal["none", "batch", "whiten"]
"""The normalisation between a layer's weights and its nonlinearity: none, batch normalisation
(`flax.linen.BatchNorm`), or batch whitening (`decorr.BatchWhitening`)."""

Schedule = Literal["constant", "cosine", "exponential"]
"""How a number changes over training: see `decorr.training.schedules`."""


@dataclass(frozen=True)
class Architecture:
    """Describes the hidden layers of a network in `decorr.models`."""

    widths: tuple[int, ...]
    """The number of units of each hidden layer, first to last. For a convolutional layer, the number of
    channels."""
    nonlinearity: Nonlinearity = "prelu"
    """prelu: one learned slope per layer (code). leaky_relu: a fixed slope (text)."""
    negative_slope: float = 0.25
    """The slope for inputs below zero. For prelu it is the initial slope, which is 0.25 in Torch (code)."""
    initialisation: Initialisation = "torch"
    """torch: weights and biases uniform in +-1/sqrt(fan_in) (code). flax: Flax's defaults, which are zero
    biases, and weights from a truncated normal of variance 1/fan_in. he: like flax, but with variance
    2/fan_in."""
    input_dropout: bool = True
    """Whether dropout acts on the inputs too (code), not only after each hidden layer."""
    normalisation: Normalisation = "none"
    """How each hidden layer is normalised before its nonlinearity."""

    def __post_init__(self) -> None:
        check_name("nonlinearity", self.nonlinearity, get_args(Nonlinearity))
        check_name("initialisation", self.initialisation, get_args(Initialisation))
        check_name("normalisation", self.normalisation, get_args(Normalisation))

    def weights(self, features: int) -> int:
        """Returns the number of weights of the hidden layers, if they are fully connected.

        The first hidden layer has `features` inputs.
        """
        return sum(i * o for i, o in itertools.pairwise((features, *self.widths)))

    def convolutional_products(self, image_shape: tuple[int, ...]) -> int:
        """Counts the multiplications per image, if the hidden layers are 3 x 3 convolutions of stride 2."""
        *sides, channels = image_shape
        total = 0
        for i, o in itertools.pairwise((channels, *self.widths)):
            sides = [-(-side // 2) for side in sides]
            total += math.prod(sides) * 9 * i * o
        return total


@dataclass(frozen=True)
class Optimisation:
    """The settings of minibatch stochastic gradient descent."""

    learning_rate: float = 0.05
    """The step size (text, code)."""
    momentum: float = 0.0
    """Heavy-ball momentum, without damping. The code makes a new momentum buffer in every step, so its
    momentum is effectively 0. The text says 0.8."""
    weight_decay: float = 1e-4
    """Weight decay: this multiple of the parameters is added to the gradient (text, code). Biases and slopes
    decay too (code)."""
    batch_size: int = 50
    """The number of samples in a minibatch (text, code). If the last minibatch of an epoch is incomplete, it
    is left out."""
    schedule: Schedule = "constant"
    """How the learning rate changes from the first epoch to the last. It stays constant (text, code), falls
    to 0 along half a cosine wave, or falls exponentially to a hundredth of its initial value. Section 4
    suggests a learning rate that shrinks."""


class Regulariser(NamedTuple):
    """The regularisation of one network: a penalty and dropout. A field that is None costs no computation.

    A regulariser is a PyTree, and its numbers may be arrays. Networks that differ only in these numbers share
    one compiled program.
    """

    penalty_weight: float | None = None
    """The weight of the penalty in the training loss: it multiplies the sum of P over the hidden layers
    (Section 3.1)."""
    dropout_rate: float | None = None
    """The probability that an activation is dropped in training."""
