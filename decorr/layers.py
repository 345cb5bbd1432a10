"""Penalties of many layers at once, for any model."""

import fnmatch
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from decorr._names import meant
from decorr.penalties import correlation_penalty


def layer_penalties(
    activations: Any,
    weights: Mapping[str, jax.typing.ArrayLike | None],
    penalty: Callable[[jax.Array], jax.Array] = correlation_penalty,
    *,
    reference_width: int | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Penalises the layers of any model, chosen by name. Returns the weighted sum and each layer's penalty.

    total = sum over layers of weight(name) penalty(activations). A layer's name is its path in the PyTree,
    with slashes between the keys. For example, an array that the Linen module `blocks_0` sows under "relu" is
    named `blocks_0/relu/0`. The layers of a tuple are named `0`, `1`, ...

        total, by_layer = layer_penalties(activations, {"*": 0.002})
        loss = nll + total

    Args:
      activations: a PyTree with one array [..., unit] for each layer. If a scan has stacked the layers into
        one array [layer, ..., unit], its leading axis would count as samples: see `docs/recipes/scan.md`.
      weights: a dict that maps patterns to weights. In a pattern, * stands for any characters, even slashes,
        and ? for one character. Brackets are ordinary characters. A layer gets the weight of the first
        pattern that matches its name. A layer with the weight None has no penalty, nor has a layer that no
        pattern matches. Weights are scalars that may be traced, so a schedule causes no recompilation.
      penalty: a scalar function of one layer's activations. Use `functools.partial` to give it options, such
        as `where` and `axis_name`.
      reference_width: the width for which the weights are meant. The weight of a layer of d units is
        multiplied by sqrt(reference_width / d), because the gradient of P grows like sqrt(d) if the units
        share a common cause. So one weight serves layers of 16, 32 and 64 units. Use this option with P only,
        because the gradients of other penalties grow differently. Default: weights are used as they are.

    Returns:
      The total, a scalar; and a dict that maps the name of each layer with a weight to its penalty. The
      penalties in the dict are not multiplied by the weights.

    Raises:
      ValueError: a pattern that matches no layer (the error lists the names); two layers with the same name;
        a weight or a penalty that is not a scalar; a reference width below 1. If the penalty raises an error,
        the error names the layer.
      TypeError: weights that are not a dict.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map patterns to weights, like {{'*': 0.002}}; got {weights!r}")
    if reference_width is not None and not reference_width >= 1:
        raise ValueError(f"reference_width must be >= 1; got {reference_width}")
    layers = layers_by_name(activations)
    for pattern, weight in weights.items():
        if not any(_matches(name, pattern) for name in layers):
            names = ", ".join(name or "'' (an array alone)" for name in layers) or "none"
            raise ValueError(f"no layer is named {pattern!r}{meant(pattern, layers)}; the layers are {names}")
        if weight is not None and (shape := jnp.shape(weight)):
            raise ValueError(f"the weight of {pattern!r} must be a scalar; got shape {shape}")
    total: Any = 0.0
    values = {}
    for name, a in layers.items():
        chosen = next((weight for pattern, weight in weights.items() if _matches(name, pattern)), None)
        if chosen is not None:
            width = 1.0 if reference_width is None else math.sqrt(reference_width / a.shape[-1])
            values[name] = scalar_of(penalty, a, f"layer {name}", "a penalty")
            total = total + width * jnp.asarray(chosen) * values[name]
    return jnp.asarray(total), values


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def layers_by_name(activations: Any) -> dict[str, Any]:
    """Returns a dict that maps each leaf's path to the leaf. Raises ValueError if two paths are the same."""
    layers: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(activations):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in layers:
            raise ValueError(f"two layers are named {name!r}: give them other keys")
        layers[name] = leaf
    return layers


def scalar_of(function: Callable[[jax.Array], jax.Array], a: jax.Array, place: str, what: str) -> jax.Array:
    """Returns function(a), which must be a scalar. Error messages begin with `place`."""
    try:
        value = function(a)
    except (TypeError, ValueError) as error:
        # The new error does not keep the class of `error`, because some of JAX's error classes take no
        # message.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{place}: {error}") from error
    if shape := jnp.shape(value):
        raise ValueError(f"{place}: {what} must be a scalar; got shape {shape}")
    return value
