"""How similar two layers are: centred kernel alignment (CKA) of linear kernels, over a batch or a stream."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from decorr._eigenvalues import factor
from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_views, centre
from decorr.diagnostics._hsic import hsic, unbiased_hsic


def linear_cka(
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *,
    debias: bool = True,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Compares two layers of any width over the same samples: CKA is 1 if b is a rotation of a.

    CKA = h(a, b) / sqrt(h(a, a) h(b, b)). For raw CKA, h(a, b) = |C_ab|^2 is the sum of the squared
    covariances between each unit of a and each unit of b. For debiased CKA, h is the U-statistic of that sum
    (HSIC_1), so h is 0 on average for two independent layers. Raw CKA tends to 1 if there are fewer samples
    than units. CKA does not change if a layer is rotated or shifted, or if all its units are scaled alike.

        similarity = linear_cka(a, b)  # activations of two layers, on the same samples

    Args:
      a: activations [..., unit] of one layer, floating point; all leading axes together are the m samples.
      b: activations of the other layer or network, of the same samples. The number of units may differ.
      debias: whether to subtract what chance adds. Debiasing needs at least four valid samples.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`, for both layers. With weights, the U-statistic is the weighted mean over
        quadruples of different samples.

    Returns:
      A scalar; float32 for half-precision input. Raw CKA is in [0, 1]; debiased CKA may be a little below 0.
      CKA is 0 where it is undefined: if no unit of a layer varies, if samples are too few, or if a debiased
      h(a, a) is 0 up to rounding. The last case occurs if all samples are equally far from each other.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; a and b whose leading axes differ.

    Numerics:
      CKA uses one d_a x d_b matrix or two m x m matrices, whichever is smaller. Each layer is divided by its
      largest deviation first, so activations of any scale neither underflow nor overflow. CKA is NaN only if
      an activation is not finite. Where CKA is undefined, its gradient is 0. Constant units (see `zscore`)
      are left out.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited (arXiv:1905.00414);
      HSIC_1: Song et al., Feature Selection via Dependence Maximization (2012).
    """
    return over_mesh(_linear_cka, (a, b, where, weights), debias, axis_name)


class CKAState(NamedTuple):
    """Compares two layers over more samples than fit in memory: debiased `linear_cka`, batch by batch.

    Each of h(a, b), h(a, a) and h(b, b) is averaged over the minibatches, and the ratio is taken at the end.
    Because each h is unbiased, the size of the minibatches does not change what is estimated. A mean of CKA
    over minibatches would be biased.

        state = CKAState.init()
        for a in batches:                 # [..., unit]
            state = state.update(a, zscore(a))
        similarity = state.cka()

    Values are not rescaled, so in float32 the deviations from the mean should lie between 1e-8 and 1e8.

    Raises:
      ValueError, TypeError: in `update`, as in `linear_cka`; in `init`, a dtype that is neither float32 nor
        float64.

    Source: Nguyen et al., Do Wide and Deep Networks Learn the Same Things? (arXiv:2010.15327), Equation 3.
    """

    batches: jax.Array
    """A scalar: the number of minibatches so far that have at least four valid samples."""
    ab: jax.Array
    """A scalar: the sum of h(a, b) over the minibatches."""
    aa: jax.Array
    """A scalar: the sum of h(a, a) over the minibatches."""
    bb: jax.Array
    """A scalar: the sum of h(b, b) over the minibatches."""

    @staticmethod
    def init(dtype: jax.typing.DTypeLike = jnp.float32) -> "CKAState":
        """Returns the state before the first minibatch."""
        if jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
            raise TypeError(f"a CKA state accumulates in float32 or float64; got {dtype}")
        return CKAState(*jnp.zeros((4,), dtype))

    def update(
        self,
        a: jax.typing.ArrayLike,
        b: jax.typing.ArrayLike,
        *,
        where: jax.typing.ArrayLike | None = None,
        weights: jax.typing.ArrayLike | None = None,
        axis_name: AxisName = None,
    ) -> "CKAState":
        """Returns the state after one more minibatch of both layers. The arguments are as in `linear_cka`."""
        return self.merge(over_mesh(_cka_of_batch, (a, b, where, weights), self.ab.dtype, axis_name))

    def merge(self, other: "CKAState") -> "CKAState":
        """Combines two states: the result covers the minibatches of both."""
        return CKAState(*(x + y for x, y in zip(self, other, strict=True)))

    def psum(self, axis_name: str | tuple[str, ...]) -> "CKAState":
        """Combines the states of all devices along a mapped axis. Each device gets the same result."""
        return CKAState(*(lax.psum(x, axis_name) for x in self))

    def cka(self) -> jax.Array:
        """Returns CKA over all minibatches so far, or 0 if CKA is undefined."""
        return _ratio(self.ab, self.aa, self.bb)


def _linear_cka(
    debias: bool, axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None
) -> jax.Array:
    layer, other = as_views(axis_name, a, b, *stat)
    x, y = factor("covariance", layer)[0], factor("covariance", other)[0]
    if debias:
        return _ratio(*(unbiased_hsic(layer, *pair)[0] for pair in ((x, y), (x, x), (y, y))))
    return _ratio(*(hsic(layer, *pair) for pair in ((x, y), (x, x), (y, y))))


def _ratio(ab: jax.Array, aa: jax.Array, bb: jax.Array) -> jax.Array:
    undefined = (aa <= 0) | (bb <= 0)  # NaN stays
    # The roots are taken first, because the product of aa and bb may underflow.
    safe_a, safe_b = (jnp.where(undefined, 1, x) for x in (aa, bb))
    return jnp.where(undefined, 0, ab / (jnp.sqrt(safe_a) * jnp.sqrt(safe_b)))


def _cka_of_batch(
    dtype: jax.typing.DTypeLike, axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None
) -> CKAState:
    """Returns the state of one minibatch alone."""
    layer, other = as_views(axis_name, a, b, *stat)
    x, y = centre(layer)[0], centre(other)[0]
    (ab, known), (aa, _), (bb, _) = (unbiased_hsic(layer, *pair) for pair in ((x, y), (x, x), (y, y)))
    return CKAState(*(z.astype(dtype) for z in (known, ab, aa, bb)))
