"""Measurements of a trained network against NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.config import Architecture, Optimisation
from decorr.models import MLP, ConvNet
from decorr.training import evaluation
from decorr.training.evaluation import BINS, evaluate, histogram, largest_divisor, mean_absolute
from decorr.training.split import Split
from decorr.training.steps import Trainer, sgd

MODEL = MLP(Architecture((7, 5), "prelu", 0.25, "torch", input_dropout=True), 3)
TRAINER = Trainer(MODEL, sgd(Optimisation()), 10)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 16, (47, 6), np.uint8), rng.integers(0, 3, 47, np.int32)
    return Split(images, labels, np.float32(2), np.float32(5))


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 6)))


@pytest.fixture(scope="module")
def seen(variables, data):
    return jax.jit(evaluate, static_argnums=0)(TRAINER, variables, data)


@pytest.fixture(scope="module")
def outputs(variables, data):
    logits, activations = jax.jit(MODEL.apply)(variables, (data.images.astype(np.float32) - 2) / 5)
    return jax.tree.map(lambda a: np.asarray(a, np.float64), (logits, list(activations)))


def off_diagonal(rho):
    return np.abs(rho[~np.eye(len(rho), dtype=bool)])


def test_nll_and_error(seen, outputs, data):
    logits, _ = outputs
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(seen.nll, -np.log(share[np.arange(47), data.labels]).mean(), rtol=1e-5)
    np.testing.assert_allclose(seen.error, np.mean(logits.argmax(1) != data.labels), rtol=1e-6)


def test_penalty_is_the_mean_over_whole_minibatches(seen, outputs):
    wanted = [
        np.mean([(np.corrcoef(a[i : i + 10].T) ** 2).sum() / (2 * a.shape[1]) for i in (0, 10, 20, 30)])
        for a in outputs[1]
    ]
    np.testing.assert_allclose(seen.penalty, wanted, rtol=1e-5)


def test_correlations_are_of_the_whole_set(seen, outputs):
    for layer, a in enumerate(outputs[1]):
        rho = np.corrcoef(a.T)
        np.testing.assert_allclose(seen.correlation[layer], rho, atol=1e-5)
        np.testing.assert_allclose(seen.mean_correlation[layer], off_diagonal(rho).mean(), rtol=1e-5)


def test_a_large_set_is_streamed_and_p_is_of_every_second_minibatch(variables):
    """The set has 2 x `MINIBATCHES` = 200 minibatches and 7 more samples: four chunks and a remainder."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 16, (2007, 6), np.uint8)
    many = Split(images, rng.integers(0, 3, 2007, np.int32), np.float32(2), np.float32(5))
    found = jax.jit(evaluate, static_argnums=0)(TRAINER, variables, many)
    logits, activations = jax.jit(MODEL.apply)(variables, many.batch(...)[0])
    np.testing.assert_allclose(found.error, np.mean(logits.argmax(1) != many.labels), rtol=1e-6)
    for layer, a in enumerate(activations):
        np.testing.assert_allclose(found.correlation[layer], correlation(a), atol=1e-5)
        squares = [(correlation(a[i : i + 10]) ** 2).sum() for i in range(0, 2000, 20)]
        np.testing.assert_allclose(found.penalty[layer], np.mean(squares) / (2 * a.shape[1]), rtol=1e-5)


@pytest.mark.slow
def test_outside_jit_it_is_the_same(seen, variables, data):
    found = evaluate(TRAINER, variables, data)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(seen), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_fewer_samples_than_a_minibatch(variables, data):
    with pytest.raises(ValueError, match="minibatch of 48 needs at least 48 samples; got 47"):
        evaluate(dataclasses.replace(TRAINER, batch_size=48), variables, data)


@pytest.mark.parametrize(("n", "most", "wanted"), [(12, 5, 4), (7, 6, 1), (7, 7, 7), (6, 100, 6), (10, 0, 1)])
def test_the_largest_divisor(n, most, wanted):
    assert largest_divisor(n, most) == wanted


def test_mean_absolute_leaves_the_diagonal_out():
    rho = jnp.array([[9.0, -0.5, 0.1], [-0.5, 9.0, 0.0], [0.1, 0.0, 9.0]])
    assert mean_absolute(rho) == pytest.approx(0.2)
    assert np.isnan(mean_absolute(jnp.ones((1, 1))))


def test_histogram_is_numpys():
    rho = np.corrcoef(np.random.default_rng(0).normal(size=(30, 8))).astype(np.float32)
    wanted, _ = np.histogram(off_diagonal(rho), 10, (0, 1))
    found = histogram(jnp.asarray(rho), 10)
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-6)
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-6)


def test_histogram_counts_perfect_correlation_in_the_last_bin():
    # 1 + 2**-23: what rounding can make of a perfect correlation.
    for value in (1.0, -1.0, np.nextafter(np.float32(1), np.float32(2))):
        found = histogram(jnp.full((3, 3), value, jnp.float32))
        np.testing.assert_array_equal(found, np.eye(BINS)[-1])


def test_histogram_of_nan_is_nan():
    rho = jnp.eye(3).at[0, 1].set(jnp.nan)
    assert np.isnan(histogram(rho)).all()


# --- layers with positions -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def convolutional(data):
    """Trainer, variables and outputs of a network whose layers have 3 x 1 and 2 x 1 positions."""
    model = ConvNet(dataclasses.replace(MODEL.architecture, widths=(4, 5)), 3, (6, 1, 1))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 6)))
    logits, activations = jax.jit(model.apply)(variables, data.batch(...)[0])
    return Trainer(model, sgd(Optimisation()), 10), variables, logits, activations


def correlation(a):
    return np.corrcoef(np.asarray(a, np.float64).reshape(-1, a.shape[-1]).T)


@pytest.mark.slow
def test_with_room_for_all_positions_all_are_seen(convolutional, data):
    trainer, variables, logits, activations = convolutional
    found = jax.jit(evaluate, static_argnums=0)(trainer, variables, data)
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found.nll, -np.log(share[np.arange(47), data.labels]).mean(), rtol=1e-5)
    np.testing.assert_allclose(found.error, np.mean(logits.argmax(1) != data.labels), rtol=1e-6)
    for layer, a in enumerate(activations):
        np.testing.assert_allclose(found.correlation[layer], correlation(a), atol=1e-5)
        penalties = [(correlation(a[i : i + 10]) ** 2).sum() / (2 * a.shape[-1]) for i in (0, 10, 20, 30)]
        np.testing.assert_allclose(found.penalty[layer], np.mean(penalties), rtol=1e-5)


@pytest.mark.slow
def test_at_least_one_position_of_each_sample_is_seen(convolutional, data, monkeypatch):
    """`max_samples` is below the size of the set. So each sample gives one position, the same every time."""
    trainer, variables, _, activations = convolutional
    few = dataclasses.replace(trainer, max_samples=20)
    found, again = (jax.jit(evaluate, static_argnums=0)(few, variables, data) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, found, again)
    for layer, a in enumerate(activations):
        # One position of every sample has nearly the means and spreads of all positions.
        assert np.isfinite(found.correlation[layer]).all()
        np.testing.assert_allclose(found.correlation[layer], correlation(a), atol=0.6)
        assert not np.allclose(found.correlation[layer], correlation(a), atol=1e-4)
    seen_by_penalty = []
    penalty = lambda a: seen_by_penalty.append(a.shape) or jnp.mean(a)  # noqa: E731
    monkeypatch.setattr(evaluation, "correlation_penalty", penalty)
    jax.eval_shape(lambda: evaluate(few, variables, data))
    assert seen_by_penalty == [(10, 2, 4), (10, 2, 5)]
