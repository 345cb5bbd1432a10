"""Architectures, optimisers and regularisers as values: frozen dataclasses, standard library only.

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
"""What follows a layer's weights, before its nonlinearity: nothing; batch normalisation
(`flax.linen.BatchNorm`); batch whitening (`decorr.BatchWhitening`)."""

Schedule = Literal["constant", "cosine", "exponential"]
"""How a number changes over training: `decorr.training.schedules`."""


@dataclass(frozen=True)
class Architecture:
    """The hidden layers of a network of `decorr.models`."""

    widths: tuple[int, ...]
    """Units of each hidden layer, first to last; for a convolutional layer, its channels."""
    nonlinearity: Nonlinearity = "prelu"
    """prelu: one learned slope per layer (code). leaky_relu: a fixed slope (text)."""
    negative_slope: float = 0.25
    """The slope below zero; for prelu its initial value, 0.25 in Torch (code)."""
    initialisation: Initialisation = "torch"
    """torch: weights and biases uniform in +-1/sqrt(fan_in) (code). flax: Flax's defaults, weights from a
    truncated normal of variance 1/fan_in and zero biases. he: the same with variance 2/fan_in."""
    input_dropout: bool = True
    """Whether dropout acts on the inputs too (code), not only after each hidden layer."""
    normalisation: Normalisation = "none"
    """Normalisation of each hidden layer, before the nonlinearity."""

    def __post_init__(self) -> None:
        check_name("nonlinearity", self.nonlinearity, get_args(Nonlinearity))
        check_name("initialisation", self.initialisation, get_args(Initialisation))
        check_name("normalisation", self.normalisation, get_args(Normalisation))

    def weights(self, features: int) -> int:
        """The number of weights of hidden layers that are fully connected and take `features` inputs."""
        return sum(i * o for i, o in itertools.pairwise((features, *self.widths)))

    def convolutional_products(self, image_shape: tuple[int, ...]) -> int:
        """The number of multiplications per image in hidden layers of 3 x 3 convolutions with stride 2."""
        *sides, channels = image_shape
        total = 0
        for i, o in itertools.pairwise((channels, *self.widths)):
            sides = [-(-side // 2) for side in sides]
            total += math.prod(sides) * 9 * i * o
        return total


@dataclass(frozen=True)
class Optimisation:
    """Minibatch stochastic gradient descent."""

    learning_rate: float = 0.05
    """Step size (text, code)."""
    momentum: float = 0.0
    """Heavy-ball momentum, undamped. It is 0 in the code, which makes a new momentum buffer at every call, so
    that momentum never acts. The text says 0.8."""
    weight_decay: float = 1e-4
    """This multiple of the parameters is added to the gradient (text, code), for biases and slopes too
    (code)."""
    batch_size: int = 50
    """Samples in a minibatch (text, code). An incomplete last minibatch of an epoch is left out."""
    schedule: Schedule = "constant"
    """How the learning rate shrinks over all epochs: not at all (text, code), by a half cosine to 0, or
    exponentially to a hundredth. Section 4 suggests that it should shrink."""


class Regulariser(NamedTuple):
    """What a variant adds to the training of one network. A field that is None is not used and costs nothing.

    A PyTree, whose numbers may be arrays. Networks that differ only in these numbers share one program.
    """

    penalty_weight: float | None = None
    """Multiplies P (Section 3.1), summed over the hidden layers, in the training loss."""
    dropout_rate: float | None = None
    """Probability to drop an activation in training."""
