"""How active the units of a layer are, and which of them are dormant."""

import jax
import jax.numpy as jnp
from jax import lax

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples


def activity(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Scores each unit's activity: its mean absolute value, divided by the average over the layer's units.

    s_i = mean_k |a_i^(k)| / (1/d sum_j mean_k |a_j^(k)|). A unit with s_i = 0 is silent. A unit with s_i = 1
    is as active as the average unit. The mean of s over the units is 1.

    Args:
      a: activations [..., unit], floating point. All leading axes together are the m samples, including the
        positions of a convolution. One sample is enough.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`. The means over samples are weighted.

    Returns:
      s [unit], in [0, d]; float32 for half-precision input, else the dtype of `a`. Every s_i is 0 if all
      activations are 0, or if no sample is valid.

    Raises:
      ValueError, TypeError: as in `zscore`, but one sample is accepted.

    Numerics:
      There is no epsilon, so the scale of the activations does not matter. One NaN makes every s_i NaN. The
      derivative of |x| is 0 at x = 0. `jit`, `scan`, and `vmap` over seeds work.

    Source: Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning (arXiv:2302.12902),
      Equation 1. The authors' code adds 1e-9 to the divisor.
    """
    return over_mesh(_activity, (a, where, weights), axis_name)


def dormant_units(
    a: jax.typing.ArrayLike,
    *,
    threshold: jax.typing.ArrayLike = 0.025,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Finds the units that contribute almost nothing: those whose `activity` is at most a threshold.

    The result is a mask of units, for example to initialise dormant units again. The share of dormant units
    is `dormant_units(a).mean()`.

    Args:
      a: activations [..., unit], floating point, as in `activity`. Take them after the nonlinearity: before
        it, even a silent unit varies.
      threshold: a scalar that may be traced; common values are 0, 0.025 and 0.1.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `activity`.

    Returns:
      A bool array [unit], True for dormant units. All units are dormant if all activations are 0.

    Raises:
      ValueError, TypeError: as in `activity`.

    Numerics:
      As in `activity`. If any activation is NaN, no unit is dormant.

    Source: as in `activity`.
    """
    s = activity(a, where=where, weights=weights, axis_name=axis_name)
    return s <= jnp.asarray(threshold, s.dtype)


def _activity(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    samples = as_samples(axis_name, a, *stat, minimum=1)
    size = samples.values * jnp.sign(samples.values)  # not jnp.abs, whose derivative at 0 is 1
    size = samples.total(size / samples.size())[0]
    largest = lax.stop_gradient(jnp.max(size))
    # Sizes are divided by their largest first, so that no square in the derivative underflows or overflows. A
    # NaN stays NaN.
    size = size / jnp.where(largest == 0, 1, largest)
    return jnp.where(largest == 0, 0, size / jnp.where(largest == 0, 1, jnp.mean(size)))
