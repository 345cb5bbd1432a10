"""Checks that the tests of several networks share."""

import numpy as np
import pytest


@pytest.fixture
def check_fills_bound():
    """Checks that the parameters of a layer are uniform between minus and plus a bound."""

    def check(layer, bound):
        for values in map(np.asarray, (layer["kernel"], layer["bias"])):
            assert np.abs(values).max() <= bound
            # Four standard errors of a uniform sample's mean and mean square.
            error = 4 / values.size**0.5
            assert abs(values.mean()) < bound * error / 3**0.5
            assert abs(np.mean(values**2) / bound**2 - 1 / 3) < error * (4 / 45) ** 0.5

    return check
