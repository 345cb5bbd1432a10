"""Whitening as a Linen layer with running statistics, to use in place of `flax.linen.BatchNorm`."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from decorr._checks import check_scalar_probability
from decorr._mesh import over_mesh
from decorr._samples import AxisName, at_most
from decorr.whitening import Form, check_groups, check_method, specs, whiten_by_batch, whiten_by_running

UNITS = 16
"""The largest number of units that are whitened together by default."""


class BatchWhitening(nn.Module):
    """Whitens activations by batch or running statistics: batch normalisation that also decorrelates units.

    y = scale * (a - mean) W^T + bias, with W as in `whitening_matrix`. In training, the mean and the
    covariance of the batch are used, like in `whiten`. The running statistics move towards the batch's
    statistics: running <- momentum * running + (1 - momentum) * batch. The layer averages the covariance
    instead of W, because a mean of W over noisy batches does not whiten.

        layer = BatchWhitening()
        variables = layer.init(key, x, use_running_average=True)
        y, updates = layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"])
        variables |= updates
        y = layer.apply(variables, x, use_running_average=True)               # evaluation

    Attributes:
      use_running_average: whether to whiten by the running statistics. Give it here or in the call.
      momentum: the momentum of the running statistics. Default: 0.99, like in `flax.linen.BatchNorm`.
      method, shrinkage, iterations, axis_name: as in `whiten`; `axis_name` is ignored while the module is
        initialised.
      groups: as in `whiten`. Default: as few groups as possible, with at most 16 units each. Larger groups
        need larger batches, because W fits the noise of a small batch. If the number of units is a prime
        above 16, every unit is whitened alone, which is batch normalisation.
      dtype: the dtype of the result. Default: as in `whiten`.
      use_bias, use_scale: whether a bias and a scale [unit] are learned, in float32.

    Call:
      x: activations [..., unit], floating point.
      use_running_average: like the attribute. Give this argument if the attribute is None.
      where: which samples are valid, like in `whiten`; y is 0 for invalid samples.

    Returns:
      y, in the shape of x. The collection "batch_stats" holds `mean` [unit] and `covariance` [group, unit,
      unit], unbiased, in float32. Initially, the mean is 0 and each covariance is the identity.
      `init` leaves them so, and a batch with fewer than two valid samples does not move them.

    Raises:
      ValueError, TypeError: as in `whiten`. At initialisation and with running statistics, one sample is
        enough, even as an array [unit].
      UserWarning: in training, fewer than 4 samples for each unit of a group.

    Numerics:
      As in `whiten`. With running statistics, every call computes W from d x d matrices only.

    Source: Huang et al., Decorrelated Batch Normalization; the running covariance is this library's own.
    """

    use_running_average: bool | None = None
    momentum: float = 0.99
    method: str = "zca"
    shrinkage: float = 1e-3
    iterations: int = 9
    groups: int | None = None
    axis_name: AxisName = None
    dtype: Any = None
    use_bias: bool = True
    use_scale: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.typing.ArrayLike,
        use_running_average: bool | None = None,
        *,
        where: jax.typing.ArrayLike | None = None,
    ) -> jax.Array:
        """Whitens: see Call, above."""
        running = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        x = jnp.asarray(x)
        d = x.shape[-1]
        form = form_of(self.method, self.iterations, self.groups, d)
        mean = self.variable("batch_stats", "mean", jnp.zeros, d, jnp.float32)
        covariance = self.variable("batch_stats", "covariance", start, form, d)
        known = mean.value, covariance.value

        if running:
            y = evaluated(form, x, where, known, self.shrinkage)
        elif self.is_initializing():
            y, _ = trained(form._replace(minimum=1), None, self.momentum, x, where, known, self.shrinkage)
        else:
            y, known = trained(form, self.axis_name, self.momentum, x, where, known, self.shrinkage)
            mean.value, covariance.value = known
        scale = self.param("scale", nn.initializers.ones, (d,), jnp.float32) if self.use_scale else None
        bias = self.param("bias", nn.initializers.zeros, (d,), jnp.float32) if self.use_bias else None
        return affine(y.astype(self.dtype or y.dtype), scale, bias, where)


# The functions below are shared with the layer in `decorr.models.nnx`.


def form_of(method: str, iterations: int, groups: int | None, d: int) -> Form:
    """Returns the options for whitening d units. Raises ValueError for invalid options."""
    check_method(method, iterations)
    if groups is None:
        groups = next((n for n in range(1, d + 1) if d % n == 0 and d // n <= UNITS), 1)
    check_groups(d, groups)
    return Form(method, iterations, groups)


def start(form: Form, d: int) -> jax.Array:
    """Returns the initial running covariance [group, unit, unit]."""
    size = d // form.groups
    return jnp.broadcast_to(jnp.eye(size, dtype=jnp.float32), (form.groups, size, size))


def evaluated(
    form: Form,
    x: jax.Array,
    where: jax.typing.ArrayLike | None,
    running: tuple[jax.Array, jax.Array],
    shrinkage: jax.typing.ArrayLike,
) -> jax.Array:
    """Whitens x by the running mean and covariance."""
    arrays = x, where, *running, check_scalar_probability(shrinkage, "shrinkage")
    return over_mesh(whiten_by_running, arrays, form, specs=lambda spec: spec)


def trained(
    form: Form,
    axis_name: AxisName,
    momentum: float,
    x: jax.Array,
    where: jax.typing.ArrayLike | None,
    running: tuple[jax.Array, jax.Array],
    shrinkage: jax.typing.ArrayLike,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Whitens x by its own mean and covariance. Returns the updated running statistics too."""
    arrays = x, where, None, check_scalar_probability(shrinkage, "shrinkage")
    batch = over_mesh(whiten_by_batch, arrays, form, axis_name, specs=specs)
    m = math.prod(x.shape[:-1]) * (1 if axis_name is None else lax.axis_size(axis_name))
    size = x.shape[-1] // form.groups
    if form.minimum > 1 and not at_most(4 * size, m):
        warnings.warn(
            f"BatchWhitening: {m} samples are few for groups of {size} units. Take at least {4 * size} "
            "samples, or more groups",
            stacklevel=2,
        )

    def moved(old: jax.Array, new: jax.Array) -> jax.Array:
        after = momentum * old + (1 - momentum) * new.astype(old.dtype)
        return jnp.where(batch.number > 1, after, old)

    return batch.y, (moved(running[0], batch.mean), moved(running[1], batch.covariance))


def affine(
    y: jax.Array, scale: jax.Array | None, bias: jax.Array | None, where: jax.typing.ArrayLike | None
) -> jax.Array:
    """Returns y [..., unit] times a scale [unit] plus a bias [unit]; 0 for invalid samples."""
    shape = (1,) * (y.ndim - 1) + (y.shape[-1],)
    if scale is not None:
        y = y * scale.astype(y.dtype).reshape(shape)
    if bias is not None:
        y = y + bias.astype(y.dtype).reshape(shape)
    return y if where is None else jnp.where(jnp.broadcast_to(where, y.shape[:-1])[..., None], y, 0)
