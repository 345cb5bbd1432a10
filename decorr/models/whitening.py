"""Whitening as a Linen layer with running statistics, where `flax.linen.BatchNorm` would stand."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from decorr._checks import check_scalar_probability
from decorr._mesh import over_mesh
from decorr._samples import AxisName
from decorr.whitening import Form, by_batch, by_known, check_groups, check_method, specs


class BatchWhitening(nn.Module):
    """Whitens activations by the batch's statistics, or by running ones: batch normalisation for all pairs.

    y = scale * (a - mean) W^T + bias, W as in `whitening_matrix`. In training mean and covariance are the
    batch's, as in `whiten`, and the running ones move towards them:
    running <- momentum * running + (1 - momentum) * batch. What runs is the covariance, not W: the mean of
    W over noisy batches is no whitening of anything.

        layer = BatchWhitening(groups=4)
        variables = layer.init(key, x, use_running_average=True)
        y, updates = layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"])
        variables |= updates
        y = layer.apply(variables, x, use_running_average=True)               # evaluation

    Attributes:
      use_running_average: whether to whiten by the running statistics, here or in the call.
      momentum: of the running statistics; 0.99, the default of `flax.linen.BatchNorm`.
      method, shrinkage, iterations, groups, axis_name: as `whiten`; `axis_name` is not looked at while the
        module is initialised.
      dtype: of the result. Default: that of `whiten`.
      use_bias, use_scale: whether a bias and a scale [unit] are learned, in float32.

    Call:
      x: activations [..., unit], floating point.
      use_running_average: if the attribute is not given.
      where: which samples are valid, as in `whiten`; the others are 0 in y.

    Returns:
      y, the shape of x. The collection "batch_stats" holds `mean` [unit] and `covariance`
      [group, unit, unit], unbiased, in float32; they begin as 0 and the identity, and do not move while
      the module is initialised nor over fewer than two valid samples.

    Raises:
      ValueError, TypeError: as `whiten`. One sample, also as an array [unit], is enough at initialisation and
        with running statistics.

    Numerics:
      As `whiten`. With running statistics W is computed in every call, of d x d matrices alone.

    Source: Huang et al., Decorrelated Batch Normalization; the running covariance is this library's.
    """

    use_running_average: bool | None = None
    momentum: float = 0.99
    method: str = "zca"
    shrinkage: float = 1e-3
    iterations: int = 9
    groups: int = 1
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
        check_method(self.method, self.iterations)
        shrinkage = check_scalar_probability(self.shrinkage, "shrinkage")
        x = jnp.asarray(x)
        d = x.shape[-1]
        check_groups(d, self.groups)
        form = Form(self.method, self.iterations, self.groups)
        mean = self.variable("batch_stats", "mean", jnp.zeros, d, jnp.float32)
        covariance = self.variable("batch_stats", "covariance", self._identity, d // self.groups)

        if running:
            known = (x, where, mean.value, covariance.value, shrinkage)
            y = over_mesh(by_known, known, form, specs=lambda spec: spec)
        else:
            axis_name = self.axis_name
            if self.is_initializing():
                form, axis_name = form._replace(minimum=1), None
            own = (x, where, None, shrinkage)
            batch = over_mesh(by_batch, own, form, axis_name, specs=specs)
            y = batch.y
            if not self.is_initializing():
                for statistic, new in ((mean, batch.mean), (covariance, batch.covariance)):
                    old = statistic.value
                    moved = self.momentum * old + (1 - self.momentum) * new.astype(old.dtype)
                    statistic.value = jnp.where(batch.number > 1, moved, old)
        return self._affine(y, where)

    def _affine(self, y: jax.Array, where: jax.typing.ArrayLike | None) -> jax.Array:
        shape = (1,) * (y.ndim - 1) + (y.shape[-1],)
        y = y.astype(self.dtype or y.dtype)
        if self.use_scale:
            scale = self.param("scale", nn.initializers.ones, shape[-1:], jnp.float32)
            y = y * scale.astype(y.dtype).reshape(shape)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
            y = y + bias.astype(y.dtype).reshape(shape)
        return y if where is None else jnp.where(jnp.broadcast_to(where, y.shape[:-1])[..., None], y, 0)

    def _identity(self, size: int) -> jax.Array:
        return jnp.broadcast_to(jnp.eye(size, dtype=jnp.float32), (self.groups, size, size))
