"""Damages test inputs, so that networks can be tested on damaged inputs too."""

import math

import jax
import jax.numpy as jnp
from jax import Array


def corruptions(x: Array, image_shape: tuple[int, ...] | None) -> dict[str, Array]:
    """Damages inputs in several ways. Returns a dict from the name of each damage to the damaged inputs [row,
    feature].

    Images, whose pixels lie in [0, 1], are damaged by: noise of SD 0.2; contrast reduced to 40%; a blur of SD
    1 pixel; a shift down and right by a fourteenth of the height; a rotation by 15 degrees. Tables, whose
    columns have mean 0 and SD 1, are damaged by: noise of SD 0.5; a fifth of the entries replaced by their
    column's mean. The random numbers are the same for all networks.

    Args:
      x: inputs [row, feature], already scaled for the network.
      image_shape: height, width, channel; None for a table.
    """
    noise = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    if image_shape is None:
        missing = jax.random.bernoulli(jax.random.key(1), 0.2, x.shape)
        return {"noise": x + 0.5 * noise, "missing": jnp.where(missing, 0, x)}
    images = x.reshape(-1, *image_shape)
    mean = images.mean(axis=(1, 2), keepdims=True)
    made = {
        "contrast": mean + 0.4 * (images - mean),
        "blur": _blurred(images),
        "shift": _moved(images, *_shift(image_shape)),
        "rotation": _moved(images, *_rotation(image_shape, math.radians(15))),
    }
    return {"noise": x + 0.2 * noise} | {name: image.reshape(x.shape) for name, image in made.items()}


def _blurred(images: Array) -> Array:
    offsets = jnp.arange(-2, 3, dtype=images.dtype)
    weights = jnp.exp(-(offsets**2) / 2)
    weights = weights / weights.sum()
    for axis in (1, 2):
        widths = [(2, 2) if place == axis else (0, 0) for place in range(4)]
        padded = jnp.pad(images, widths, mode="edge")
        parts = [jax.lax.slice_in_dim(padded, i, i + images.shape[axis], axis=axis) for i in range(5)]
        images = jnp.tensordot(weights, jnp.stack(parts), axes=1)
    return images


def _shift(image_shape: tuple[int, ...]) -> tuple[Array, Array]:
    rows, columns = jnp.indices(image_shape[:2], jnp.float32)
    by = image_shape[0] / 14
    return rows - by, columns - by


def _rotation(image_shape: tuple[int, ...], angle: float) -> tuple[Array, Array]:
    rows, columns = jnp.indices(image_shape[:2], jnp.float32)
    middle = (image_shape[0] - 1) / 2, (image_shape[1] - 1) / 2
    down, right = rows - middle[0], columns - middle[1]
    return (
        middle[0] + math.cos(angle) * down - math.sin(angle) * right,
        middle[1] + math.sin(angle) * down + math.cos(angle) * right,
    )


def _moved(images: Array, rows: Array, columns: Array) -> Array:
    """Returns images whose pixels are interpolated linearly at the given rows and columns of the old images.
    Outside of the old images, pixels are 0."""

    def channel(image: Array) -> Array:
        return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1, cval=0.0)

    return jax.vmap(jax.vmap(channel, in_axes=-1, out_axes=-1))(images)
