"""The network against a forward pass in plain NumPy, its initial values, and where dropout acts."""

import dataclasses
import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import MLP
from decorr.config import Architecture
from decorr.models import slopes

KEY = jax.random.key(0)
CLASSES = 3
X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
PRELU = Architecture((8, 7, 4), "prelu", 0.25, "torch", input_dropout=True)
LEAKY = Architecture((8, 7, 4), "leaky_relu", 0.01, "flax", input_dropout=False)


@functools.partial(jax.jit, static_argnums=0)
def init(model, x):
    return model.init(KEY, x)


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, x, *rate, key=KEY):
    return model.apply({"params": params}, x, *rate, rngs={"dropout": key})


def network(architecture, x=X):
    model = MLP(architecture, CLASSES)
    return model, init(model, x)["params"]


def numpy_forward(params, x, slope):
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    activations = []
    for layer in (1, 2, 3):
        x = x @ params[f"hidden_{layer}"]["kernel"] + params[f"hidden_{layer}"]["bias"]
        alpha = params.get(f"slope_{layer}", slope)
        x = np.maximum(x, 0) + alpha * np.minimum(x, 0)
        activations.append(x)
    return x @ params["logits"]["kernel"] + params["logits"]["bias"], activations


@pytest.mark.parametrize(
    ("architecture", "shape"), [(PRELU, (2, 3, 6)), (LEAKY, (5, 6))], ids=["prelu", "leaky_relu"]
)
def test_forward_pass(architecture, shape):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    model, params = network(architecture, x)
    for layer in (1, 2, 3):  # slopes of their own, so that a mix-up shows
        if architecture.nonlinearity == "prelu":
            params = params | {f"slope_{layer}": jnp.float32(0.2 * layer)}
    found = apply(model, params, x)
    wanted = numpy_forward(params, x.astype(np.float64), architecture.negative_slope)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-6)
    assert isinstance(found[1], tuple)
    assert [x.shape for x in (*found[1], found[0])] == [(*shape[:-1], d) for d in (8, 7, 4, CLASSES)]
    for f, w in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-6)


def test_torch_initial_values_fill_their_bounds(check_fills_bound):
    _, params = network(dataclasses.replace(PRELU, widths=(400, 300, 200)), np.zeros((1, 250), np.float32))
    for name, fan_in in (("hidden_1", 250), ("hidden_2", 400), ("hidden_3", 300), ("logits", 200)):
        check_fills_bound(params[name], fan_in**-0.5)


def test_slopes_are_learned_only_by_prelu():
    model, params = network(PRELU)
    np.testing.assert_array_equal(slopes(params), [0.25] * 3)
    numbered = {f"slope_{layer}": jnp.float32(layer) for layer in (10, 2, 1)}
    np.testing.assert_array_equal(slopes(params | numbered | {"slope_3": jnp.float32(3)}), [1, 2, 3, 10])
    x = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)  # enough to make some unit negative
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, x)[0].sum()))(params)
    assert (slopes(gradient) != 0).all()
    _, fixed = network(LEAKY)
    assert set(fixed) == {"hidden_1", "hidden_2", "hidden_3", "logits"}
    assert slopes(fixed).shape == (0,)


@pytest.mark.parametrize("input_dropout", [False, True])
def test_activations_are_taken_before_dropout(input_dropout):
    model, params = network(dataclasses.replace(PRELU, input_dropout=input_dropout))
    _, plain = apply(model, params, X, 0.0)
    # If every input of a layer is dropped, its activations depend on its biases only, and are not zero.
    logits, dropped = apply(model, params, X, 1.0)
    bias = lambda name: np.broadcast_to(params[name]["bias"], (len(X), params[name]["bias"].size))  # noqa: E731
    for layer in (1, 2, 3):
        alone = bias(f"hidden_{layer}")
        wanted = plain[0] if layer == 1 and not input_dropout else np.where(alone > 0, alone, alone / 4)
        np.testing.assert_allclose(dropped[layer - 1], wanted, rtol=1e-6)
    np.testing.assert_array_equal(logits, bias("logits"))


def test_masks_are_drawn_anew_for_every_layer_and_key():
    architecture = dataclasses.replace(PRELU, widths=(6, 6, 6), input_dropout=False)
    model, params = network(architecture)
    one = {"kernel": np.eye(6, dtype=np.float32), "bias": np.zeros(6, np.float32)}
    params = params | {f"hidden_{layer}": one for layer in (1, 2, 3)}
    x = np.ones((200, 6), np.float32)
    first, second, third = map(np.asarray, apply(model, params, x, 0.5)[1])
    assert (first == 1).all()
    # The first mask keeps 1/2 and the first two together 1/4, so no mask is used twice.
    for kept, share in (((second != 0).mean(), 0.5), ((third != 0).mean(), 0.25)):
        assert abs(kept - share) < 4 * (share * (1 - share) / x.size) ** 0.5
    assert (apply(model, params, x, 0.5, key=jax.random.key(1))[1][1] != second).any()


def test_no_rate_needs_no_key():
    model, params = network(PRELU)
    plain, _ = jax.jit(model.apply)({"params": params}, X)
    with pytest.raises(flax.errors.InvalidRngError):
        jax.eval_shape(model.apply, {"params": params}, X, 0.3)
    np.testing.assert_allclose(apply(model, params, X, 0.0)[0], plain, rtol=1e-6)


def test_pixels_that_were_not_scaled_are_refused():
    with pytest.raises(TypeError, match=r"inputs .* floating-point dtype; got uint8"):
        MLP(PRELU, CLASSES).init(KEY, jnp.ones((1, 6), np.uint8))


def test_slopes_are_float32_whatever_jax_defaults_to():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        x = jax.ShapeDtypeStruct((1, 6), jnp.float64)
        params = jax.eval_shape(MLP(PRELU, CLASSES).init, KEY, x)["params"]
        leaves = jax.tree.leaves((params, jax.eval_shape(slopes, params)))
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


@pytest.mark.parametrize("normalisation", ["batch", "whiten"])
def test_layers_are_normalised_before_the_nonlinearity(normalisation):
    model = MLP(dataclasses.replace(PRELU, widths=(20, 4), normalisation=normalisation), CLASSES)
    x = np.random.default_rng(2).normal(size=(400, 6)).astype(np.float32)
    variables = init(model, x)
    trained = jax.jit(lambda variables: model.apply(variables, x, train=True, mutable=["batch_stats"]))
    (_, activations), changed = trained(variables)
    for layer, a in enumerate((np.asarray(a, np.float64) for a in activations), start=1):
        before = np.where(a > 0, a, a / PRELU.negative_slope)
        np.testing.assert_allclose(before.mean(0), 0, atol=1e-4)
        if normalisation == "batch" or layer > 1:  # 20 units that depend on 6 inputs cannot be white
            np.testing.assert_allclose(before.var(0), 1, rtol=0.05)
        if normalisation == "whiten" and layer == 2:
            np.testing.assert_allclose(np.cov(before.T), np.eye(4), atol=0.05)
    assert list(changed["batch_stats"]) == ["norm_1", "norm_2"]
    evaluated = jax.jit(lambda variables: model.apply(variables, x)[0])
    moved, still = (evaluated(variables | stats) for stats in (changed, {}))
    assert not np.allclose(moved, still)


@pytest.mark.parametrize(
    ("field", "typed", "meant"),
    [
        ("nonlinearity", "relu", "prelu"),
        ("initialisation", "torhc", "torch"),
        ("normalisation", "Batch", "batch"),
    ],
)
def test_an_architecture_of_unknown_words_is_refused(field, typed, meant):
    with pytest.raises(
        ValueError, match=rf"unknown {field} '{typed}' \(did you mean '{meant}'\?\): choose from"
    ):
        dataclasses.replace(PRELU, **{field: typed})
