"""Penalties and metrics of a PyTree of layers: names, weights, and error messages."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from decorr import correlation_penalty, decov_loss, layer_penalties
from decorr.diagnostics import (
    dormant_units,
    effective_units,
    layer_report,
    mean_square_correlation,
)


def activations():
    """Layers of one shape, so that each operation is compiled once."""
    first, second, head = jnp.asarray(np.random.default_rng(0).normal(size=(3, 12, 4)), jnp.float32)
    return {"blocks": [{"relu": (first,)}, {"relu": (second,)}], "head": head}


def test_the_total_is_the_weighted_sum_and_values_are_by_name():
    a = activations()
    total, values = layer_penalties(a, {"blocks/*": 0.5, "head": 2.0})
    assert list(values) == ["blocks/0/relu/0", "blocks/1/relu/0", "head"]
    assert values["blocks/1/relu/0"] == correlation_penalty(a["blocks"][1]["relu"][0])
    wanted = 0.5 * (values["blocks/0/relu/0"] + values["blocks/1/relu/0"]) + 2 * values["head"]
    assert float(total) == pytest.approx(float(wanted), rel=1e-6)


def test_the_first_pattern_counts_and_other_layers_have_none():
    total, values = layer_penalties(activations(), {"blocks/1/*": 3.0, "blocks/?/relu/0": 1.0})
    assert "head" not in values
    assert float(total) == pytest.approx(float(3 * values["blocks/1/relu/0"] + values["blocks/0/relu/0"]))


@pytest.mark.filterwarnings("error")
def test_the_weight_none_leaves_a_layer_out():
    total, values = layer_penalties(activations(), {"blocks/*": None, "*": 2.0})
    assert list(values) == ["head"] and total == 2 * values["head"]


def test_another_penalty_with_its_options():
    valid = np.arange(12) < 7
    total, values = layer_penalties(activations(), {"head": 1.0}, functools.partial(decov_loss, where=valid))
    assert total == values["head"]
    assert float(total) == pytest.approx(float(decov_loss(activations()["head"][:7])), rel=1e-5)


def test_a_traced_weight_compiles_nothing_anew():
    traces = []
    schedule = optax.linear_schedule(1.0, 0.0, 5)

    @jax.jit
    def loss(a, step):
        traces.append(step)
        return layer_penalties(a, {"*": schedule(step)})[0]

    values = [float(loss(activations(), step)) for step in range(6)]
    assert len(traces) == 1 and values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-6)


def test_where_float64_is_at_hand_float32_stays(float64):
    a = {"head": jnp.asarray(activations()["head"], jnp.float32)}
    assert layer_penalties(a, {"*": 0.5})[0].dtype == jnp.float32


def test_gradients_reach_the_layers_that_have_a_weight():
    gradient = jax.jit(jax.grad(lambda a: layer_penalties(a, {"head": 1.0})[0]))(activations())
    assert np.abs(gradient["head"]).max() > 0
    np.testing.assert_array_equal(gradient["blocks"][0]["relu"][0], 0)


def test_one_weight_for_layers_of_any_width():
    """If units share a cause, the gradient grows with the root of the width."""
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(64, 1))
    a = {str(d): jnp.asarray(cause + rng.normal(size=(64, d)), jnp.float32) for d in (16, 64)}

    @jax.jit
    def sizes(a):
        gradients = [
            jax.grad(lambda a, width=width: layer_penalties(a, {"*": 0.1}, reference_width=width)[0])(a)
            for width in (None, 32)
        ]
        return [jax.tree.map(jnp.linalg.norm, gradient) for gradient in gradients]

    plain, alike = sizes(a)
    assert float(plain["64"] / plain["16"]) == pytest.approx(2, rel=0.15)
    assert float(alike["64"] / alike["16"]) == pytest.approx(1, rel=0.15)
    assert float(alike["16"] / plain["16"]) == pytest.approx(2**0.5, rel=1e-5)
    with pytest.raises(ValueError, match="reference_width must be >= 1; got 0"):
        layer_penalties(a, {"*": 0.1}, reference_width=0)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("relu", ""), ("Head", "did you mean 'head'?"), ("block/0/relu/*", "did you mean 'blocks/0/relu/0'?")],
)
def test_a_pattern_without_a_layer(pattern, hint):
    named = re.escape(f"no layer is named {pattern!r}" + (f" ({hint})" if hint else ""))
    with pytest.raises(ValueError, match=rf"^{named}; the layers are blocks/0/relu/0, .*, head$"):
        layer_penalties(activations(), {"*": 1.0, pattern: 1.0})


@pytest.mark.parametrize("weights", [0.1, [0.1, 0.2], "*"])
def test_weights_that_are_not_by_pattern(weights):
    with pytest.raises(
        TypeError,
        match=r"weights must map patterns to weights, like {'\*': 0\.002}; got " + re.escape(repr(weights)),
    ):
        layer_penalties(activations(), weights)


def test_brackets_are_brackets():
    a = {"h[0]": activations()["head"], "h0": activations()["head"]}
    assert list(layer_penalties(a, {"h[0]": 1.0})[1]) == ["h[0]"]


def test_two_layers_of_one_name():
    a = activations()["head"]
    with pytest.raises(ValueError, match=r"^two layers are named 'a/b': give them other keys$"):
        layer_penalties({"a/b": a, "a": {"b": a}}, {"*": 1.0})


def test_an_array_alone():
    a = activations()["head"]
    assert layer_penalties(a, {"*": 1.0})[1] == {"": correlation_penalty(a)}
    with pytest.raises(ValueError, match=r"^no layer is named 'head'; the layers are '' \(an array alone\)$"):
        layer_penalties(a, {"head": 1.0})


def test_no_layer_at_all():
    with pytest.raises(ValueError, match="the layers are none"):
        layer_penalties({}, {"*": 1.0})


def test_an_error_names_the_layer():
    with pytest.raises(ValueError, match=r"layer logits: activations must have shape .*\(3,\)"):
        layer_penalties({"logits": jnp.ones(3)}, {"*": 1.0})
    with pytest.raises(TypeError, match=r"layer ids: .*int32"):
        layer_penalties({"ids": jnp.ones((3, 2), jnp.int32)}, {"*": 1.0})
    branching = lambda a: a.sum() if a.sum() > 0 else 0.0  # noqa: E731
    with pytest.raises(TypeError, match=r"layer head: Attempted boolean conversion of traced array"):
        jax.jit(lambda a: layer_penalties(a, {"head": 1.0}, branching))(activations())


def test_what_is_no_scalar_names_its_layer_or_pattern():
    stacked = jnp.stack([activations()["head"]] * 3)  # [layer, sample, unit], from a scan
    with pytest.raises(ValueError, match=r"^layer blocks: a penalty must be a scalar; got shape \(3,\)$"):
        layer_penalties({"blocks": stacked}, {"*": 1.0}, jax.vmap(correlation_penalty))
    with pytest.raises(ValueError, match=r"^the weight of 'head' must be a scalar; got shape \(3,\)$"):
        layer_penalties(activations(), {"head": jnp.ones(3)})


def test_no_weight_is_no_penalty():
    total, values = layer_penalties(activations(), {})
    assert total == 0 and values == {}


# Reports ---------------------------------------------------------------------------------------------------


def test_a_report_has_each_layers_metrics_by_name():
    a = activations()
    a["head"] = a["head"].at[:, 1].set(0.0)
    report = jax.jit(layer_report)(a)
    assert list(report) == ["blocks/0/relu/0", "blocks/1/relu/0", "head"]
    values = report["head"]
    assert values["dormant"] == 0.25 == dormant_units(a["head"]).mean()
    wanted = {
        "effective_units": effective_units(a["head"]),
        "mean_square_correlation": mean_square_correlation(a["head"]),
    }
    assert {*values} == {*wanted, "dormant"}
    for name, value in wanted.items():
        assert float(values[name]) == pytest.approx(float(value), rel=1e-5)


def test_a_report_of_other_metrics_hands_on_what_is_said_of_the_samples():
    seen = []

    def metric(a, **stat):
        seen.append(stat)
        return a.max()

    valid, a = np.arange(12) < 7, activations()["head"]
    assert layer_report({"h": a}, {"largest": metric}) == {"h": {"largest": a.max()}}
    layer_report({"h": a}, {"largest": metric}, where=valid, axis_name="data")
    assert seen == [{}, {"where": valid, "axis_name": "data"}]
    assert layer_report({}) == {}


def test_what_no_report_can_be_made_of():
    a = activations()["head"]
    with pytest.raises(TypeError, match=r"metrics must map names to functions, .*; got <function"):
        layer_report(a, effective_units)
    with pytest.raises(ValueError, match=r"^layer head, dead: a metric must be a scalar; got shape \(4,\)$"):
        layer_report({"head": a}, {"dead": dormant_units})
    with pytest.raises(ValueError, match=r"^layer head, effective_units: activations must have shape"):
        layer_report({"head": a[0]})
