"""The objective against SciPy and NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from decorr.training.objective import error_rate, negative_log_likelihood, regularised_loss


def batch(shape=(8,), classes=4):
    rng = np.random.default_rng(0)
    logits = 10 * rng.normal(size=(*shape, classes))
    return logits, rng.integers(0, classes, shape, np.int32)


@pytest.mark.parametrize("shape", [(8,), (2, 3)])
def test_negative_log_likelihood(float64, shape):
    logits, labels = batch(shape)
    chosen = np.take_along_axis(log_softmax(logits, axis=-1), labels[..., None], axis=-1)
    found = negative_log_likelihood(jnp.asarray(logits), jnp.asarray(labels))
    assert float(found) == pytest.approx(-chosen.mean(), rel=1e-12)


@pytest.mark.parametrize("shape", [(8,), (2, 3)])
def test_error_rate(shape):
    logits, labels = batch(shape)
    found = error_rate(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    assert found == pytest.approx(np.mean(logits.argmax(axis=-1) != labels)) and found.dtype == jnp.float32


def test_extreme_logits_are_finite():
    logits, labels = jnp.array([[1e4, -1e4, 0], [0, 1e4, -1e4]]), jnp.array([1, 1])
    assert negative_log_likelihood(logits, labels) == 1e4
    assert error_rate(logits, labels) == 0.5


def test_nan_logits_guess_the_first_class():
    assert error_rate(jnp.full((4, 3), jnp.nan), jnp.array([0, 1, 2, 0])) == 0.5


def test_the_penalty_is_the_weighted_sum_over_layers(float64):
    logits, labels = batch()
    rng = np.random.default_rng(1)
    layers = [rng.normal(size=(8, d)) for d in (5, 12)]
    penalty = sum(np.sum(np.corrcoef(a, rowvar=False) ** 2) / (2 * a.shape[1]) for a in layers)
    activations = tuple(jnp.asarray(a) for a in layers)
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    plain = float(negative_log_likelihood(logits, labels))
    loss = jax.jit(lambda weight: regularised_loss(logits, labels, activations, weight))
    assert float(loss(0.3)) == pytest.approx(plain + 0.3 * penalty, rel=1e-12)
    assert float(loss(0.0)) == pytest.approx(plain, rel=1e-12)
    assert float(loss(None)) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("function", [error_rate, negative_log_likelihood])
@pytest.mark.parametrize(
    "labels", [np.zeros((8, 1), np.int32), np.zeros(7, np.int32), np.zeros(8, np.float32)]
)
def test_labels_that_do_not_fit_the_logits_are_refused(function, labels):
    kind, says = (TypeError, "integers") if labels.dtype == np.float32 else (ValueError, "one label for each")
    with pytest.raises(kind, match=says):
        function(jnp.zeros((8, 3)), jnp.asarray(labels))


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_makes_the_loss_nan(label):
    assert np.isnan(negative_log_likelihood(jnp.zeros((2, 3)), jnp.array([0, label])))


def test_activations_are_one_array_a_layer_of_the_same_batch():
    logits, labels = batch()
    logits, labels, layer = jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.ones((8, 5))
    with pytest.raises(ValueError, match="same samples"):
        regularised_loss(logits, labels, (layer, jnp.ones((6, 5))), 0.1)
    for array in (layer, jnp.stack([layer] * 8)):
        with pytest.raises(TypeError, match="one array for each layer"):
            regularised_loss(logits, labels, array, 0.1)
