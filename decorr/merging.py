"""Removes redundant units from a stack of trained dense layers.

The functions need concrete values, so they cannot be traced.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from decorr._checks import check_floating
from decorr._samples import product, widen
from decorr.redundancy import merge_units

Nonlinearity = Callable[[jax.Array], jax.Array]


class MergedNetwork(NamedTuple):
    """A stack of dense layers after `merge_network` has removed its redundant units."""

    layers: tuple[dict[str, Any], ...]
    """The parameters of each layer, without the redundant units."""
    kept: tuple[np.ndarray, ...]
    """For each hidden layer, the indices of the units that are left, as in `merge_units`."""
    errors: tuple[float, ...]
    """For each hidden layer, how much the next layer's input changes, as in `merge_units`."""


def merge_network(
    x: jax.typing.ArrayLike,
    layers: Sequence[Mapping[str, Any]],
    nonlinearity: Nonlinearity | Sequence[Nonlinearity] = jax.nn.relu,
    *,
    threshold: float = 0.99,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
) -> MergedNetwork:
    """Removes the redundant units of all hidden layers of a stack of dense layers.

    `merge_units` is applied to every hidden layer, from the first to the last. After a layer is merged, the
    merged network computes the next layer's activations. So each layer is fitted to the inputs that it gets
    in the merged network.

        merged = merge_network(x, layers)
        widths = [len(kept) for kept in merged.kept]

    Args:
      x: inputs [..., feature] of the first layer, floating point. Units are compared over these samples.
      layers: the stack, first to last. Each layer has a "kernel" [input, unit] and a "bias" [unit], like the
        parameters of a Flax Dense layer. The last layer's units are the outputs, and all of them stay.
      nonlinearity: an elementwise function that every hidden layer applies; or a sequence with one function
        for each hidden layer, for example PReLUs with their learned slopes.
      threshold, where, weights: as in `merge_units`.

    Returns:
      MergedNetwork(layers, kept, errors).

    Raises:
      ValueError, TypeError: as in `merge_units`; fewer than two layers; layers whose shapes do not fit each
        other; a sequence with more or fewer nonlinearities than hidden layers.

    Numerics:
      As in `merge_units`. Activations have the dtype of x, or float32 if x has half precision. To try another
      threshold, merge the trained network again, not the merged network. The errors of the layers add up, so
      measure the merged network on held-out data.

    Source: Simon, Decorrelating Neural Network Activations, Section 1.1.
    """
    h = jnp.asarray(widen(check_floating(x, "inputs")))
    stack, kept, errors = [dict(layer) for layer in layers], [], []
    _check_stack(stack, h.shape[-1])
    hidden = len(stack) - 1
    each = [nonlinearity] * hidden if callable(nonlinearity) else list(nonlinearity)
    if len(each) != hidden:
        raise ValueError(
            f"there must be one nonlinearity for each of the {hidden} hidden layers; got {len(each)}"
        )
    for i, function in enumerate(each):
        h = function(_affine(stack[i], h))
        after = stack[i + 1]
        merged = merge_units(
            h, stack[i], after["kernel"], after["bias"], threshold=threshold, where=where, weights=weights
        )
        stack[i], stack[i + 1] = merged.incoming, after | {"kernel": merged.kernel, "bias": merged.bias}
        h = h[..., merged.kept]
        kept.append(merged.kept)
        errors.append(merged.error)
    return MergedNetwork(tuple(stack), tuple(kept), tuple(errors))


def _affine(layer: Mapping[str, Any], x: jax.Array) -> jax.Array:
    kernel, bias = (jnp.asarray(layer[name], x.dtype) for name in ("kernel", "bias"))
    return product(x, kernel) + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def _check_stack(stack: Sequence[Mapping[str, Any]], width: int) -> None:
    """Raises ValueError unless each layer has one input for each unit of the layer before."""
    if len(stack) < 2:
        raise ValueError(f"a network must have >= 2 layers, including the output layer; got {len(stack)}")
    for i, layer in enumerate(stack):
        if missing := {"kernel", "bias"} - layer.keys():
            raise ValueError(f"layer {i} has no {' and no '.join(sorted(missing))}")
        kernel, bias = jnp.shape(layer["kernel"]), jnp.shape(layer["bias"])
        if len(kernel) != 2 or kernel[0] != width or bias != kernel[1:]:
            raise ValueError(
                f"layer {i} must have a kernel [{width}, unit] and a bias [unit]; got {kernel} and {bias}"
            )
        width = kernel[1]
