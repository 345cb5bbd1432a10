"""Checks activations, reshapes them to [sample, unit], and centres or standardises them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from decorr._checks import check_floating, check_weights, check_where

AxisName = str | tuple[str, ...] | None
"""Names of the mapped axes over which the samples are spread."""

# A unit is constant if its values span at most _ROUNDINGS * eps times the largest absolute value.
_ROUNDINGS = 4


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the matrix product in full float32, even on hardware that would round to bfloat16 or TF32."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def root(x: jax.Array) -> jax.Array:
    """Returns the square root of x, with derivative 0 at x = 0."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))  # NaN stays


def at_most(size: int, limit: int) -> bool:
    """Returns whether size <= limit, or True if either is symbolic, as in an exported program."""
    return not (isinstance(size, int) and isinstance(limit, int)) or size <= limit


def widen(x: Any) -> Any:
    """Converts half precision to float32. Other floating-point types stay as they are."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def is_constant(low: Any, high: Any, xp: ModuleType = jnp) -> Any:
    """Returns whether `low` and `high` differ by no more than rounding. NaN and infinities give False."""
    largest = xp.maximum(abs(low), abs(high))
    return (high - low <= _ROUNDINGS * jnp.finfo(low.dtype).eps * largest) & xp.isfinite(largest)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Samples:
    """Checked activations, and how to sum over them."""

    values: jax.Array
    """Activations [sample, unit], in float32 or wider. Samples of weight 0 are replaced by 0."""
    weights: jax.Array | None
    """Weights [sample]; 0 for an invalid sample. None means that all weights are 1, and saves time."""
    axis_name: AxisName = field(metadata={"static": True})

    @property
    def number(self) -> int:
        """The number of samples on all devices, including samples of weight 0."""
        shards = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        return self.values.shape[0] * shards

    def select(self, x: jax.Array, other: float = 0) -> jax.Array:
        """Returns x [sample, ...], with `other` in place of invalid samples."""
        if self.weights is None:
            return x
        return jnp.where(_column(self.weights, x) > 0, x, other)

    def weighted(self, x: jax.Array) -> jax.Array:
        """Returns x [sample, ...] times the weights."""
        return x if self.weights is None else x * _column(self.weights, x)

    def everywhere(self, x: jax.Array) -> jax.Array:
        """Returns the sum of x over the devices."""
        return x if self.axis_name is None else lax.psum(x, self.axis_name)

    def total(self, x: jax.Array) -> jax.Array:
        """Returns the weighted sum [1, ...] of x [sample, ...] over all samples."""
        return self.everywhere(jnp.sum(self.weighted(x), axis=0, keepdims=True))

    def moment(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Returns the weighted sum of x y^T [unit, unit] over all samples, for x and y [sample, unit]."""
        return self.everywhere(product(self.weighted(x).T, y))

    def gathered(self, x: jax.Array) -> jax.Array:
        """Returns x [sample, ...] gathered from all devices."""
        return x if self.axis_name is None else lax.all_gather(x, self.axis_name, axis=0, tiled=True)

    def whole(self, x: jax.Array) -> jax.Array:
        """Returns what `gathered` returns, in a way that tells JAX that every device has the same result.

        This costs a sum over devices.
        """
        if self.axis_name is None:
            return x
        place = lax.axis_index(self.axis_name) * x.shape[0]
        others = jnp.zeros((self.number, x.shape[1]), x.dtype)
        return self.everywhere(lax.dynamic_update_slice_in_dim(others, x, place, axis=0))

    def size(self, ddof: int = 0) -> jax.Array | int:
        """Returns the divisor of sums: V1 - ddof V2 / V1, with V1 = sum w and V2 = sum w^2.

        Without weights, the divisor is number - ddof. If the result would not be above 0, it is 1 instead.
        """
        if self.weights is None:
            return self.number - ddof if at_most(1 + ddof, self.number) else 1
        first, shares = self._shares()
        size = first * pairs_of_shares(shares, self.everywhere) if ddof else first
        return jnp.where(size > 0, size, 1)

    def effective(self) -> jax.Array | int:
        """Returns Kish's effective number of samples, V1^2 / V2. Equal weights give the number of samples."""
        if self.weights is None:
            return self.number
        _, shares = self._shares()
        squares = self.everywhere(jnp.sum(jnp.square(shares)))
        return jnp.where(squares > 0, 1 / jnp.where(squares > 0, squares, 1), 0)

    def _shares(self) -> tuple[jax.Array, jax.Array]:
        """Returns V1 = sum w, and each weight's share w / V1.

        Squares of shares cannot overflow, unlike squares of weights.
        """
        weights = jnp.asarray(self.weights)
        first = self.everywhere(weights.sum())
        return first, weights / jnp.where(first > 0, first, 1)

    def extremes(self) -> tuple[jax.Array, jax.Array]:
        """Returns each unit's smallest value and largest value, both [1, unit].

        Without valid samples, the values are 0. All derivatives are 0.
        """
        values = lax.stop_gradient(self.values)
        low = self.select(values, jnp.inf).min(axis=0, keepdims=True)
        high = self.select(values, -jnp.inf).max(axis=0, keepdims=True)
        if self.axis_name is not None:
            low, high = extremes_over(self.axis_name, low, high)
        if self.weights is not None:
            none = low > high
            low, high = jnp.where(none, 0, low), jnp.where(none, 0, high)
        return low, high

    def origin(self, low: jax.Array) -> jax.Array:
        """Returns the values [1, unit] to subtract first: `low`, or the heaviest sample if there are weights.

        If one sample outweighs all others by far, the mean is close to the value of that sample. If another
        value were subtracted, that sample's deviation from the mean would be only rounding error.
        """
        if self.weights is None:
            return low
        weights, values = lax.stop_gradient((self.weights, self.values))
        heaviest = weights.max() if self.axis_name is None else lax.pmax(weights.max(), self.axis_name)
        origin = jnp.where(_column(weights == heaviest, values), values, -jnp.inf).max(axis=0, keepdims=True)
        return origin if self.axis_name is None else lax.pmax(origin, self.axis_name)


def pairs_of_shares(shares: jax.Array, everywhere: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Computes sum_i!=j s_i s_j = 1 - sum_i s_i^2, for shares with sum 1.

    The result is precise even if one share is near 1.
    """
    dominant = shares > 0.75  # true for at most one share
    others = everywhere(jnp.sum(jnp.where(dominant, 0, shares)))
    return everywhere(jnp.sum(shares * jnp.where(dominant, others, 1 - shares)))


def extremes_over(
    axis_name: str | tuple[str, ...], low: jax.Array, high: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the smallest `low` and the largest `high` of all devices."""
    # A comparison between devices may lose a NaN, so every NaN becomes infinite. Like a unit with a NaN, a
    # unit with an infinity is not constant.
    low, high = jnp.where(jnp.isnan(low), -jnp.inf, low), jnp.where(jnp.isnan(high), jnp.inf, high)
    return lax.pmin(low, axis_name), lax.pmax(high, axis_name)


def _column(weights: jax.Array, x: jax.Array) -> jax.Array:
    return weights.reshape(-1, *(1,) * (x.ndim - 1))


def as_samples(
    axis_name: AxisName,
    a: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    *,
    minimum: int = 2,
) -> Samples:
    """Checks activations [..., unit], and the mask and weights of their samples.

    If one sample is enough, as on each device of a mapped axis, the activations may be an array [unit].
    """
    a = jnp.asarray(a)
    minimum = minimum if axis_name is None else 1
    least = 2 if minimum > 1 else 1
    if a.ndim < least:
        hint = "; with one sample on each device, give the axis_name" if a.ndim == 1 else ""
        raise ValueError(f"activations must have shape [..., unit] ({least}-D or more); got {a.shape}" + hint)
    check_floating(a, "activations")
    m, d = math.prod(a.shape[:-1]), a.shape[-1]
    if d < 1 or not at_most(minimum, m):
        raise ValueError(f"activations must hold >= {minimum} samples of >= 1 unit; got {a.shape}")
    values = widen(a.reshape(m, d))
    samples = Samples(values, _as_weights(where, weights, a.shape[:-1], values.dtype), axis_name)
    return replace(samples, values=samples.select(values))


def check_same_samples(a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> None:
    """Raises ValueError if the leading axes of two layers differ."""
    shape, other = jnp.shape(a), jnp.shape(b)
    if shape[:-1] != other[:-1]:
        raise ValueError(f"both activations must be of the same samples; got shapes {shape} and {other}")


def as_views(
    axis_name: AxisName,
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *stat: jax.typing.ArrayLike | None,
    same_units: bool = False,
) -> tuple[Samples, Samples]:
    """Checks activations of the same samples in two layers, or of the same units in two views."""
    check_same_samples(a, b)
    if same_units and jnp.shape(a) != jnp.shape(b):
        raise ValueError(
            f"both views must be of the same units; got shapes {jnp.shape(a)} and {jnp.shape(b)}"
        )
    return as_samples(axis_name, a, *stat), as_samples(axis_name, b, *stat)


def _as_weights(
    where: jax.typing.ArrayLike | None,
    weights: jax.typing.ArrayLike | None,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike,
) -> jax.Array | None:
    """Combines a mask and weights into weights [sample]. Returns None if neither is given."""
    if weights is not None:
        return jnp.asarray(check_weights(weights, where, shape)).reshape(-1).astype(dtype)
    return None if where is None else jnp.asarray(check_where(where, shape)).reshape(-1).astype(dtype)


class Standardised(NamedTuple):
    """Z-scores and standard deviations of the units. For a constant unit, both are 0."""

    z: jax.Array
    """Z-scores [sample, unit]; 0 for invalid samples."""
    sigma: jax.Array
    """Standard deviations [unit]."""
    constant: jax.Array
    """Which units are constant [unit], as bool. sigma = 0 does not show this, because sigma may underflow."""


def standardise(samples: Samples, ddof: int = 1) -> Standardised:
    """Z-scores the units. The divisor of variances is `samples.size(ddof)`."""
    c, span, constant = centre_in_spans(samples)
    variance = samples.total(c * c) / samples.size(ddof)
    # The inner `where` keeps 1 / 0 out of the derivative, and the outer `where` sets the value.
    deviation = jnp.sqrt(jnp.where(constant, 1, variance))
    z = samples.select(jnp.where(constant, 0, c / deviation))
    return Standardised(z, jnp.where(constant, 0, deviation * span)[0], constant[0])


def centre(samples: Samples) -> tuple[jax.Array, jax.Array]:
    """Returns the values minus their means [sample, unit], and which units are constant [unit].

    The centred values are 0 for a constant unit, and for invalid samples.
    """
    c, span, constant = centre_in_spans(samples)
    return samples.select(jnp.where(constant, 0, c * span)), constant[0]


def centre_in_spans(samples: Samples) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Centres the values and divides each unit by its span.

    Returns the result [sample, unit], the spans [1, unit], and which units are constant [1, unit].
    """
    low, high = samples.extremes()
    constant = is_constant(low, high)
    # Every unit is mapped onto [0, 1] first. So no square under- or overflows, and a large mean costs no
    # precision. Z-scores and their derivatives do not depend on shift and span. Values of both signs may span
    # more than the largest float, and the inverse of such a span would be denormal. In that case nothing is
    # shifted, and the span is an eighth of the largest float.
    largest = jnp.finfo(low.dtype).max
    shift = jnp.where(high - low < largest, samples.origin(low), 0)
    span = jnp.where(constant, 1, jnp.minimum(high - low, largest / 8))
    x = samples.select((samples.values - shift) / span)
    return x - samples.total(x) / samples.size(), span, constant
