"""The gate through which all activations come: checked, as [sample, unit], and standardised."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Result = TypeVar("Result")

# A unit is constant if its values span no more than this many roundings of the largest of them.
_ROUNDINGS = 4


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """The matrix product in full float32, also where the hardware would round to bfloat16 or TF32."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def check_floating(x: jax.typing.ArrayLike, what: str) -> jax.Array:
    """x as an array; TypeError if it is not real floating point."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{what} must have a real floating-point dtype; got {x.dtype}")
    return x


def check_probability(number: jax.typing.ArrayLike, what: str) -> jax.Array:
    """A number as an array; ValueError if it is not in [0, 1]; of a traced one nobody can tell: NaN then."""
    array = jnp.asarray(number)
    if isinstance(number, jax.core.Tracer):
        floating = array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.float32)
        return jnp.where((floating >= 0) & (floating <= 1), floating, jnp.nan)
    values = np.asarray(number)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"{what} must be in [0, 1]; got {number}")
    return array


def as_samples(a: jax.Array, minimum: int = 2) -> jax.Array:
    """Checks activations [..., unit]; returns them as [sample, unit], in float32 or better."""
    a = jnp.asarray(a)
    if a.ndim < 2:
        raise ValueError(f"activations must have shape [..., unit] (2-D or more); got {a.shape}")
    check_floating(a, "activations")
    m, d = math.prod(a.shape[:-1]), a.shape[-1]
    if m < minimum or d < 1:
        raise ValueError(f"activations must hold >= {minimum} samples of >= 1 unit; got {a.shape}")
    return widen(a.reshape(m, d))


def widen(x: jax.Array) -> jax.Array:
    """Half precision as float32, other floating point as it is."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def is_constant(low: jax.Array, high: jax.Array) -> jax.Array:
    """Whether values between `low` and `high` differ by rounding only; NaN and infinities do not."""
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return (high - low <= _ROUNDINGS * jnp.finfo(low.dtype).eps * largest) & jnp.isfinite(largest)


def over_mesh(
    function: Callable[..., Result],
    a: jax.typing.ArrayLike,
    specs: Callable[[PartitionSpec], Any] = lambda spec: PartitionSpec(),
    *others: Any,
) -> Result:
    """function(a, *others), also where a lies on a mesh of Explicit axes, as those of `jax.make_mesh` are.

    There every operation asks where its result shall lie. Inside the function the compiler decides instead,
    as it does for Auto axes.

    Args:
      function: of a, then of the others; the same object each time, or each call is compiled.
      a: activations [..., unit].
      specs: how the results lie on the mesh, by how a does. Default: whole on every device.
      *others: what else the function takes, such as a key.
    """
    a = jnp.asarray(a)
    sharding = jax.typeof(a).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return function(a, *others)
    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    out = jax.tree.map(lambda spec: NamedSharding(sharding.mesh, spec), specs(sharding.spec), is_leaf=is_spec)
    result: Result = _compiler_decides(function, sharding.mesh, out)(a, *others)
    return result


@functools.cache
def _compiler_decides(function: Callable[..., Any], mesh: Any, out: Any) -> Any:
    explicit = [
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
    ]
    # Compiled, for outside of `jit` the axes of a mesh change under `jax.set_mesh` only.
    return jax.jit(jax.sharding.auto_axes(function, axes=tuple(explicit), out_sharding=out))


def standardise(samples: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Z-scores [sample, unit], standard deviations [unit], and which units are constant: both 0 there."""
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
    return z, sigma[0], constant[0]  # a deviation of 0 may also have underflowed
