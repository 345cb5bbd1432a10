"""What the networks have in common: initialisation, nonlinearity, normalisation and dropout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from decorr._dropout import dropout
from decorr.config import Architecture
from decorr.models.whitening import BatchWhitening

Affine = Callable[[str, int, jax.Array], jax.Array]
"""A function of (name, units, inputs) that returns a layer's values before the nonlinearity."""


def initialisers(architecture: Architecture, fan_in: int) -> dict[str, Any]:
    """Returns the initialisers of a Linen layer with `fan_in` inputs per unit, as keyword arguments."""
    if architecture.initialisation == "flax":
        return {}
    if architecture.initialisation == "he":
        return {"kernel_init": nn.initializers.he_normal()}
    bound = fan_in**-0.5  # Torch7's nn.Linear and nn.SpatialConvolution

    def uniform(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return {"kernel_init": uniform, "bias_init": uniform}


def dense(architecture: Architecture, name: str, width: int, x: jax.Array, **options: Any) -> jax.Array:
    """Applies a fully connected layer; `options` go to `nn.Dense`. Call this function in a compact method."""
    return nn.Dense(width, name=name, **options, **initialisers(architecture, x.shape[-1]))(x)


def hidden_layers(
    module: nn.Module,
    architecture: Architecture,
    affine: Affine,
    x: jax.Array,
    dropout_rate: jax.typing.ArrayLike | None,
    train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Returns the last hidden layer's output after dropout, and each layer's activations before dropout."""

    def drop(x: jax.Array) -> jax.Array:
        return x if dropout_rate is None else dropout(module.make_rng("dropout"), x, dropout_rate)

    activations = []
    if architecture.input_dropout:
        x = drop(x)
    for layer, width in enumerate(architecture.widths, start=1):
        x = _normalised(architecture, f"norm_{layer}", affine(f"hidden_{layer}", width, x), train)
        x = _leaky(module, architecture, f"slope_{layer}", x)
        activations.append(x)
        x = drop(x)
    return x, tuple(activations)


def _normalised(architecture: Architecture, name: str, x: jax.Array, train: bool) -> jax.Array:
    if architecture.normalisation == "batch":
        normalised: jax.Array = nn.BatchNorm(use_running_average=not train, name=name)(x)
        return normalised
    if architecture.normalisation == "whiten":
        return BatchWhitening(use_running_average=not train, name=name)(x)
    return x


def _leaky(module: nn.Module, architecture: Architecture, name: str, x: jax.Array) -> jax.Array:
    slope = jnp.asarray(architecture.negative_slope, x.dtype)
    if architecture.nonlinearity == "prelu":
        slope = module.param(name, lambda _: slope.astype(jnp.float32)).astype(x.dtype)
        # With the barrier, the slope's gradient is summed over samples first, then over units. One sum over
        # samples and units is slow on a CPU.
        slope = jax.lax.optimization_barrier(jnp.full((1,) * (x.ndim - 1) + x.shape[-1:], slope))
    return jnp.where(x > 0, x, slope * x)


def slopes(params: dict[str, Any]) -> jax.Array:
    """Returns the PReLU slopes [layer] among a network's parameters; shape [0] if slopes are not learned."""
    names = sorted((name for name in params if name.startswith("slope_")), key=lambda name: int(name[6:]))
    return jnp.stack([params[name] for name in names]) if names else jnp.zeros(0, jnp.float32)
