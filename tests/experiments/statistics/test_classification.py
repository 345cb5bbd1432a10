"""Measures of predictions agree with their definitions, computed sample by sample."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from experiments.statistics.classification import counted, measures

RANDOM = np.random.default_rng(0)
LOGITS = 3 * RANDOM.standard_normal((2, 400, 5)).astype(np.float32)
LABELS = RANDOM.integers(0, 5, 400)


def test_measures_are_their_definitions():
    found = measures(LOGITS, LABELS)
    for run, logits in enumerate(LOGITS.astype(float)):
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found["nll"][run], log_loss(LABELS, probability), rtol=1e-6)
        np.testing.assert_allclose(found["error"][run], (logits.argmax(1) != LABELS).mean())
        bins: dict[int, list] = {}
        for row, label in zip(probability, LABELS, strict=True):
            bins.setdefault(int(row.max() * 15), []).append((row.max(), row.argmax() == label))
        gaps = [len(each) / 400 * abs(np.mean(each, axis=0) @ [1, -1]) for each in bins.values()]
        np.testing.assert_allclose(found["calibration_error"][run], sum(gaps), rtol=1e-6)


def test_predictions_that_are_sure_and_right_cost_nothing():
    found = measures(1000 * np.eye(5)[LABELS], LABELS)
    assert found["error"] == found["nll"] == found["calibration_error"] == 0


def test_a_network_that_diverged_guesses():
    logits = LOGITS.copy()
    logits[1, 7], logits[1, 8, 0] = np.nan, np.inf
    found = measures(logits, LABELS)
    assert found["error"][1] == pytest.approx(0.8) and np.isfinite([each[0] for each in found.values()]).all()
    assert np.isnan(found["nll"][1]) and np.isnan(found["calibration_error"][1])


@pytest.mark.parametrize("samples", [7, 250, 297, 10_000, 100_003])
def test_errors_that_float32_rounded_are_counts_again(samples):
    wrong = RANDOM.integers(0, samples + 1, (4, 30))
    wrong[0, :2] = 0, samples
    np.testing.assert_array_equal(counted((wrong / samples).astype(np.float32)), wrong / samples)


def test_errors_that_are_no_counts_stay_as_they_are():
    for values in (RANDOM.random(50, np.float32), np.array([]), np.array([np.nan, 0.25])):
        np.testing.assert_array_equal(counted(values), values)
