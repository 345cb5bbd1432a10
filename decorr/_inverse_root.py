"""C^(-1/2) of a covariance matrix, with derivatives that are right at repeated eigenvalues."""

import jax
import jax.numpy as jnp
from jax import lax

from decorr._samples import product


def inverse_root(c: jax.Array, least: jax.Array) -> jax.Array:
    """Returns c^(-1/2) of a symmetric c [unit, unit] whose eigenvalues are at least `least`, up to rounding.

    The result is NaN if `least` is 0 and an eigenvalue is 0 up to rounding.
    """
    known, least = lax.stop_gradient((c, least))
    values, vectors = jnp.linalg.eigh(known)
    rounding = c.shape[0] * jnp.finfo(c.dtype).eps * values[-1]
    values = jnp.where((least > 0) | (values > rounding), jnp.maximum(values, least), jnp.nan)
    w: jax.Array = _inverse_root(c, jnp.sqrt(values), vectors)
    return w


# Here c = V diag(s^2) V^T, and differentiation treats s and V as constants. The rule below uses only c and
# functions that have derivative rules themselves. So derivatives of every order exist.
@jax.custom_jvp
def _inverse_root(c: jax.Array, s: jax.Array, v: jax.Array) -> jax.Array:
    """Returns c^(-1/2) = V diag(1/s) V^T."""
    return product(v / s[None], v.T)


@_inverse_root.defjvp
def _inverse_root_jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    c, s, v = primals
    w = _inverse_root(c, s, v)
    root = product(c, w)

    # The derivative of w w = c^(-1) is dw w + w dw = -c^(-1) dc c^(-1). Both sides of this equation are
    # multiplied by c^(1/2), from the left and from the right.
    def both_sides(dw: jax.Array) -> jax.Array:
        return product(root, dw) + product(dw, root)

    def solve(_: object, x: jax.Array) -> jax.Array:
        return product(product(v, product(product(v.T, x), v) / (s[:, None] + s[None, :])), v.T)

    x = -product(product(w, tangents[0]), w)
    dw: jax.Array = lax.custom_linear_solve(both_sides, x, solve, symmetric=True)
    return w, dw


def newton_inverse_root(c: jax.Array, iterations: int) -> jax.Array:
    """Approximates c^(-1/2) by Newton-Schulz iterations.

    In the loop, y tends to (c / norm)^(1/2), and z to the inverse of y. With z alone, as in IterNorm,
    rounding errors would grow from step to step.
    """
    identity = jnp.eye(c.shape[0], dtype=c.dtype)
    norm = jnp.sqrt(jnp.sum(c * c))
    c = c / norm

    def step(_: int, roots: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        y, z = roots
        factor = (3 * identity - product(z, y)) / 2
        return product(y, factor), product(factor, z)

    # The first iteration, from y = c and z = I, is written out. So z varies over the same mapped axes as c.
    first = (3 * identity - c) / 2
    z: jax.Array = lax.fori_loop(1, iterations, step, (product(c, first), first))[1]
    return z / jnp.sqrt(norm)
