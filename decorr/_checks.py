"""Checks of arguments: an error says what was expected and what was given."""

from types import ModuleType
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np


@overload
def check_floating(x: jax.typing.ArrayLike, what: str) -> jax.Array: ...


@overload
def check_floating(x: jax.typing.ArrayLike, what: str, xp: ModuleType) -> Any: ...


def check_floating(x: jax.typing.ArrayLike, what: str, xp: ModuleType = jnp) -> Any:
    """Returns x as a JAX or NumPy array. Raises TypeError if its dtype is not real floating point."""
    array: Any = xp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{what} must have a real floating-point dtype; got {array.dtype}")
    return array


def check_probability(number: jax.typing.ArrayLike, what: str) -> jax.Array:
    """Returns probabilities as an array.

    Raises ValueError for a number outside [0, 1]. In a traced array, such a number becomes NaN instead.
    """
    array = jnp.asarray(number)
    if isinstance(number, jax.core.Tracer):
        floating = array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.float32)
        return jnp.where((floating >= 0) & (floating <= 1), floating, jnp.nan)
    values = np.asarray(number)
    bad = values[~((values >= 0) & (values <= 1))]
    if bad.size:
        raise ValueError(f"{what} must be in [0, 1]; got {bad.flat[0]}")
    return array


def check_scalar_probability(number: jax.typing.ArrayLike, what: str) -> jax.Array:
    """Does what `check_probability` does, and also raises ValueError if the number is not a scalar."""
    array = check_probability(number, what)
    if array.ndim:
        raise ValueError(f"{what} must be a scalar; got shape {array.shape}")
    return array


def check_ddof(ddof: int) -> None:
    """Raises ValueError unless ddof is 0 or 1."""
    if ddof not in (0, 1):
        raise ValueError(f"ddof must be 0 or 1; got {ddof}")


def check_where(where: jax.typing.ArrayLike, shape: tuple[int, ...], xp: ModuleType = jnp) -> Any:
    """Returns the mask of valid samples as a JAX or NumPy array, broadcast to the samples' shape."""
    valid = _broadcast(where, shape, "where", xp)
    if valid.dtype != bool:
        raise TypeError(f"where must be bool, True for a valid sample; got {valid.dtype}")
    return valid


def check_weights(
    weights: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    shape: tuple[int, ...],
    xp: ModuleType = jnp,
) -> Any:
    """Returns the samples' weights as a JAX or NumPy array in the samples' shape.

    Invalid samples get the weight 0. Raises ValueError if the weight of a valid sample is negative or not
    finite. If the weights or the mask are traced, such a weight becomes NaN instead.
    """
    where = True if where is None else where
    valid, given = check_where(where, shape, xp), _broadcast(weights, shape, "weights", xp)
    check_floating(given, "weights", xp)
    if _is_known(weights) and _is_known(where):
        values = np.broadcast_to(np.asarray(weights), shape)
        bad = values[np.broadcast_to(np.asarray(where), shape) & ~((values >= 0) & (values < np.inf))]
        if bad.size:
            raise ValueError(f"weights must be finite and >= 0; got {bad[0]}")
    return xp.where(valid, xp.where((given >= 0) & (given < np.inf), given, np.nan), 0)


def _broadcast(x: jax.typing.ArrayLike, shape: tuple[int, ...], what: str, xp: ModuleType) -> Any:
    try:
        return xp.broadcast_to(xp.asarray(x), shape)
    except ValueError:
        raise ValueError(
            f"{what} must be broadcastable to the samples' axes {shape} of the activations; got {np.shape(x)}"
        ) from None


def _is_known(x: jax.typing.ArrayLike) -> bool:
    """Returns whether this process can read all values of x."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)
