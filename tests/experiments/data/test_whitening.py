"""Whitening of pixels where rounding could matter. `test_load.py` compares it with its formula."""

import numpy as np
import pytest

from experiments.data.whitening import EPSILON, Whitening


@pytest.fixture(scope="module")
def images():
    """Correlated images, more than one chunk of exact sums. Pixel 2 is always 255."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(2100, 5)) @ rng.normal(size=(5, 5))
    made = np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)
    made[:, 2] = 255
    return made


def test_every_image_is_whitened_alike(images):
    """An image is whitened alike in any chunk and among any other images."""
    whitening = Whitening.of(images[:1300])
    found = whitening.apply(images)
    wanted = (images - whitening.mean.astype(np.float64)) @ whitening.matrix.astype(np.float64)
    assert found.dtype == np.float32 and np.abs(wanted).max() > 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(whitening.apply(images[1200:1400]), wanted[1200:1400], atol=1e-5)


def test_a_constant_pixel_is_zero_where_it_varies_too(images):
    whitening, other = Whitening.of(images), images[:3].copy()
    assert np.array_equal(whitening.apply(images)[:, 2], np.zeros(2100))
    other[:, 2] = 0
    np.testing.assert_array_equal(whitening.apply(other), whitening.apply(images[:3]))


def test_the_sums_are_exact():
    """Two pixels differ from white in one of 2,000 images. Sums in float32 would miss this variance."""
    images = np.full((2000, 2), 255, np.uint8)
    images[0, 0], images[1, 1] = 254, 253
    found = Whitening.of(images)
    assert found.matrix.dtype == found.mean.dtype == np.float32
    covariance = np.cov(images.astype(np.float64).T, ddof=0)
    regular = covariance + EPSILON * np.trace(covariance) / 2 * np.eye(2)
    matrix = found.matrix.astype(np.float64)
    np.testing.assert_allclose(matrix @ regular @ matrix, np.eye(2), atol=1e-6)
