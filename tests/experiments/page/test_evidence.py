"""Evidence shows every value. Neither divergence nor rounding hides or decides the other values."""

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

    assert drawn(1e-16) == drawn(7e-15)  # as on two processors
    assert drawn(1e-16) != drawn(1e-9)
    (places,), (low, high) = drawn(1e-8)
    assert places == [1.0] and low < 1 < high  # the other values are only counted


def test_networks_that_diverged_are_counted_at_the_edge():
    sweep = made_up.sweep()
    (axes,) = evidence(claims.c8(sweep)).axes
    assert axes.get_xlabel() == "difference in error (percentage points)"
    assert not [text for text in axes.texts if "diverged" in text.get_text()]
    sweep["validation_error"].loc[{"cell": "tiny-corr-1.0", "seed": 4}] = 0.9
    sweep["validation_error"].loc[{"cell": "huge-vanilla", "seed": slice(0, 1)}] = 0.9
    (axes,) = evidence(claims.c8(sweep)).axes
    counted = [text.get_text() for text in axes.texts if "diverged" in text.get_text()]
    assert counted == ["1 diverged →", "← 2 diverged"]  # listed from the bottom row, where tiny is
    assert axes.get_xscale() == "linear" and max(np.abs(axes.get_xlim())) < 1
    sweep = made_up.sweep(sizes=("tiny",), noise=0)
    sweep["validation_error"].loc[{"cell": "tiny-vanilla", "seed": 4}] = 0.9  # all other differences are 0
    assert evidence(claims.c8(sweep)).axes


def test_what_supports_the_sentence_is_on_the_right_or_in_the_band():
    lower, ratio = evidence(claims.c2(made_up.sweep(noise=0))).axes
    for axes, wanted in ((lower, (0, max(lower.get_xlim()))), (ratio, (0.44, 0.54))):
        (band,) = axes.patches
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(wanted)
    assert [text.get_text() for text in lower.texts] == ["open"]
    assert lower.get_title("right") == "for the sentence →"


def test_labels_have_room_at_both_sides():
    figure = evidence(claims.c8(made_up.sweep()))
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert 0.1 < box.x0 < box.x1 < figure.get_figwidth() - 0.1
