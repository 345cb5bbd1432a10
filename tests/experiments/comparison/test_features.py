import dataclasses

import jax
import numpy as np
import pytest

from experiments.comparison import features
from experiments.comparison.recipes import Recipe
from experiments.comparison.settings import Budget, Setting, Work
from experiments.data.pool import Pool

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 1000).astype(np.int32)
POOL = Pool(
    "five classes",
    "0",
    5,
    None,
    (RNG.normal(size=(1000, 6)) + 3 * LABELS[:, None]).astype(np.float32),
    LABELS,
)


def test_no_row_of_the_other_classes_trains_the_network():
    sample, others = features.split(POOL, 100, 0)
    assert set(POOL.labels[np.concatenate([sample.train, sample.tuning])]) == {0, 1}
    assert set(POOL.labels[others]) == {2, 3, 4} and len(set(others)) == len(others)
    assert POOL.labels[others[:150]].tolist() == [2] * 50 + [3] * 50 + [4] * 50
    assert not np.array_equal(others, features.split(POOL, 100, 1)[1])


@pytest.mark.slow
def test_networks_are_trained_and_their_layers_probed():
    small = dataclasses.replace(Recipe().architecture, widths=(4, 4))
    plain = dataclasses.replace(Recipe(), architecture=small, batch_size=20, steps=30)
    work = Work(Setting("five classes", "0", 100, plain, Budget(2, 1, 1, 1, 2)), "corr", point=1)
    events = features.TRAINING.run(work, POOL, None, 0, jax.devices()[:1])
    rows = [row for _, new in events for row in new or ()]
    assert [(row["stage"], row["point"]) for row in rows] == [("report", 1)] * 2
    for row in rows:
        assert row["failed"] == 0
        assert all(0 < row[f"layer_{layer}_{shots}_error"] < 1 for layer in (1, 2) for shots in (5, 50))
        assert row["layer_1_50_error"] < 0.5  # the error of guessing is 2/3


def test_a_probe_learns_from_its_own_rows_alone():
    labels = np.concatenate([np.repeat([2, 3], 50), RNG.integers(2, 4, 100)])
    layer = np.eye(4)[labels] + 0.1 * RNG.normal(size=(200, 4))
    measured = features._measures([layer, np.full((200, 3), np.nan)], labels, 4)
    assert measured["failed"] == 1 and measured["layer_1_50_error"] == 0.5
    measured = features._measures([layer], labels, 4)
    assert measured["failed"] == 0 and measured["layer_1_5_error"] < 0.05
