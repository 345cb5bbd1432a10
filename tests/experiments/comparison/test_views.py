import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import correlation_penalty
from experiments.comparison import planned, probe, views
from experiments.comparison.recipes import WITHOUT_LABELS
from experiments.comparison.settings import Budget, Setting, Work
from experiments.data.pool import Pool

RNG = np.random.default_rng(0)
POOL = Pool(
    "made up images",
    "0",
    2,
    (4, 4, 1),
    RNG.integers(0, 9, (400, 16)).astype(np.uint8),
    np.int32([0, 1] * 200),
)


def test_a_view_is_a_shifted_image_with_noise(monkeypatch):
    monkeypatch.setattr(views, "NOISE", 0.0)
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 3, 4] = 1
    views_of_it = jax.jit(jax.vmap(lambda key: views.view(key, image.reshape(1, -1), (8, 8, 1))))
    made = np.asarray(views_of_it(jax.random.split(jax.random.key(0), 50))).reshape(50, 8, 8)
    assert np.all(made.sum(axis=(1, 2)) == 1)
    places = {tuple(map(int, np.argwhere(each)[0])) for each in made}
    assert places == {(row, column) for row in (2, 3, 4) for column in (3, 4, 5)}


def test_losses_are_those_of_the_plan():
    assert views.LOSSES.keys() == WITHOUT_LABELS.keys()
    a = (0.5 * RNG.normal(size=(20, 3))).astype(np.float32)  # with a spread below the floor
    b = a + 0.1
    values = {name: float(loss(jnp.asarray(a), jnp.asarray(b), 0.5)) for name, loss in views.LOSSES.items()}
    assert values["untrained"] == 0 and values["align"] == pytest.approx(0.01, rel=1e-4)
    penalty = float(correlation_penalty(a) + correlation_penalty(b)) / 2
    assert values["align-corr"] == pytest.approx(0.01 + 0.5 * penalty, rel=1e-4)
    covariance = np.cov(a.T)
    floor = np.maximum(1 - np.sqrt(np.diag(covariance) + 1e-4), 0).mean()
    assert values["align-corr-floor"] == pytest.approx(0.01 + 0.5 * (penalty + floor), rel=1e-4)
    off_diagonal = np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / 3
    vicreg = 0.01 + 0.5 * floor + 0.5 / 25 * 2 * off_diagonal
    assert values["vicreg"] == pytest.approx(vicreg, rel=1e-3)
    assert values["barlow"] == pytest.approx(0.5 * np.sum((np.corrcoef(a.T) - np.eye(3)) ** 2), rel=1e-3)


def test_a_probe_finds_what_is_linear():
    labels = RNG.integers(0, 3, 300)
    features = np.concatenate([np.eye(3)[labels], RNG.normal(size=(300, 4))], axis=1)
    rows = np.arange(300)
    assert probe.error(features, labels, rows[:200], rows[200:]) < 0.02
    assert probe.error(features[:, 3:], labels, rows[:200], rows[200:]) > 0.4


def test_few_labels_are_training_rows_of_a_seed():
    train = np.arange(300, 700)
    draws = views.few_labels(train, 1)
    assert len(draws) == 5 and all(len(set(draw)) == 100 and set(draw) <= set(train) for draw in draws)
    assert all(np.array_equal(x, y) for x, y in zip(draws, views.few_labels(train, 1), strict=True))
    assert not np.array_equal(draws[0], views.few_labels(train, 2)[0])


def test_networks_are_trained_and_probed():
    plain = next(planned.views()).plain
    small = dataclasses.replace(plain.architecture, widths=(4, 4))
    plain = dataclasses.replace(plain, architecture=small, batch_size=20, steps=3)
    work = Work(Setting("made up images", "0", 200, plain, Budget(2, 1, 1, 1, 2)), "align-corr")
    rows = [row for _, new in views.TRAINING.run(work, POOL, None, 0, jax.devices()[:1]) for row in new or ()]
    assert [row["stage"] for row in rows] == ["search", "search", "selection", "report", "report"]
    assert all(0 < row["tuning_error"] < 1 and row["failed"] == 0 for row in rows)
    assert {"test_error", "all_labels_error"} <= rows[-1].keys() and "test_error" not in rows[0]
