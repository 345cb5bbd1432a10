"""Whitening as an NNX layer with running statistics, to use in place of `flax.nnx.BatchNorm`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from decorr._samples import AxisName
from decorr.models.whitening import affine, evaluated, form_of, start, trained


class BatchWhitening(nnx.Module):
    """`decorr.BatchWhitening` for Flax NNX: whitens by batch statistics or by running statistics.

        layer = BatchWhitening(64)
        y = layer(x)          # training: updates layer.mean and layer.covariance
        layer.eval()
        y = layer(x)          # evaluation

    Args:
      num_features: the number of units d.
      use_running_average: whether to whiten by the running statistics; `train()` and `eval()` set this
        attribute.
      momentum, method, shrinkage, iterations, groups, axis_name, dtype, use_bias, use_scale: as in
        `decorr.BatchWhitening`.

    Call:
      x: activations [..., unit], floating point.
      use_running_average: replaces the attribute in this call only.
      where: which samples are valid, like in `whiten`; y is 0 for invalid samples.

    Returns:
      y, in the shape of x. The attributes `mean` [unit] and `covariance` [group, unit, unit] are
      `nnx.BatchStat`. The attributes `scale` and `bias` [unit] are `nnx.Param` or None. All of them are
      float32.

    Raises:
      ValueError, TypeError, UserWarning: as in `decorr.BatchWhitening`; inputs whose number of units is not
        `num_features`.

    Numerics:
      As in `decorr.BatchWhitening`. Needs Flax 0.12.

    Source: as in `decorr.BatchWhitening`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        use_running_average: bool = False,
        momentum: float = 0.99,
        method: str = "zca",
        shrinkage: float = 1e-3,
        iterations: int = 9,
        groups: int | None = None,
        axis_name: AxisName = None,
        dtype: Any = None,
        use_bias: bool = True,
        use_scale: bool = True,
    ) -> None:
        self.form = form_of(method, iterations, groups, num_features)
        self.use_running_average, self.momentum, self.shrinkage = use_running_average, momentum, shrinkage
        self.axis_name, self.dtype = axis_name, dtype
        self.mean = nnx.BatchStat(jnp.zeros(num_features, jnp.float32))
        self.covariance = nnx.BatchStat(start(self.form, num_features))
        self.scale = nnx.Param(jnp.ones(num_features, jnp.float32)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros(num_features, jnp.float32)) if use_bias else None

    def __call__(
        self,
        x: jax.typing.ArrayLike,
        use_running_average: bool | None = None,
        *,
        where: jax.typing.ArrayLike | None = None,
    ) -> jax.Array:
        """Whitens: see Call, above."""
        x = jnp.asarray(x)
        mean, covariance = self.mean[...], self.covariance[...]
        if x.shape[-1:] != mean.shape:
            raise ValueError(f"activations must have {mean.shape[0]} units; got shape {x.shape}")
        running = mean, covariance
        if self.use_running_average if use_running_average is None else use_running_average:
            y = evaluated(self.form, x, where, running, self.shrinkage)
        else:
            y, running = trained(self.form, self.axis_name, self.momentum, x, where, running, self.shrinkage)
            self.mean[...], self.covariance[...] = running
        scale, bias = (None if each is None else each[...] for each in (self.scale, self.bias))
        return affine(y.astype(self.dtype or y.dtype), scale, bias, where)
