"""How similar layers are: centred kernel alignment (CKA) of linear kernels, over a batch or a stream."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from decorr._eigenvalues import factor
from decorr._mesh import over_mesh
from decorr._samples import AxisName, Samples, as_samples, centre, check_same_samples
from decorr.diagnostics._hsic import Layers, hsic, unbiased_hsic


def linear_cka(
    a: Any,
    b: Any,
    *,
    debias: bool = True,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Measures how similar layers are: centred kernel alignment (CKA), which is 1 if b is a rotation of a.

    CKA = h(a, b) / sqrt(h(a, a) h(b, b)). With `debias=False` (raw CKA), h(a, b) = |C_ab|^2 is the sum of the
    squared covariances between each unit of a and each unit of b. With `debias=True`, h is the U-statistic of
    that sum (HSIC_1), so h is 0 on average for two independent layers. Raw CKA is near 1 even for unrelated
    layers if there are far more units than samples. CKA does not change if a layer is rotated or shifted, or
    if all its units are scaled alike.

        similarity = linear_cka(a, b)  # activations of two layers, on the same samples
        heat_map = linear_cka([a, b], [b, a])  # lists of layers: every pair

    Args:
      a: activations [..., unit] of one layer, floating point; all leading axes together are the m samples.
        Or several layers, as a PyTree with one array for each. To compare convolutions with dense layers,
        flatten their positions first: `a.reshape(len(a), -1)`.
      b: activations of the other layer or network, of the same samples. The number of units may differ. Or
        several layers.
      debias: whether to subtract what chance adds. Debiasing needs at least four valid samples.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`, for all layers. With weights, the U-statistic is the weighted mean over
        quadruples of different samples.

    Returns:
      A scalar for two arrays. A PyTree of layers adds an axis: for two PyTrees, the result is [layer of a,
      layer of b], in the order of `jax.tree.leaves`, which sorts the keys of a dict as text. The dtype is
      float32 for half-precision input. Raw CKA is in [0, 1]; debiased CKA may be a little below 0. CKA is 0
      where it is undefined: if no unit of a layer varies, if samples are too few, or if a debiased h(a, a) is
      0 up to rounding. The last case occurs if all samples are equally far from each other.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; layers whose leading axes differ; a PyTree without layers.

    Numerics:
      CKA uses a d_a x d_b matrix of each pair of layers or an m x m matrix of each layer, whichever is
      cheaper. Therefore, to compare many layers on one minibatch costs little more than their m x m matrices.
      Each layer is divided by its largest deviation first, so activations of any scale neither underflow nor
      overflow. CKA is NaN only if an activation of one of its two layers is not finite; gradients of other
      pairs may then be NaN too. Where CKA is undefined, its gradient is 0. Constant units (see `zscore`) are
      left out.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited (arXiv:1905.00414);
      HSIC_1: Song et al., Feature Selection via Dependence Maximization (2012).
    """
    layers, others, numbers = _leaves(a, b)
    arrays = (*layers, *others, where, weights)
    return over_mesh(_linear_cka, arrays, debias, len(layers), axis_name).reshape(_shapes(*numbers)[1])


class CKAState(NamedTuple):
    """Compares layers over more samples than fit in memory: debiased `linear_cka`, batch by batch.

    Each of h(a, b), h(a, a) and h(b, b) is averaged over the minibatches, and the ratio is taken at the end.
    Because each h is unbiased, the size of the minibatches does not change what is estimated. A mean of CKA
    over minibatches would be biased.

        state = CKAState.init()
        for a in batches:                 # [..., unit]
            state = state.update(a, zscore(a))
        similarity = state.cka()

    For PyTrees of layers, tell `init` how many layers each has: after `CKAState.init(layers=(12, 12))`, `cka`
    returns [layer of a, layer of b] for two lists of twelve layers.

    Values are not rescaled, so in float32 the deviations from the mean should lie between 1e-8 and 1e8.

    Raises:
      ValueError, TypeError: in `update`, as in `linear_cka`, or another number of layers than in `init`; in
        `init`, a dtype that is neither float32 nor float64.

    Source: Nguyen et al., Do Wide and Deep Networks Learn the Same Things? (arXiv:2010.15327), Equation 3.
    """

    batches: jax.Array
    """A scalar: the number of minibatches so far that have at least four valid samples."""
    ab: jax.Array
    """The sum of h(a, b) over the minibatches: a scalar, or [layer of a, layer of b] for PyTrees."""
    aa: jax.Array
    """The sum of h(a, a) over the minibatches. It has the axes of `ab`, with size 1 along layers of b."""
    bb: jax.Array
    """The sum of h(b, b) over the minibatches. It has the axes of `ab`, with size 1 along layers of a."""

    @staticmethod
    def init(
        dtype: jax.typing.DTypeLike = jnp.float32, *, layers: tuple[int | None, int | None] = (None, None)
    ) -> "CKAState":
        """Returns the state before the first minibatch.

        `layers` holds the numbers of layers in a and in b, with None for an array instead of a PyTree.
        """
        if jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
            raise TypeError(f"a CKA state accumulates in float32 or float64; got {dtype}")
        numbers = tuple(layers) if isinstance(layers, Sequence) else ()
        if len(numbers) != 2 or not all(n is None or (isinstance(n, int) and n >= 1) for n in numbers):
            raise ValueError(f"layers must be two numbers >= 1, or None for an array; got {layers}")
        return CKAState(*(jnp.zeros(shape, dtype) for shape in _shapes(*numbers)))

    def update(
        self,
        a: Any,
        b: Any,
        *,
        where: jax.typing.ArrayLike | None = None,
        weights: jax.typing.ArrayLike | None = None,
        axis_name: AxisName = None,
    ) -> "CKAState":
        """Returns the state after one more minibatch of all layers. The arguments are as in `linear_cka`."""
        layers, others, numbers = _leaves(a, b)
        if _shapes(*numbers) != tuple(x.shape for x in self):
            raise ValueError(f"these layers need a state from CKAState.init(layers={numbers})")
        arrays = (*layers, *others, where, weights)
        batch = over_mesh(_cka_of_batch, arrays, self.ab.dtype, len(layers), axis_name)
        return self.merge(CKAState(*(x.reshape(mine.shape) for x, mine in zip(batch, self, strict=True))))

    def merge(self, other: "CKAState") -> "CKAState":
        """Combines two states: the result covers the minibatches of both."""
        if [x.shape for x in self] != [x.shape for x in other]:
            raise ValueError(f"states of layers {self.ab.shape} and {other.ab.shape} cannot be merged")
        return CKAState(*(x + y for x, y in zip(self, other, strict=True)))

    def psum(self, axis_name: str | tuple[str, ...]) -> "CKAState":
        """Combines the states of all devices along a mapped axis. Each device gets the same result."""
        return CKAState(*(lax.psum(x, axis_name) for x in self))

    def cka(self) -> jax.Array:
        """Returns CKA over all minibatches so far, or 0 if CKA is undefined."""
        return _ratio(self.ab, self.aa, self.bb)


def _leaves(a: Any, b: Any) -> tuple[list[Any], list[Any], tuple[int | None, int | None]]:
    """Returns the layers of a and of b, and their numbers, with None for an array instead of a PyTree."""
    (layers, of_a), (others, of_b) = jax.tree.flatten(a), jax.tree.flatten(b)
    for found, tree, name in ((layers, a, "a"), (others, b, "b")):
        if not found:
            raise ValueError(f"{name} must hold at least one layer; got {tree}")
    is_array = jax.tree_util.treedef_is_leaf
    return layers, others, (None if is_array(of_a) else len(layers), None if is_array(of_b) else len(others))


def _shapes(a: int | None, b: int | None) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of a state's fields, for the numbers of layers in a and in b."""
    of_a, of_b = (() if number is None else (number,) for number in (a, b))
    return (), of_a + of_b, of_a + (1,) * len(of_b), (1,) * len(of_a) + of_b


def _samples(axis_name: AxisName, number: int, arrays: Sequence[Any]) -> tuple[list[Samples], list[Samples]]:
    """Returns the samples of the first `number` layers, and those of the other layers.

    The last two arrays are `where` and `weights`.
    """
    *layers, where, weights = arrays
    for layer in layers:
        check_same_samples(layers[0], layer)
    samples = [as_samples(axis_name, layer, where, weights) for layer in layers]
    return samples[:number], samples[number:]


def _linear_cka(debias: bool, number: int, axis_name: AxisName, *arrays: Any) -> jax.Array:
    layers, others = _samples(axis_name, number, arrays)
    xs, ys = ([factor("covariance", each)[0] for each in of] for of in (layers, others))
    h = _unbiased if debias else hsic
    aa, bb = (_own(h, layers[0], zs) for zs in (xs, ys))
    return _ratio(h(layers[0], xs, ys), aa[:, None], bb[None])


def _unbiased(samples: Samples, xs: Layers, ys: Layers) -> jax.Array:
    return unbiased_hsic(samples, xs, ys)[0]


def _own(h: Callable[[Samples, Layers, Layers], jax.Array], samples: Samples, zs: Layers) -> jax.Array:
    """Returns h(z, z) of each layer [layer]."""
    return jnp.stack([h(samples, [z], [z])[0, 0] for z in zs])


def _ratio(ab: jax.Array, aa: jax.Array, bb: jax.Array) -> jax.Array:
    undefined = (aa <= 0) | (bb <= 0)  # NaN stays
    # The roots are taken first, because the product of aa and bb may underflow.
    safe_a, safe_b = (jnp.where(undefined, 1, x) for x in (aa, bb))
    return jnp.where(undefined, 0, ab / (jnp.sqrt(safe_a) * jnp.sqrt(safe_b)))


def _cka_of_batch(
    dtype: jax.typing.DTypeLike, number: int, axis_name: AxisName, *arrays: Any
) -> tuple[jax.Array, ...]:
    """Returns the fields of the state of one minibatch: a scalar, [layer, other layer], [layer], [layer]."""
    layers, others = _samples(axis_name, number, arrays)
    xs, ys = ([centre(each)[0] for each in of] for of in (layers, others))
    ab, known = unbiased_hsic(layers[0], xs, ys)
    aa, bb = (_own(_unbiased, layers[0], zs) for zs in (xs, ys))
    return tuple(z.astype(dtype) for z in (known.any(), ab, aa, bb))
