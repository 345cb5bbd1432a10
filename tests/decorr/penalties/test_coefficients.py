"""Each coefficient has a keyword, beside the older spellings."""

import numpy as np
import pytest

from decorr import variance_penalty, vcreg_loss, vicreg_loss
from decorr.penalties import vicreg_parts

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 6, 3)).astype(np.float32) * 0.3


def test_a_keyword_for_each_coefficient():
    named = vicreg_loss(A, B, invariance_weight=2.0, variance_weight=3.0, covariance_weight=4.0)
    np.testing.assert_array_equal(named, vicreg_loss(A, B, coefficients=(2.0, 3.0, 4.0)))
    np.testing.assert_array_equal(vicreg_loss(A, B), vicreg_loss(A, B, coefficients=(25.0, 25.0, 1.0)))
    np.testing.assert_array_equal(vcreg_loss(A, 1.0, 1.0), vcreg_loss(A))
    np.testing.assert_allclose(vcreg_loss(A, covariance_weight=0.0), variance_penalty(A), rtol=1e-6)


def test_the_parts_are_what_the_coefficients_weight():
    for part, coefficients in zip(vicreg_parts(A, B), np.eye(3, dtype=np.float32), strict=True):
        np.testing.assert_allclose(part, vicreg_loss(A, B, coefficients=tuple(coefficients)), rtol=1e-6)
    np.testing.assert_allclose(vicreg_parts(A, B).invariance, np.mean((A - B) ** 2), rtol=1e-6)


def test_coefficients_are_three():
    with pytest.raises(ValueError, match="three"):
        vicreg_loss(A, B, coefficients=(1.0, 2.0))
