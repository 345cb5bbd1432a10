"""Chooses the samples of each hidden layer from which the penalty and the correlations are computed."""

import functools

import jax

from decorr.positions import sample_positions

MAX_SAMPLES = 16384
"""The most samples that training takes from a layer with positions. This number is far above the number of
units of a layer, and is enough for all positions of small images. For such images, drawing some positions
would cost more than a penalty over all positions."""

_STREAM = 3  # keeps these draws independent of the keys in `order`


def subsample(
    activations: tuple[jax.Array, ...],
    key: jax.Array,
    step: jax.typing.ArrayLike,
    max_samples: int = MAX_SAMPLES,
) -> tuple[jax.Array, ...]:
    """Draws some positions of every sample in layers with positions, and leaves other layers as they are.

    Args:
      activations: for each layer, an array [sample, unit], or with positions [sample, ..., unit].
      key: the run's seed, as in `TrainingState.key`.
      step: the number of the draw, such as `TrainingState.step`; may be traced.
      max_samples: the most positions that may be drawn from a layer, at least one for each sample; static.

    Returns:
      For each layer, an array [sample, unit], or [sample, position, unit] as `decorr.sample_positions` draws
      it. Positions are drawn anew for each layer and each step. Layers without positions cost nothing.

    Raises:
      ValueError: a `max_samples` below the number of samples, if a layer has positions.
    """

    def of_layer(layer: int, a: jax.Array) -> jax.Array:
        if a.ndim <= 2:
            return a
        mine = functools.reduce(jax.random.fold_in, (_STREAM, step, layer), key)
        return sample_positions(a, mine, max_samples)

    return tuple(of_layer(layer, a) for layer, a in enumerate(activations))
