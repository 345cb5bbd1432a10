"""What the penalty and the correlations see of each hidden layer."""

import functools

import jax

from decorr.positions import sample_positions

MAX_SAMPLES = 16384
"""Of a layer with positions, in training: far more than it has units, and all positions of small images:
where the penalty is little work beside the layer, to draw some of them is more."""

_STREAM = 3  # beside the keys that a run's seed is split into, see `steps`


def seen(
    activations: tuple[jax.Array, ...],
    key: jax.Array,
    step: jax.typing.ArrayLike,
    max_samples: int = MAX_SAMPLES,
) -> tuple[jax.Array, ...]:
    """Activations as they are, but for layers with positions: of those some positions of every sample.

    Args:
      activations: [sample, unit], or with positions [sample, ..., unit], of each layer.
      key: the run's seed, as in `TrainingState.key`.
      step: which draw it is, such as `TrainingState.step`; may be traced.
      max_samples: how many there may be of a layer with positions, at least one of each sample; static.

    Returns:
      [sample, unit], or [sample, position, unit] as `decorr.sample_positions` draws them, of each layer and
      step others. Layers without positions draw nothing, and cost nothing.

    Raises:
      ValueError: a layer with positions, of more samples than `max_samples`.
    """

    def of_layer(layer: int, a: jax.Array) -> jax.Array:
        if a.ndim <= 2:
            return a
        mine = functools.reduce(jax.random.fold_in, (_STREAM, step, layer), key)
        return sample_positions(a, mine, max_samples)

    return tuple(of_layer(layer, a) for layer, a in enumerate(activations))
