"""Whitening as a Linen layer with running statistics, where `flax.linen.BatchNorm` would stand."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from decorr._samples import check_probability
from decorr.whitening import by_group, check_method, moments, project, select


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
      method, shrinkage, iterations, groups: as `whiten`.
      dtype: of the result. Default: that of `whiten`.
      use_bias, use_scale: whether a bias and a scale [unit] are learned, in float32.

    Call:
      x: activations [..., unit], floating point.
      use_running_average: if the attribute is not given.
      where: which samples count, as in `whiten`; the others are 0 in y.

    Returns:
      y, the shape of x. The collection "batch_stats" holds `mean` [unit] and `covariance`
      [group, unit, unit], unbiased, in float32; they begin as 0 and the identity, and do not move while
      the module is initialised nor when fewer than two samples count.

    Raises:
      ValueError, TypeError: as `whiten`. One sample is enough at initialisation and with running statistics.

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
    dtype: Any = None
    use_bias: bool = True
    use_scale: bool = True

    @nn.compact
    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, where: jax.Array | None = None
    ) -> jax.Array:
        """As the class says under Call."""
        running = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        check_method(self.method, self.iterations)
        shrinkage = check_probability(self.shrinkage, "shrinkage")
        samples, valid = select(x, where, 1 if running or self.is_initializing() else 2)
        d, size = samples.shape[1], by_group(samples, self.groups).shape[2]
        known_mean = self.variable("batch_stats", "mean", jnp.zeros, d, jnp.float32)
        known = self.variable("batch_stats", "covariance", self._identity, size)

        if running:
            mean, covariance = known_mean.value.astype(samples.dtype), known.value.astype(samples.dtype)
            c = by_group(samples - mean[None], self.groups)
        else:
            c, mean, covariance = moments(samples, valid, self.groups)
            if not self.is_initializing():
                enough = jnp.sum(valid) > 1
                for statistic, batch in ((known_mean, mean), (known, covariance)):
                    old = statistic.value
                    new = self.momentum * old + (1 - self.momentum) * batch.astype(old.dtype)
                    statistic.value = jnp.where(enough, new, old)
        y = project(c, covariance, self.method, shrinkage, self.iterations)
        if self.use_scale:
            y = y * self.param("scale", nn.initializers.ones, (d,), jnp.float32).astype(y.dtype)[None]
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (d,), jnp.float32).astype(y.dtype)[None]
        return jnp.where(valid, y, 0).reshape(x.shape).astype(self.dtype or y.dtype)

    def _identity(self, size: int) -> jax.Array:
        return jnp.broadcast_to(jnp.eye(size, dtype=jnp.float32), (self.groups, size, size))
