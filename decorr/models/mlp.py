"""The paper's fully connected network (Section 1.3) as a Linen module that returns its activations."""

import functools
from collections.abc import Callable

import jax
from flax import linen as nn

from decorr._checks import check_floating
from decorr.config import Architecture
from decorr.models.layers import dense, hidden_layers


class MLP(nn.Module):
    """A multilayer perceptron that returns `(logits, activations)`.

    Each hidden layer is an affine map, then a leaky ReLU max(x, 0) + slope min(x, 0), then dropout if a rate
    is given. The slope is fixed or learned (PReLU, one per layer). The activations are taken after the
    nonlinearity and before dropout, like in the author's released code.

        model = MLP(Architecture((360, 180, 90)), classes=10)                 # of decorr.config
        variables = model.init(key, x)
        logits, activations = model.apply(variables, x)                       # evaluation
        logits, activations = model.apply(variables, x, 0.3, rngs={"dropout": key})   # training

    Attributes:
      architecture: an `Architecture`: widths, nonlinearity, initialisation, normalisation, and dropout of the
        inputs.
      classes: number of classes.
      dot_general: the function that multiplies a layer's inputs by its kernel, as in `flax.linen.Dense`.

    Call:
      x: inputs [..., feature], floating point.
      dropout_rate: the probability to drop an element, a scalar that may be traced. None: no dropout, and no
        cost.
      train: has an effect only with normalisation. If True, layers normalise by the batch's statistics, and
        update the running statistics (the collection "batch_stats"). If False, layers normalise by the
        running statistics.

    Returns:
      logits [..., class], and a tuple with one array [..., unit] for each hidden layer.

    Raises:
      TypeError: inputs that are not floating point.

    Source: Simon, Section 1.3; for details that the text omits, the author's released code.
    """

    architecture: Architecture
    classes: int
    dot_general: Callable[..., jax.Array] = jax.lax.dot_general

    @nn.compact
    def __call__(
        self, x: jax.typing.ArrayLike, dropout_rate: jax.typing.ArrayLike | None = None, train: bool = False
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Runs the network: see Call, above."""
        x = check_floating(x, "an MLP's inputs (divide pixels by the largest value)")
        affine = functools.partial(dense, self.architecture, dot_general=self.dot_general)
        x, activations = hidden_layers(self, self.architecture, affine, x, dropout_rate, train)
        return affine("logits", self.classes, x), activations
