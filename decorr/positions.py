"""Draws some positions of convolutional maps and sequences, the same number from every example."""

import math
import operator
from typing import overload

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._checks import check_floating, check_where
from decorr._mesh import over_mesh


@overload
def sample_positions(
    a: jax.typing.ArrayLike, key: jax.Array, max_samples: int, *, where: None = None
) -> jax.Array: ...


@overload
def sample_positions(
    a: jax.typing.ArrayLike, key: jax.Array, max_samples: int, *, where: jax.typing.ArrayLike
) -> tuple[jax.Array, jax.Array]: ...


def sample_positions(
    a: jax.typing.ArrayLike, key: jax.Array, max_samples: int, *, where: jax.typing.ArrayLike | None = None
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Draws some positions of every example, at random without replacement.

    Each example gives p = min(positions, max_samples // examples) positions, so no example is left out. These
    positions are enough for a penalty or a correlation matrix of a layer with positions, such as the pixels
    of an image or the tokens of a text.

        seen = sample_positions(a, key, 4096)     # [example, position, unit]
        penalty = correlation_penalty(seen)       # all leading axes are samples

    Examples are independent. Positions of one example are not independent, because neighbouring positions see
    nearly the same input. So the effective number of samples is between the number of examples and p times
    that number. Independent units therefore show a larger penalty by chance than `independent_penalty` gives
    for p samples per example. If maps vary slowly, a few positions give nearly as much information as all
    positions, at a fraction of the cost.

    Args:
      a: activations [example, ..., unit], floating point; the axes between example and unit are positions.
        Channels come last: for [example, channel, row, column], give `jnp.moveaxis(a, 1, -1)`.
      key: a JAX random key. Use a new key in each step. Otherwise, training sees the same few positions in
        every step.
      max_samples: the largest total number of samples, at least one per example; static.
      where: bool, broadcastable to a.shape[:-1]: which positions are valid. Valid positions are drawn first.

    Returns:
      Samples [example, p, unit], of the dtype of `a`. If all positions are taken, they stay in stored order.
      With `where`, the result is the pair (samples, where [example, p]). An example with fewer than p valid
      positions also gives invalid positions, where the mask is False.

    Raises:
      ValueError: a `max_samples` below the number of examples; no examples, positions or units; a mask that
        cannot be broadcast.
      TypeError: a dtype that is not real floating point, a mask that is not bool; a `max_samples` that is not
        a whole number.

    Numerics:
      The samples are exact copies of the drawn values. The gradient is 0 at positions that were not drawn.
      Drawing costs one random word per position, a search for the p largest words of each example, and memory
      for the drawn samples. A penalty of m samples of d units takes 2 m d min(m, d) multiply-adds, including
      its gradient. For an array of shape (256, 56, 56, 256), that is 105 billion with all positions, and half
      a billion with 4096 samples. `jit`, `vmap` and `grad` work. Examples may be spread over a mesh with Auto
      or Explicit axes.
    """
    a = check_floating(a, "activations")
    if a.ndim < 2 or 0 in a.shape:
        raise ValueError(
            f"activations must have shape [example, ..., unit] and no axis of length 0; got {a.shape}"
        )
    examples, positions = a.shape[0], math.prod(a.shape[1:-1])
    p = min(positions, operator.index(max_samples) // examples)
    if p < 1:
        raise ValueError(f"max_samples must be at least {examples}, one per example; got {max_samples}")
    valid = None if where is None else check_where(where, a.shape[:-1]).reshape(examples, -1)
    samples: tuple[jax.Array, jax.Array] = over_mesh(
        _sample_positions, (a, key, valid), p, specs=_of_examples
    )
    return samples[0] if where is None else samples


def _of_examples(spec: PartitionSpec) -> tuple[PartitionSpec, PartitionSpec]:
    return PartitionSpec(spec[0], None, spec[-1]), PartitionSpec(spec[0])


def _sample_positions(
    p: int, a: jax.Array, key: jax.Array, valid: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns p samples of every example [example, p, unit], and which of them are valid [example, p]."""
    flat = a.reshape(a.shape[0], -1, a.shape[-1])
    shape = flat.shape[:2]
    mask = jnp.ones(shape, bool) if valid is None else valid
    if p == shape[1]:
        return flat, mask
    # The positions with the p largest random words are drawn. The highest bit of a word marks a valid
    # position. With uniform floats instead, two positions would tie with probability 2^-23, and the first of
    # them would win the tie.
    words = jax.random.bits(key, shape, jnp.uint32) >> 1
    _, index = jax.lax.top_k(words | mask.astype(jnp.uint32) << 31, p)
    return jnp.take_along_axis(flat, index[:, :, None], axis=1), jnp.take_along_axis(mask, index, axis=1)
