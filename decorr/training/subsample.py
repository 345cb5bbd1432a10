"""Chooses the samples of each hidden layer that penalty and correlations take."""

import functools

import jax

from decorr.positions import sample_positions

MAX_SAMPLES = 16384
"""Largest number of samples of a layer with positions, in training. It is far more than a layer's units, and
allows all positions of small images. In those, drawing some would cost more than a penalty of all."""

_STREAM = 3  # a random stream of its own, besides the keys in `order`


def subsample(
    activations: tuple[jax.Array, ...],
    key: jax.Array,
    step: jax.typing.ArrayLike,
    max_samples: int = MAX_SAMPLES,
) -> tuple[jax.Array, ...]:
    """Activations as they are; for layers with positions, some positions of every sample.

    Args:
      activations: [sample, unit], or with positions [sample, ..., unit], of each layer.
      key: the run's seed, as in `TrainingState.key`.
      step: which draw it is, such as `TrainingState.step`; may be traced.
      max_samples: the most positions that may be drawn from a layer, at least one for each sample; static.

    Returns:
      [sample, unit], or [sample, position, unit] as `decorr.sample_positions` draws them. Each layer and each
      step draws anew. Layers without positions draw nothing, and cost nothing.

    Raises:
      ValueError: a layer with positions, of more samples than `max_samples`.
    """

    def of_layer(layer: int, a: jax.Array) -> jax.Array:
        if a.ndim <= 2:
            return a
        mine = functools.reduce(jax.random.fold_in, (_STREAM, step, layer), key)
        return sample_positions(a, mine, max_samples)

    return tuple(of_layer(layer, a) for layer, a in enumerate(activations))
