"""A convolutional network like the paper's, as a Linen module that returns its activations."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from decorr._checks import check_floating
from decorr.config import Architecture
from decorr.models.layers import dense, hidden_layers, initialisers


class ConvNet(nn.Module):
    """A convolutional network that returns `(logits, activations)`, like `MLP`, for flattened images.

    Each hidden layer is a convolution with 3 x 3 kernels and stride 2, then the nonlinearity and dropout of
    `MLP`. The layer's maps have half as many rows and columns as its inputs, rounded up. The classifier's
    inputs are the flattened maps of the last layer, because a mean over positions would average out the
    effect of dropout. Channels are units, and positions are samples, though not independent ones. A penalty
    over all positions is expensive: see `decorr.sample_positions`.

        model = ConvNet(Architecture((36, 72, 144)), 10, image_shape=(28, 28, 1))
        variables = model.init(key, x)                      # x [..., 784]
        logits, activations = model.apply(variables, x)     # shapes [..., 14, 14, 36], [..., 7, 7, 72], ...

    Attributes:
      architecture: an `Architecture`, whose widths are numbers of channels.
      classes: number of classes.
      image_shape: height, width and channels of the images before they were flattened.

    Call:
      x: inputs [..., pixel], floating point.
      dropout_rate: the probability to drop an element, a scalar that may be traced. None: no dropout, and no
        cost.
      train: has an effect only with normalisation. If True, layers normalise by the batch's statistics, and
        update the running statistics (the collection "batch_stats"). If False, layers normalise by the
        running statistics.

    Returns:
      logits [..., class], and a tuple with one array [..., row, column, channel] for each hidden layer.

    Raises:
      TypeError: inputs that are not floating point.
      ValueError: inputs whose number of pixels does not fit `image_shape`.

    Numerics:
      Each convolution is computed as one matrix product of patches and kernel. Under `vmap` over networks, it
      becomes a batch of matrix products, which is faster on a CPU than a convolution with the kernels of many
      networks. The patches take 9/4 of the memory of a layer's inputs.

    Source: the paper has no convolutional network. Layers with strides in place of pooling: Springenberg et
      al., Striving for Simplicity: The All Convolutional Net (2014).
    """

    architecture: Architecture
    classes: int
    image_shape: tuple[int, ...]

    @nn.compact
    def __call__(
        self, x: jax.typing.ArrayLike, dropout_rate: jax.typing.ArrayLike | None = None, train: bool = False
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Runs the network: see Call, above."""
        x = check_floating(x, "a ConvNet's inputs (divide pixels by the largest value)")
        if x.shape[-1:] != (math.prod(self.image_shape),):
            raise ValueError(
                f"inputs must have shape [..., pixel], with the {math.prod(self.image_shape)} pixels of "
                f"flattened images {self.image_shape}; got {x.shape}"
            )
        leading = x.shape[:-1]
        affine = functools.partial(_convolution, self.architecture)
        images = x.reshape(math.prod(leading), *self.image_shape)
        maps, activations = hidden_layers(self, self.architecture, affine, images, dropout_rate, train)
        logits = dense(
            self.architecture, "logits", self.classes, maps.reshape(*leading, math.prod(maps.shape[1:]))
        )
        return logits, tuple(a.reshape(*leading, *a.shape[1:]) for a in activations)


def _convolution(architecture: Architecture, name: str, width: int, x: jax.Array) -> jax.Array:
    return _Convolution(width, name=name, **initialisers(architecture, 9 * x.shape[-1]))(x)


class _Convolution(nn.Module):
    """Computes `nn.Conv(features, (3, 3), strides=2, padding=1)` as a matrix product with patches."""

    features: int
    kernel_init: Any = nn.linear.default_kernel_init
    bias_init: Any = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=None)
        maps: jax.Array = jnp.matmul(_patches(x), kernel.reshape(-1, self.features)) + bias[None, None, None]
        return maps


def _patches(x: jax.Array) -> jax.Array:
    """Returns the 3 x 3 patches [image, row, column, 9 * channel] around every second row and column."""
    height, width = (-(-side // 2) for side in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = (
        padded[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for i in range(3) for j in range(3)
    )
    return jnp.concatenate(list(shifts), axis=-1)
