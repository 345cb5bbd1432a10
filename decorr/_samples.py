"""The gate through which all activations come: checked, as [sample, unit], and standardised."""

import math

import jax
import jax.numpy as jnp
from jax import lax

# A unit is constant if its values span no more than this many roundings of the largest of them.
_ROUNDINGS = 4


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """The matrix product in full float32, also where the hardware would round to bfloat16 or TF32."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def as_samples(a: jax.Array, minimum: int = 2) -> jax.Array:
    """Checks activations [..., unit]; returns them as [sample, unit], in float32 or better."""
    a = jnp.asarray(a)
    if a.ndim < 2:
        raise ValueError(f"activations must have shape [..., unit] (2-D or more); got {a.shape}")
    if not jnp.issubdtype(a.dtype, jnp.floating):
        raise TypeError(f"activations must have a real floating-point dtype; got {a.dtype}")
    m, d = math.prod(a.shape[:-1]), a.shape[-1]
    if m < minimum or d < 1:
        raise ValueError(f"activations must hold >= {minimum} samples of >= 1 unit; got {a.shape}")
    half = jnp.finfo(a.dtype).bits < 32
    return a.reshape(m, d).astype(jnp.float32 if half else a.dtype)


def is_constant(low: jax.Array, high: jax.Array) -> jax.Array:
    """Whether values between `low` and `high` differ by rounding only; NaN is not constant."""
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return high - low <= _ROUNDINGS * jnp.finfo(low.dtype).eps * largest


def standardise(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Z-scores [sample, unit] and standard deviations [unit] of [sample, unit]; both 0 if constant."""
    low, high = samples.min(axis=0, keepdims=True), samples.max(axis=0, keepdims=True)
    constant = is_constant(low, high)
    # Map every unit onto [0, 1] first, so that no square under- or overflows and a large mean costs
    # no digits. z does not depend on shift and span, so neither do its derivatives of any order.
    shift = lax.stop_gradient(low)
    span = lax.stop_gradient(jnp.where(constant, 1, high - low))
    c = (samples - shift) / span
    c = c - c.mean(axis=0, keepdims=True)
    variance = jnp.sum(c * c, axis=0, keepdims=True) / (samples.shape[0] - 1)
    # Two `where`s: the inner keeps 1 / 0 out of the derivative, the outer sets the value.
    deviation = jnp.sqrt(jnp.where(constant, 1, variance))
    z, sigma = jnp.where(constant, 0, c / deviation), jnp.where(constant, 0, deviation * span)
    return z, sigma[0]
