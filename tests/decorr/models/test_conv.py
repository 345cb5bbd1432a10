"""The convolutional network against nn.Conv, its initial values, and where dropout acts."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from decorr import ConvNet
from decorr.config import Architecture

KEY = jax.random.key(0)
CLASSES = 3
SHAPE = (7, 6, 2)
"""An image shape with an odd and an even side."""
PRELU = Architecture((4, 5, 6), "prelu", 0.25, "torch", input_dropout=True)
LEAKY = Architecture((4, 5, 6), "leaky_relu", 0.01, "flax", input_dropout=False)
X = np.random.default_rng(0).normal(size=(5, math.prod(SHAPE))).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def init(model, x):
    return model.init(KEY, x)


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, x, *rate):
    return model.apply({"params": params}, x, *rate, rngs={"dropout": KEY})


def network(architecture):
    model = ConvNet(architecture, CLASSES, SHAPE)
    return model, init(model, X)["params"]


@jax.jit
def flax_forward(params, x, slope):
    """The same network built from Flax's own layers."""
    x, activations = x.reshape(-1, *SHAPE), []
    for layer in (1, 2, 3):
        hidden = params[f"hidden_{layer}"]
        x = nn.Conv(hidden["bias"].size, (3, 3), 2, padding=1).apply({"params": hidden}, x)
        x = nn.leaky_relu(x, params.get(f"slope_{layer}", slope))
        activations.append(x)
    return nn.Dense(CLASSES).apply({"params": params["logits"]}, x.reshape(len(x), -1)), activations


@pytest.mark.parametrize(
    ("architecture", "leading"), [(PRELU, (2, 3)), (LEAKY, ())], ids=["prelu", "leaky, one"]
)
def test_forward_pass(architecture, leading):
    x = np.random.default_rng(1).normal(size=(*leading, 84)).astype(np.float32)
    model, params = network(architecture)
    for layer in (1, 2, 3):  # slopes of their own, so that a mix-up shows
        if architecture.nonlinearity == "prelu":
            params = params | {f"slope_{layer}": jnp.float32(0.2 * layer)}
    logits, activations = apply(model, params, x)
    wanted = flax_forward(params, x, architecture.negative_slope)
    assert isinstance(activations, tuple)
    assert [a.shape for a in activations] == [(*leading, 4, 3, 4), (*leading, 2, 2, 5), (*leading, 1, 1, 6)]
    np.testing.assert_allclose(logits, wanted[0].reshape(*leading, CLASSES), rtol=1e-4, atol=1e-6)
    for found, w in zip(activations, wanted[1], strict=True):
        np.testing.assert_allclose(found, w.reshape(found.shape), rtol=1e-4, atol=1e-6)


def test_no_images():
    model, params = network(LEAKY)
    logits, activations = apply(model, params, X[:0])
    assert logits.shape == (0, CLASSES) and activations[0].shape == (0, 4, 3, 4)


def test_pixels_lie_as_in_a_split():
    """[sample, pixel], flattened as height, width, channel."""
    model, params = network(PRELU)
    images = np.zeros((5, *SHAPE), np.float32)
    images[1, 6, 0, 1] = 1
    first = np.asarray(apply(model, params, images.reshape(5, -1))[1][0])
    np.testing.assert_array_equal(np.argwhere((first[0] != first[1]).any(axis=-1)), [[3, 0]])


def test_torch_initial_values_fill_their_bounds(check_fills_bound):
    _, params = network(dataclasses.replace(PRELU, widths=(40, 50, 60)))
    for name, fan_in in (("hidden_1", 18), ("hidden_2", 360), ("hidden_3", 450), ("logits", 60)):
        check_fills_bound(params[name], fan_in**-0.5)


def test_flax_initial_values_are_those_of_nn_conv():
    _, params = network(dataclasses.replace(LEAKY, widths=(40, 50, 60)))
    assert set(params) == {"hidden_1", "hidden_2", "hidden_3", "logits"}
    kernel = np.asarray(params["hidden_3"]["kernel"])
    assert kernel.shape == (3, 3, 50, 60) and not params["hidden_3"]["bias"].any()
    assert kernel.var() == pytest.approx(1 / 450, rel=4 * (2 / kernel.size) ** 0.5)


def test_activations_are_taken_before_dropout():
    model, params = network(PRELU)
    # If every input of a layer is dropped, its activations depend on its biases only, and are not zero.
    logits, dropped = apply(model, params, X, 1.0)
    for layer, found in enumerate(dropped, start=1):
        alone = np.broadcast_to(params[f"hidden_{layer}"]["bias"], found.shape)
        np.testing.assert_allclose(found, np.where(alone > 0, alone, alone / 4), rtol=1e-6)
    np.testing.assert_array_equal(logits, np.broadcast_to(params["logits"]["bias"], logits.shape))


def test_networks_under_vmap_are_the_networks_alone():
    model, params = network(PRELU)
    many = jax.tree.map(lambda leaf: np.stack([leaf, 2 * np.asarray(leaf)]), params)
    found = jax.jit(jax.vmap(lambda params: apply(model, params, X)))(many)
    for i in range(2):
        alone = apply(model, jax.tree.map(lambda leaf, i=i: leaf[i], many), X)
        jax.tree.map(
            lambda f, w, i=i: np.testing.assert_allclose(f[i], w, rtol=1e-5, atol=1e-6), found, alone
        )


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((1, 84), np.uint8), TypeError, "ConvNet's inputs .* floating-point dtype; got uint8"),
        (
            np.ones((1, 64), np.float32),
            ValueError,
            r"the 84 pixels of flattened images \(7, 6, 2\); got \(1, 64\)",
        ),
        (np.ones((), np.float32), ValueError, r"84 pixels of .* got \(\)"),
    ],
)
def test_other_inputs_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        ConvNet(PRELU, CLASSES, SHAPE).init(KEY, x)
