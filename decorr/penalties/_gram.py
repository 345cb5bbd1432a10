"""Sums of squared correlations or covariances over pairs of units, from the smaller of two matrices.

There are m samples of d units. M = U^T W U / N [unit, unit] and K = U U^T / N [sample, sample] have the same
sum of squares: sum_ij M_ij^2 = sum_kl w_k w_l K_kl^2. U holds the z-scores or the centred values, and W =
diag(w) holds the samples' weights. N is `Samples.size`: without weights, the number of samples minus ddof.
With several devices, M is summed over them if d <= m. Otherwise U is gathered, and each device has its own
rows of K. For two layers X and Y, M is X^T W Y / N, and (X X^T)_kl (Y Y^T)_kl / N^2 replaces K_kl^2.

To leave out the diagonal, squared variances are subtracted from the sum of K's squares. If a few units have a
much larger scale than the rest, the covariances of the rest would be lost in rounding errors. So the units
with the largest variances are set apart. All pairs with such a unit are computed from parts of M.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from decorr._samples import Samples, at_most, centre, product, standardise

Kind = Literal["correlation", "covariance"]

_APART = 32
"""How many of the units with the largest variances are set apart."""


class Form(NamedTuple):
    """Says which sum is computed. A form is hashable, so that it can be static under `jit`."""

    kind: Kind
    diagonal: bool
    """Whether a unit is paired with itself too."""
    scale: float
    """The factor that multiplies the sum."""
    ddof: int = 1


class GradientTerms(NamedTuple):
    """The terms A [unit], B and C [..., unit] of Section 3.1: dP/da = A * (B - C)."""

    A: jax.Array
    B: jax.Array
    C: jax.Array


def cross_sum(samples: Samples, x: jax.Array, y: jax.Array, *, diagonal: bool = True) -> jax.Array:
    """Returns the sum of squares of M = X^T W Y / V1, for x and y [sample, unit] of the same samples."""
    size = samples.size()
    if at_most(x.shape[1] * y.shape[1], samples.number**2):
        matrix = samples.moment(x, y) / size
        return jnp.sum(jnp.square(matrix if diagonal else _off_diagonal(matrix)))
    k = product(x, samples.gathered(x).T) / size * (product(y, samples.gathered(y).T) / size)
    total = samples.everywhere(jnp.sum(samples.weighted(_of_columns(samples, k))))
    return total if diagonal else total - jnp.sum(jnp.square(samples.total(x * y) / size))


def pair_sum_and_terms(form: Form, samples: Samples) -> tuple[jax.Array, GradientTerms]:
    """Returns `pair_sum`, and A, B and C of its gradient w A (B - C) [sample, unit], for sample weights w."""
    u, scale_of_units, constant = _units(form, samples)
    size, apart = samples.size(form.ddof), None
    if at_most(u.shape[1], samples.number):
        matrix = pair_matrix(form, samples, u)
        B, squares = product(u, matrix), jnp.sum(matrix * matrix, axis=0, keepdims=True)
    else:
        rest, apart = _set_apart(form, samples, u)
        every = samples.gathered(rest)
        B = product(_of_columns(samples, product(rest, every.T) / size), every)
        squares = samples.total(rest * B) / size  # sum_i M_il^2, without M
        if not form.diagonal:
            own = samples.total(rest * rest) / size
            B, squares = B - own * rest, squares - own * own
        if apart is not None:
            theirs = product(apart.u, apart.among) + product(rest, apart.cross.T)
            B = (B + product(apart.u, apart.cross)).at[:, apart.which].add(theirs)
    A = jnp.where(constant, 0, 4 * form.scale / (size * jnp.where(constant, 1, scale_of_units)))
    C = u * squares if form.kind == "correlation" else jnp.zeros_like(u)
    total = jnp.sum(squares) + (0 if apart is None else apart.sum())
    return form.scale * total, GradientTerms(A, B, C)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def pair_sum(form: Form, samples: Samples) -> jax.Array:
    """Returns scale * sum of M_ij^2 over pairs of units i, j. The first derivative is a closed form."""
    u, *_ = _units(form, samples)
    if at_most(u.shape[1], samples.number):
        return form.scale * jnp.sum(jnp.square(pair_matrix(form, samples, u)))
    rest, apart = _set_apart(form, samples, u)
    k = product(rest, samples.gathered(rest).T) / samples.size(form.ddof)
    total = samples.everywhere(jnp.sum(samples.weighted(_of_columns(samples, jnp.square(k)))))
    if not form.diagonal:
        total = total - jnp.sum(jnp.square(samples.total(rest * rest) / samples.size(form.ddof)))
    return form.scale * (total if apart is None else total + apart.sum())


@pair_sum.defjvp
def _pair_sum_jvp(
    form: Form, primals: tuple[Samples], tangents: tuple[Samples]
) -> tuple[jax.Array, jax.Array]:
    (samples,), (moved,) = primals, tangents
    value, (A, B, C) = pair_sum_and_terms(form, samples)
    tangent = jnp.sum(samples.weighted(A[None] * (B - C)) * moved.values)
    if samples.weights is None or moved.weights is None:  # if one is None, the other is None too
        return value, samples.everywhere(tangent)
    # A sample's weight acts through that sample's part of M, and through N. Correlations do not depend on N.
    u, *_ = _units(form, samples)
    size, larger = jax.jvp(lambda samples: jnp.asarray(samples.size(form.ddof)), (samples,), (moved,))
    heavier = 2 * form.scale / size * jnp.sum(jnp.sum(u * (B - C), axis=1) * moved.weights)
    change = 0 if form.kind == "correlation" else 2 * value * larger / size
    return value, samples.everywhere(tangent + heavier) - change


def _units(form: Form, samples: Samples) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns U [sample, unit], the deviations [unit] that U was divided by, and which units are constant."""
    if form.kind == "correlation":
        return standardise(samples, form.ddof)
    c, constant = centre(samples)
    return c, jnp.ones_like(c[0]), constant


class _Apart(NamedTuple):
    """The units that are set apart."""

    which: jax.Array
    """The indices [large] of these units."""
    u: jax.Array
    """The values [sample, large] of these units."""
    among: jax.Array
    """The part of M [large, large] between these units, with 0 on the diagonal."""
    cross: jax.Array
    """The part of M [large, unit] between these units and all units, with 0 between two of these units."""

    def sum(self) -> jax.Array:
        """Returns the sum over the pairs with at least one unit that is set apart."""
        return jnp.sum(jnp.square(self.among)) + 2 * jnp.sum(jnp.square(self.cross))


def _set_apart(form: Form, samples: Samples, u: jax.Array) -> tuple[jax.Array, _Apart | None]:
    """Sets apart the units of U with the largest variances.

    No unit is set apart for z-scores, or if units are paired with themselves too.
    """
    if form.diagonal or form.kind == "correlation":
        return u, None
    _, which = lax.top_k(lax.stop_gradient(samples.total(u * u)[0]), min(_APART, samples.number))
    large, rest = u[:, which], u.at[:, which].set(0)
    return rest, _Apart(
        which, large, pair_matrix(form, samples, large), samples.moment(large, rest) / samples.size(form.ddof)
    )


def pair_matrix(form: Form, samples: Samples, u: jax.Array) -> jax.Array:
    """Returns M [unit, unit], with 0 on the diagonal unless the form includes the diagonal."""
    matrix = samples.moment(u, u) / samples.size(form.ddof)
    return matrix if form.diagonal else _off_diagonal(matrix)


def _off_diagonal(matrix: jax.Array) -> jax.Array:
    return jnp.where(jnp.eye(len(matrix), dtype=bool), 0, matrix)


def _of_columns(samples: Samples, k: jax.Array) -> jax.Array:
    """Multiplies K [sample of this device, sample of all devices] by the weights of its columns."""
    return k if samples.weights is None else k * samples.gathered(samples.weights)[None]
