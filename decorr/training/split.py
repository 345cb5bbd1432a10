"""Samples for training or evaluation, in memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Split(NamedTuple):
    """One split of a data set: labels, pixels as stored, and how to scale the pixels.

    Pixels in uint8 take a quarter of the memory of float32.
    """

    images: np.ndarray
    """[sample, pixel] uint8 or float32, flattened as height, width, channel."""
    labels: np.ndarray
    """[sample] int32, class indices from 0."""
    offset: np.ndarray
    """Scalar float32, subtracted from every pixel."""
    scale: np.ndarray
    """Scalar float32, by which every pixel is divided after the subtraction."""

    def batch(self, index: Any) -> tuple[Any, Any]:
        """Returns some samples as a network's inputs, (images[index] - offset) / scale, and their labels.

        NumPy arrays give NumPy arrays, unless the index is traced. Pass a Split to a jitted function as an
        argument (it is a PyTree). Otherwise its pixels become constants of the program.

        Args:
          index: an int array of any shape, a slice, or `...` for the whole split.

        Returns:
          Inputs [..., pixel] float32 and labels [...] int32.
        """
        images: Any = self.images
        labels: Any = self.labels
        if isinstance(index, jax.core.Tracer):
            images, labels = jnp.asarray(images), jnp.asarray(labels)
        # The cast comes first, because JAX's strict promotion refuses to mix uint8 and float32.
        return (images[index].astype(np.float32) - self.offset) / self.scale, labels[index]
