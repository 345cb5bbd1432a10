"""Finds units of trained networks that respond alike, and removes them.

The functions compute with NumPy in float64, so they cannot be traced.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from decorr._checks import check_floating, check_weights
from decorr._samples import is_constant, widen

# Computed correlations of exact duplicates differ from 1 by up to 8 eps; 64 eps are allowed.
_ROUNDINGS = 64


class Merged(NamedTuple):
    """A layer without its redundant units, and the next layer's kernel and bias to match."""

    kept: np.ndarray
    """[kept], the indices of the units that are left, in increasing order."""
    incoming: Any
    """The argument `incoming` of `merge_units`, without the removed units."""
    kernel: jax.Array | np.ndarray
    """[..., kept, output], the next layer's kernel."""
    bias: jax.Array | np.ndarray
    """[output], the next layer's bias."""
    error: float
    """How much the next layer's weighted sums change on the given samples: 0 if they do not change, and 1 if
    they change as much as they varied before."""


class _Lines(NamedTuple):
    """For each removed unit j, the line a_j ~ intercept_j + slope_j a_partner_j.

    All arrays except the residual have shape [removed].
    """

    removed: np.ndarray
    partner: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    residual: np.ndarray
    """[sample, removed]; 0 for a constant unit."""


def redundant_pairs(rho: jax.typing.ArrayLike, threshold: float) -> np.ndarray:
    """Finds pairs of units that respond alike: pairs whose correlation reaches a threshold, strongest first.

    These are all pairs i < j with |rho_ij| >= threshold - 64 eps, where eps is the precision of rho's dtype.
    Computed correlations of exact duplicates are 1 only up to rounding. Because of the 64 eps, the threshold
    1 still finds such duplicates. You can remove one unit of such a pair, and rescale the other unit's
    outgoing weights (Section 1.1). `merge_units` does this.

    Args:
      rho: correlations [unit, unit], floating point, such as those of `correlation_matrix`. Entries below the
        diagonal are not read.
      threshold: an absolute correlation in (0, 1].

    Returns:
      An integer NumPy array [pair, 2] of i and j, sorted by decreasing |rho_ij|, then i, then j. If there are
      no pairs, it has shape [0, 2].

    Raises:
      ValueError: a rho that is not square, or has entries outside [-1, 1]; a threshold outside (0, 1].
      TypeError: a dtype that is not real floating point, or traced values. The number of pairs depends on the
        values, so call this function outside `jit`, `vmap` and `grad`.

    Numerics:
      eps is 1.2e-7 if rho is in half precision or float32, and 2.2e-16 if it is in float64. A float64 NumPy
      array keeps its precision even without jax_enable_x64. A correlation computed from samples also has
      the rounding errors of sums over these samples: about 100 eps for units that rarely fire. The diagonal
      should be 1, so it shows this error. If a unit's diagonal entry is within sqrt(eps) of 1, the unit's
      correlations are divided by that entry's square root. A constant unit is in no pair if its correlations
      are 0 (as from `correlation_matrix`) or NaN (as from numpy.corrcoef). On m samples, independent units
      show |rho| of about 1/sqrt(m) by chance. On two samples, |rho| is always 1.

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
    """Removes each unit of a layer that another unit predicts, and adjusts the next layer to match.

    If two units in the same layer respond alike, you can remove one, and rescale "the weights on the
    remaining unit" (Section 1.1). Here |rho_ij| may be below 1, and units may differ by an offset as well
    as by a factor. The least-squares line of unit j on its partner i over the samples is

        a_j ~ intercept + slope a_i,  slope = rho_ij sigma_j / sigma_i,  intercept = mean_j - slope mean_i.

    Then slope * kernel[j] is added to kernel[i], and intercept * kernel[j] to the bias. A constant unit j is
    removed, and mean_j * kernel[j] is added to the bias. At first, all other units are undecided. One
    undecided unit is kept: the one that predicts the largest number of other undecided units, which are then
    removed. If several units predict equally many, the first of them is kept. This repeats until no unit is
    undecided. So no two kept units predict each other. The partner of a removed unit is the kept unit that
    has the largest |rho| with it. This example merges units in the first layer of the library's MLP:

        logits, activations = model.apply({"params": params}, x)
        merged = merge_units(activations[0], params["hidden_1"], **params["hidden_2"], threshold=0.99)
        params = params | {"hidden_1": merged.incoming}
        params |= {"hidden_2": {"kernel": merged.kernel, "bias": merged.bias}}
        widths = (len(merged.kept), *architecture.widths[1:])
        model = MLP(dataclasses.replace(architecture, widths=widths), classes=10)

    Args:
      a: the layer's activations [..., unit], floating point. Take them as the next layer's linear map
        receives them: after the nonlinearity, before dropout.
      incoming: the parameters of the layer's units, as a PyTree of arrays whose last axis is the unit.
        Examples are a Dense layer's kernel [input, unit] and bias [unit], a convolution's kernel [height,
        width, input, unit], and a normalisation layer's scale [unit]. Leave out parameters that all units
        share, such as the single slope of a PReLU.
      kernel: the next layer's kernel [..., unit, output], floating point. For a Dense layer after flattened
        positions, reshape its kernel from [position * unit, output] to [position, unit, output], and reshape
        the merged kernel back.
      bias: the next layer's bias [output], floating point. If the next layer has none, give zeros, because it
        may need one after the merge.
      threshold: a number in (0, 1]. Two units predict each other if their |rho| reaches it, like in
        `redundant_pairs`.
      where: which samples are valid, bool, broadcastable to a.shape[:-1]. Invalid samples are ignored, so
        padding may be NaN.
      weights: the samples' weights, >= 0, broadcastable to a.shape[:-1], like numpy.cov's `aweights`. They
        may be integers, such as numbers of repetitions.

    Returns:
      Merged(kept [kept], incoming, kernel [..., kept, output], bias [output], error). Arrays keep their
      dtypes. Without jax_enable_x64, a float64 array stays a NumPy array. `error` is the change of the next
      layer's weighted sums, a @ kernel + bias, as a root mean square over samples and outputs. This change is
      divided by the root mean square of the deviations of a @ kernel from its mean. If the kernel has
      positions in front of its unit axis, the outputs of each position count separately in `error`.

    Raises:
      ValueError: shapes that do not fit; fewer than two valid samples; valid activations that are not finite;
        weights below 0 or infinite; a threshold outside (0, 1].
      TypeError: activations, a kernel or a bias that are not real floating point, a `where` that is not bool,
        or traced values. The number of units left depends on the values, so call this function outside `jit`,
        `vmap` and `grad`.

    Numerics:
      Up to rounding, the removal is exact for dead units, and for units that are an affine function of their
      partner for every possible input. One example is a unit with the same incoming weights and bias as its
      partner. With a ReLU or leaky ReLU, the unit's weights and bias may also be a positive multiple of the
      partner's. Otherwise the result is exact only on average over these samples, and `error` measures the
      deviation. A unit that is constant on these samples, or follows another unit by chance, may act
      differently on other samples. So take many more samples than units. Only a linear map may come between
      `a` and the next layer's sum. Average pooling and inverted dropout are fine. Max pooling invalidates
      lines with a negative slope, and a normalisation layer invalidates all lines. A convolution that pads
      with zeros adds the intercept at the padding too. There the result is exact only if all intercepts are
      0. Results are computed in float64 by NumPy, and placed on the default device, even if the arguments are
      spread over a mesh. If all units are constant, no unit is kept, and arrays have a unit axis of length 0.

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
    """Puts x on the default device, unless JAX would round it. JAX rounds float64 without jax_enable_x64."""
    return jnp.asarray(x) if jax.dtypes.canonicalize_dtype(x.dtype) == x.dtype else x


def _check_values(name: str, arrays: Any, threshold: float) -> None:
    """Raises TypeError for traced values, and ValueError for a threshold outside (0, 1]."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arrays, threshold))):
        raise TypeError(
            f"{name} needs values, because the shape of its result depends on them: call it outside jit"
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must be an absolute correlation in (0, 1]; got {threshold}")


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
    """Returns a hint if the matrix seems transposed. Equinox and PyTorch store kernels that way."""
    return ": its transpose fits, so transpose it with .T" if len(shape) == 2 and shape[axis] == d else ""


def _lowest(threshold: float, x: np.ndarray) -> float:
    """Returns the smallest |rho| that reaches the threshold up to rounding of x's dtype; never 0."""
    return max(threshold - _ROUNDINGS * float(jnp.finfo(widen(x).dtype).eps), np.finfo(np.float64).tiny)


def _valid(a: np.ndarray, where: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the valid samples [sample, unit] and their weights [sample] with sum 1, both in float64."""
    weights = np.float64(1) if weights is None else np.asarray(weights, np.float64)
    share = check_weights(weights, where, a.shape[:-1], np)
    valid = share > 0
    samples, share = np.asarray(a, np.float64)[valid], share[valid]
    if len(samples) < 2:
        raise ValueError(f"activations must hold >= 2 valid samples; got {len(samples)}")
    if not np.isfinite(samples).all():
        units = np.flatnonzero(~np.isfinite(samples).all(axis=0))
        raise ValueError(
            f"valid activations must be finite; got NaN or infinity in {len(units)} units, "
            f"first in unit {units[0]}"
        )
    return samples, share / share.max() / (share / share.max()).sum()


def _centred(samples: np.ndarray, weights: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the deviations [sample, unit] from the means, and the means [unit].

    Deviations are 0 for units that are constant in a's dtype.
    """
    low, high = (x.astype(widen(a).dtype) for x in (samples.min(axis=0), samples.max(axis=0)))
    # The sample with the largest weight is subtracted first. If that weight dominates, the sample is close
    # to the mean, and its difference from the mean keeps all digits.
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
    """Returns which units are kept [unit].

    No two kept units have a correlation that reaches the threshold. Every other unit is constant, or its
    correlation with a kept unit reaches the threshold.
    """
    predicts = reaches & ~np.eye(len(reaches), dtype=bool)  # a constant unit has rho 0
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
        """Computes the norm of x @ kernel without the array [sample, output], which may be large."""
        root = np.linalg.qr(np.sqrt(weights)[:, None] * x, mode="r")
        return float(np.linalg.norm(root @ kernel[..., units, :]))

    change, spread = norm(lines.residual, lines.removed), norm(centred, slice(None))
    return change / spread if spread > 0 else math.inf if change > 0 else 0.0
