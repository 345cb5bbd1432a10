"""Units that respond alike, and a layer without them. For trained networks: NumPy in float64, not traced."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from decorr._checks import check_floating, check_weights
from decorr._samples import is_constant, widen

# Of exact duplicates the correlations that were measured differ from 1 by up to 8 roundings.
_ROUNDINGS = 64


class Merged(NamedTuple):
    """A layer without its redundant units."""

    kept: np.ndarray
    """[kept], integer, rising: which units are left."""
    incoming: Any
    """The arrays that were given, without the removed units."""
    kernel: jax.Array | np.ndarray
    """[..., kept, output], the next layer's."""
    bias: jax.Array | np.ndarray
    """[output], the next layer's."""
    error: float
    """The change of what the next layer receives on these samples. 0: none; 1: as large as what it received
    varied."""


class _Lines(NamedTuple):
    """a_j ~ intercept_j + slope_j a_partner_j of every removed unit j; all [removed]."""

    removed: np.ndarray
    partner: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    residual: np.ndarray
    """[sample, removed]; 0 for a constant unit."""


def redundant_pairs(rho: jax.typing.ArrayLike, threshold: float) -> np.ndarray:
    """Pairs of units that respond alike: those whose correlation reaches a threshold, strongest first.

    i < j with |rho_ij| >= threshold - 64 eps, eps the rounding of rho's dtype, because the computed
    correlation of exact duplicates is 1 up to some roundings: the threshold 1 finds those. Of two such units
    one can be removed and the other's outgoing weights rescaled (Section 1.1): `merge_units` does it.

    Args:
      rho: correlations [unit, unit], floating point, as of `correlation_matrix`. What is below the diagonal
        is not read.
      threshold: an absolute correlation in (0, 1].

    Returns:
      i and j, an integer NumPy array [pair, 2], by falling |rho_ij|, equal ones by i, then j; [0, 2] if
      there are none.

    Raises:
      ValueError: rho is not square, or has entries outside [-1, 1]; a threshold outside (0, 1].
      TypeError: a dtype that is not real floating point, or traced values: how many pairs there are
        depends on them, so not under `jit`, `vmap` or `grad`.

    Numerics:
      eps is 1.2e-7 for half precision and float32, 2.2e-16 for float64, which NumPy's arrays keep here also
      without jax_enable_x64. The sums behind a measured correlation round too, by 100 eps for units that
      rarely fire: the diagonal shows it, and where it is within sqrt(eps) of 1 it is divided by. A constant
      unit is in no pair, if its correlations are 0 or NaN as `correlation_matrix` and numpy.corrcoef have
      them: NaN reaches nothing. m samples show |rho| of about 1/sqrt(m) by chance, and two samples show 1
      throughout.

    Source: Simon, Decorrelating Neural Network Activations, Section 1.1.
    """
    _check_values("redundant_pairs", rho, threshold)
    given = check_floating(rho, "correlations", np)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise ValueError(f"correlations must have shape [unit, unit]; got {given.shape}")
    strength = np.triu(np.abs(np.asarray(given, np.float64)))
    own = np.diag(strength)
    measured = np.abs(own - 1) <= float(jnp.finfo(widen(given).dtype).eps) ** 0.5
    root = np.sqrt(np.where(measured, own, 1))
    strength = strength / (root[:, None] * root)
    if np.any(strength > 2 - _lowest(1, given)):
        raise ValueError(f"correlations must be in [-1, 1]; got {np.nanmax(strength):g}")
    i, j = np.nonzero(np.triu(strength >= _lowest(threshold, given), k=1))
    order = np.argsort(-strength[i, j], kind="stable")
    return np.stack([i[order], j[order]], axis=1)


def merge_units(
    a: jax.typing.ArrayLike,
    incoming: Any,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike,
    *,
    threshold: float = 0.99,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
) -> Merged:
    """Removes the units of a layer that another unit predicts, and has the next layer make up for them.

    Of two units in the same layer that respond alike one can be removed and "the weights on the remaining
    unit" rescaled (Section 1.1). For |rho_ij| < 1 and units that differ by more than a factor, by the
    least-squares line of unit j on its partner i over the samples,

        a_j ~ intercept + slope a_i,  slope = rho_ij sigma_j / sigma_i,  intercept = mean_j - slope mean_i,

    slope * kernel[j] is added to kernel[i], and intercept * kernel[j] to the bias. Constant units are
    removed and their mean * kernel[j] is added to the bias. Of the units not yet decided on, the one that
    predicts most of the others is kept (of equals the first) and those are removed, until every unit is
    kept or removed. So no two kept units predict one another, and a removed unit predicts nothing: its
    partner is the kept unit with the largest |rho|. With the library's MLP, activations of its first layer:

        logits, activations = model.apply({"params": params}, x)
        merged = merge_units(activations[0], params["hidden_1"], **params["hidden_2"], threshold=0.99)
        params = params | {"hidden_1": merged.incoming}
        params |= {"hidden_2": {"kernel": merged.kernel, "bias": merged.bias}}
        widths = (len(merged.kept), *architecture.widths[1:])
        model = MLP(dataclasses.replace(architecture, widths=widths), classes=10)

    Args:
      a: the layer's activations [..., unit], floating point, as the next layer's linear map receives them:
        after the nonlinearity, before dropout.
      incoming: what makes these units: any PyTree of arrays whose last axis is the unit, such as a Dense
        layer's kernel [input, unit] and bias [unit], a convolution's kernel [height, width, input, unit], a
        norm's scale [unit]. Not what all units share, such as one slope of a PReLU.
      kernel: the next layer's [..., unit, output], floating point. Of a Dense layer after flattened
        positions: reshape [position * unit, output] to [position, unit, output], and the result back.
      bias: the next layer's [output], floating point; zeros if it has none, but it may need the result.
      threshold: a unit predicts another if |rho| reaches this number in (0, 1], as in `redundant_pairs`.
      where: bool, the shape of `a` without its last axis or broadcastable to it: which samples are valid.
        What stands at the others is not looked at, so that NaN may pad.
      weights: of the samples, >= 0, shaped as `where`; as numpy.cov's `aweights`.

    Returns:
      Merged(kept [kept], incoming, kernel [..., kept, output], bias [output], error). Arrays have the dtypes
      that came in; float64 without jax_enable_x64 stays NumPy's. error is the root mean square, over samples
      and outputs, of the change of a @ kernel + bias, relative to that of its deviations from every output's
      mean. Each position in front of the kernel's unit axis counts as outputs of its own.

    Raises:
      ValueError: shapes that do not fit; fewer than two valid samples; valid activations that are not
        finite; weights below 0 or not finite; a threshold outside (0, 1].
      TypeError: a dtype that is not real floating point (of `where`: not bool), or traced values: how many
        units are left depends on them, so not under `jit`, `vmap` or `grad`.

    Numerics:
      Exact up to rounding, for any input: units that are an affine function of their partner for any input,
      as duplicates at the weights are, also scaled by a factor > 0 before a ReLU or its relatives; and dead
      units. Else exact on average only, over these samples, and `error` says how well: a unit that these
      samples never move, or move along with another by chance, may do something else on others; take many
      more samples than units. Only a linear map may lie between a and the next layer's sum: average pooling
      and inverted dropout do no harm to a line (max pooling does where the slope is negative, a norm
      always). A convolution that pads with zeros gets the intercept where it sees padding too: it is exact
      away from the borders, and at them where all intercepts are 0. Computed in float64 by NumPy; results lie
      on the default device, whatever mesh the arguments are spread over. If all units are constant none is
      kept: arrays then have an axis of length 0.

    Source: Simon, Decorrelating Neural Network Activations, Section 1.1.
    """
    _check_values("merge_units", (a, incoming, kernel, bias, where, weights), threshold)
    layer = check_floating(a, "activations", np)
    if layer.ndim < 2 or layer.shape[-1] < 1:
        raise ValueError(f"activations must have shape [..., unit] (2-D or more); got {layer.shape}")
    outgoing, offset = check_floating(kernel, "the kernel", np), check_floating(bias, "the bias", np)
    dtypes = outgoing.dtype, offset.dtype
    _check_shapes(layer.shape[-1], incoming, outgoing, offset)
    samples, shares = _valid(layer, where, weights)
    centred, mean = _centred(samples, shares, layer)
    lines = _lines(centred, mean, shares, _lowest(threshold, layer))

    kept = np.setdiff1d(np.arange(layer.shape[-1]), lines.removed)
    outgoing, offset = outgoing.astype(np.float64), offset.astype(np.float64)
    removed = outgoing[..., lines.removed, :]
    merged = outgoing.copy()
    for line, (partner, slope) in enumerate(zip(lines.partner, lines.slope, strict=True)):
        merged[..., partner, :] += slope * removed[..., line, :]
    offset = offset + (lines.intercept @ removed).reshape(-1, len(offset)).sum(axis=0)
    return Merged(
        kept=kept,
        incoming=jax.tree.map(lambda leaf: _unrounded(np.asarray(leaf)[..., kept]), incoming),
        kernel=_unrounded(merged[..., kept, :].astype(dtypes[0])),
        bias=_unrounded(offset.astype(dtypes[1])),
        error=_error(centred, shares, outgoing, lines),
    )


def _unrounded(x: np.ndarray) -> jax.Array | np.ndarray:
    """x on the default device, but as it is where JAX would round it, as float64 without jax_enable_x64."""
    return jnp.asarray(x) if jax.dtypes.canonicalize_dtype(x.dtype) == x.dtype else x


def _check_values(name: str, arrays: Any, threshold: float) -> None:
    """TypeError for traced values, ValueError for a threshold outside (0, 1]."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arrays, threshold))):
        raise TypeError(
            f"{name} needs values, because the shape of its result depends on them: call it outside jit"
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is an absolute correlation in (0, 1]; got {threshold}")


def _check_shapes(d: int, incoming: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(incoming):
        if np.ndim(leaf) < 1 or np.shape(leaf)[-1] != d:
            name = "incoming" + jax.tree_util.keystr(path)
            message = f"{name} must have shape [..., unit] for {d} units; got {np.shape(leaf)}"
            raise ValueError(message + _transpose_hint(np.shape(leaf), 0, d))
    if kernel.ndim < 2 or kernel.shape[-2] != d:
        message = f"the kernel must have shape [..., unit, output] for {d} units; got {kernel.shape}"
        raise ValueError(message + _transpose_hint(kernel.shape, -1, d))
    if bias.shape != kernel.shape[-1:]:
        raise ValueError(f"the bias must have the shape {kernel.shape[-1:]} of the outputs; got {bias.shape}")


def _transpose_hint(shape: tuple[int, ...], axis: int, d: int) -> str:
    """What helps where a matrix is that of the other convention, such as Equinox's and PyTorch's."""
    return ": its transpose fits, give it with .T" if len(shape) == 2 and shape[axis] == d else ""


def _lowest(threshold: float, x: np.ndarray) -> float:
    """The |rho| that reaches the threshold, of numbers as precise as x; never 0."""
    return max(threshold - _ROUNDINGS * float(jnp.finfo(widen(x).dtype).eps), np.finfo(np.float64).tiny)


def _valid(a: np.ndarray, where: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """The valid samples [sample, unit] and their weights [sample], whose sum is 1, in float64."""
    weights = np.float64(1) if weights is None else np.asarray(weights, np.float64)
    share = check_weights(weights, where, a.shape[:-1], np)
    valid = share > 0
    samples, share = np.asarray(a, np.float64)[valid], share[valid]
    if len(samples) < 2:
        raise ValueError(f"activations must hold >= 2 valid samples; got {len(samples)}")
    if not np.isfinite(samples).all():
        units = np.flatnonzero(~np.isfinite(samples).all(axis=0))
        raise ValueError(
            f"valid activations must be finite; got others in {len(units)} units, first {units[0]}"
        )
    return samples, share / share.max() / (share / share.max()).sum()


def _centred(samples: np.ndarray, weights: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deviations from the means [sample, unit], 0 of units constant in the dtype of a; the means [unit]."""
    low, high = (x.astype(widen(a).dtype) for x in (samples.min(axis=0), samples.max(axis=0)))
    # From the heaviest sample, which lies at the mean where it outweighs all others.
    c = samples - samples[weights.argmax()]
    offset = weights @ c
    return np.where(is_constant(low, high, np), 0, c - offset), samples[weights.argmax()] + offset


def _lines(centred: np.ndarray, mean: np.ndarray, weights: np.ndarray, lowest: float) -> _Lines:
    largest = np.abs(centred).max(axis=0)
    constant = largest == 0
    c = centred / np.where(constant, 1, largest)  # so that no square under- or overflows
    deviation = np.sqrt(weights @ (c * c))
    z, sigma = c / np.where(constant, 1, deviation), deviation * largest
    rho = z.T @ (weights[:, None] * z)

    kept = _kept(np.abs(rho) >= lowest, constant)
    removed = np.flatnonzero(~kept)
    if not kept.any():  # all are constant
        none = np.zeros(len(removed), int)
        return _Lines(removed, none, np.zeros(len(removed)), mean, centred)
    partner = np.flatnonzero(kept)[np.abs(rho[removed][:, kept]).argmax(axis=1)]
    slope = rho[removed, partner] * sigma[removed] / sigma[partner]
    residual = centred[:, removed] - slope * centred[:, partner]
    return _Lines(removed, partner, slope, mean[removed] - slope * mean[partner], residual)


def _kept(reaches: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Which units are kept [unit]: any other is constant or reaches one of these, which reach no other."""
    predicts = reaches & ~np.eye(len(reaches), dtype=bool)  # of a constant unit rho is 0
    kept, undecided, counts = np.zeros(len(reaches), bool), ~constant, predicts.sum(axis=1)
    while undecided.any():
        unit = np.where(undecided, counts, -1).argmax()
        kept[unit] = True
        decided = undecided & predicts[unit]
        decided[unit] = True
        counts = counts - predicts[:, decided].sum(axis=1)
        undecided &= ~decided
    return kept


def _error(centred: np.ndarray, weights: np.ndarray, kernel: np.ndarray, lines: _Lines) -> float:
    def norm(x: np.ndarray, units: slice | np.ndarray) -> float:
        """The norm of x @ kernel, without an array [sample, output]: a kernel may have many positions."""
        root = np.linalg.qr(np.sqrt(weights)[:, None] * x, mode="r")
        return float(np.linalg.norm(root @ kernel[..., units, :]))

    change, spread = norm(lines.residual, lines.removed), norm(centred, slice(None))
    return change / spread if spread > 0 else math.inf if change > 0 else 0.0
