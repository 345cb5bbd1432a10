"""The paper's fully connected network (Section 1.3) as a Linen module that shows its activations."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from decorr._dropout import dropout
from decorr._samples import check_floating
from decorr.config import Architecture


class MLP(nn.Module):
    """A multilayer perceptron that returns `(logits, activations)`.

    Each hidden layer is affine, then a leaky ReLU max(x, 0) + slope min(x, 0), whose slope is fixed or
    learned (PReLU, one a layer), then dropout if a rate is given. The activations are taken after the
    nonlinearity and before dropout, as in the author's released code.

        model = MLP(RELEASED.architecture("huge"), classes=10)
        variables = model.init(key, x)
        logits, activations = model.apply(variables, x)                       # evaluation
        logits, activations = model.apply(variables, x, 0.3, rngs={"dropout": key})   # training

    Attributes:
      architecture: widths, nonlinearity, initialisation, and whether dropout acts on the inputs too.
      classes: number of classes.

    Call:
      x: inputs [..., feature], floating point.
      dropout_rate: probability to drop, a scalar that may be traced; None: no dropout, and no cost.

    Returns:
      logits [..., class], and a tuple with one array [..., unit] for each hidden layer.

    Raises:
      TypeError: inputs that are not floating point.

    Source: Simon, Section 1.3; where the text is silent, the author's released code.
    """

    architecture: Architecture
    classes: int

    @nn.compact
    def __call__(
        self, x: jax.Array, dropout_rate: jax.typing.ArrayLike | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """As the class says under Call."""
        x = check_floating(x, "an MLP's inputs (pixels: divide them by the largest)")

        def drop(x: jax.Array) -> jax.Array:
            return x if dropout_rate is None else dropout(self.make_rng("dropout"), x, dropout_rate)

        activations = []
        if self.architecture.input_dropout:
            x = drop(x)
        for layer, width in enumerate(self.architecture.widths, start=1):
            x = self._slope(f"slope_{layer}", self._dense(f"hidden_{layer}", width, x))
            activations.append(x)
            x = drop(x)
        return self._dense("logits", self.classes, x), tuple(activations)

    def _dense(self, name: str, width: int, x: jax.Array) -> jax.Array:
        if self.architecture.initialisation == "flax":
            return nn.Dense(width, name=name)(x)
        bound = x.shape[-1] ** -0.5  # Torch7's nn.Linear

        def uniform(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return nn.Dense(width, name=name, kernel_init=uniform, bias_init=uniform)(x)

    def _slope(self, name: str, x: jax.Array) -> jax.Array:
        slope = jnp.asarray(self.architecture.negative_slope, x.dtype)
        if self.architecture.nonlinearity == "prelu":
            slope = self.param(name, lambda _: slope.astype(jnp.float32)).astype(x.dtype)
        return jnp.where(x > 0, x, slope * x)


def slopes(params: dict[str, Any]) -> jax.Array:
    """The learned PReLU slopes [layer] of an MLP's parameters; shape [0] if they are not learned."""
    names = sorted((name for name in params if name.startswith("slope_")), key=lambda name: int(name[6:]))
    return jnp.stack([params[name] for name in names]) if names else jnp.zeros(0, jnp.float32)
