"""Evidence: every value is shown, and neither a divergence nor rounding hides or decides the rest."""

import numpy as np
import pytest

from experiments.page.drawing import Missing
from experiments.page.evidence import evidence
from experiments.paper import claims
from experiments.statistics import verdicts
from experiments.statistics.verdicts import Verdict
from tests import made_up


def test_evidence_shows_every_seed():
    verdict = claims.c4(made_up.sweep())
    (axes,) = evidence(verdict).axes
    assert sum(len(each.get_offsets()) for each in axes.collections) == 6 * made_up.SEEDS
    with pytest.raises(Missing):
        evidence(claims.c5(made_up.sweep(sizes=("tiny",))))


def test_errors_of_rounding_are_not_drawn():
    def drawn(error):
        exact = verdicts.always("x", error * np.arange(1, 6), 0, tolerance=1e-8)
        (axes,) = evidence(Verdict("C", "1", "", (exact,))).axes
        return [each.get_offsets()[:, 0].tolist() for each in axes.collections], axes.get_xlim()

    assert drawn(1e-16) == drawn(7e-15)  # one processor and another
    assert drawn(1e-16) != drawn(1e-9)
    (places,), (low, high) = drawn(1e-5)
    assert low < min(places) and max(places) < high


def test_evidence_stays_readable_beside_a_network_that_diverged():
    sweep = made_up.sweep()
    assert evidence(claims.c8(sweep)).axes[0].get_xscale() == "linear"
    sweep["validation_error"].loc[{"cell": "tiny-corr-1.0", "seed": 4}] = 0.9
    (axes,) = evidence(claims.c8(sweep)).axes
    assert axes.get_xscale() == "symlog" and axes.get_xlabel() == "logarithmic beyond 0.004"
    sweep = made_up.sweep(sizes=("tiny",), noise=0)
    sweep["validation_error"].loc[{"cell": "tiny-vanilla", "seed": 4}] = 0.9  # all other differences are 0
    assert evidence(claims.c8(sweep)).axes
