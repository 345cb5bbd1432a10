"""ZCA whitening of pixels, fitted to the training images."""

from typing import NamedTuple

import numpy as np

EPSILON = 0.1
"""This share of the pixels' mean variance is added to the variance in every direction. So directions with a
smaller variance than this share, which are mostly noise, are not magnified to variance 1. 0.1 is customary
for natural images whose contrast is normalised to a variance of about 1. Source: Coates, Lee & Ng, An
Analysis of Single-Layer Networks; Goodfellow et al., Maxout Networks."""

_EXACT = 2**24 // 255**2
"""This many products of two uint8 pixels can be summed exactly in float32, in any order."""

_CHUNK = 1000
"""Number of images whitened at once. Converting all of them at once would need twice the memory."""


class Whitening(NamedTuple):
    """The map of pixels x -> (x - mean) W, with W = (C + eps I)^(-1/2) and eps = `EPSILON` mean_i(C_ii)."""

    mean: np.ndarray
    """[pixel] float32."""
    matrix: np.ndarray
    """W [pixel, pixel] float32, symmetric: whitened pixel i stays as near to pixel i as possible."""

    @classmethod
    def of(cls, images: np.ndarray) -> "Whitening":
        """Fits whitening to the mean and the covariance C of images.

        Args:
          images: [sample, pixel] uint8, not all equal.

        Returns:
          The whitening. On these images, the result has mean 0, and a direction that had variance l has
          variance l / (l + eps). The scale of the pixels does not matter. A constant pixel has variance 0,
          and becomes 0 in all images.

        Numerics:
          Sums are exact integers for up to 370,000 images. NumPy takes the matrix root in float64, so loading
          data starts no JAX device.

        Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, Appendix A, plus eps.
        """
        n, pixels = images.shape
        total = images.sum(axis=0, dtype=np.uint64).astype(np.float64)
        products = np.zeros((pixels, pixels))
        for start in range(0, n, _EXACT):
            few = images[start : start + _EXACT].astype(np.float32)
            products += few.T @ few
        covariance = (n * products - np.outer(total, total)) / n**2
        variances, directions = np.linalg.eigh(covariance)
        root = directions / np.sqrt(variances + EPSILON * covariance.trace() / pixels)
        varies = images.min(axis=0) < images.max(axis=0)
        matrix = np.where(np.outer(varies, varies), root @ directions.T, 0)
        return cls((total / n).astype(np.float32), matrix.astype(np.float32))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Returns whitened images [sample, pixel], float32."""
        whitened = np.empty(images.shape, np.float32)
        for start in range(0, len(images), _CHUNK):
            few = slice(start, start + _CHUNK)
            np.matmul(images[few] - self.mean, self.matrix, out=whitened[few])
        return whitened
