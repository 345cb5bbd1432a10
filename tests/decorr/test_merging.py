"""Merges redundant units in a stack of dense layers, and compares forward passes in NumPy."""

import itertools

import numpy as np
import pytest

from decorr import merge_network, merge_units

X, OTHERS = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
SLOPES = (0.25, 0.5)
LEAKY = [lambda h, slope=slope: np.maximum(h, slope * h) for slope in SLOPES]


def network():
    """A 3-6-5-2 network. Each hidden layer has a scaled copy of a unit, and a constant unit."""
    rng = np.random.default_rng(1)
    sizes = (3, 6, 5, 2)
    layers = [
        {"kernel": rng.normal(size=(i, o)).astype(np.float32), "bias": rng.normal(size=o).astype(np.float32)}
        for i, o in itertools.pairwise(sizes)
    ]
    for layer, (unit, copied) in zip(layers, ((4, 1), (0, 3)), strict=False):
        for name in ("kernel", "bias"):
            layer[name][..., unit] = 2 * layer[name][..., copied]
    layers[0]["kernel"][:, 2] = 0
    return layers


def outputs(layers, x):
    layers = [{name: np.asarray(x) for name, x in layer.items()} for layer in layers]
    for layer, leaky in zip(layers[:-1], LEAKY, strict=True):
        x = leaky(x @ layer["kernel"] + layer["bias"])
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def test_what_is_redundant_in_every_layer_goes_and_the_outputs_stay():
    layers = network()
    merged = merge_network(X, layers, LEAKY)
    assert [len(kept) for kept in merged.kept] == [4, 4]
    assert [np.shape(layer["kernel"]) for layer in merged.layers] == [(3, 4), (4, 4), (4, 2)]
    for x in (X, OTHERS):
        np.testing.assert_allclose(outputs(merged.layers, x), outputs(layers, x), rtol=1e-4, atol=1e-4)
    assert max(merged.errors) < 1e-5
    np.testing.assert_array_equal(layers[1]["kernel"], network()[1]["kernel"])  # the given layers stay


def test_a_layer_is_compared_as_the_merged_network_has_it():
    layers, where = network(), np.arange(40) < 30
    merged = merge_network(X, layers, LEAKY, threshold=0.6, where=where)
    first, second, last = layers
    h = LEAKY[0](X @ first["kernel"] + first["bias"])
    one = merge_units(h, first, second["kernel"], second["bias"], threshold=0.6, where=where)
    h = LEAKY[1](h[:, one.kept] @ np.asarray(one.kernel) + np.asarray(one.bias))
    incoming = {"kernel": one.kernel, "bias": one.bias}
    two = merge_units(h, incoming, last["kernel"], last["bias"], threshold=0.6, where=where)
    np.testing.assert_array_equal(merged.kept[0], one.kept)
    np.testing.assert_array_equal(merged.kept[1], two.kept)
    np.testing.assert_allclose(merged.layers[2]["kernel"], two.kernel, rtol=1e-4)
    np.testing.assert_allclose(merged.errors, [one.error, two.error], rtol=1e-3)
    assert len(one.kept) < 4 and one.error > 0.01


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda layers: layers[:1], ">= 2 layers, including the output layer; got 1"),
        (lambda layers: [{"kernel": layers[0]["kernel"]}, *layers[1:]], "layer 0 has no bias"),
        (lambda layers: [layers[0], layers[2]], r"layer 1 must have a kernel \[6, unit\] .* got \(5, 2\)"),
    ],
)
def test_what_is_no_stack_of_dense_layers(change, says):
    with pytest.raises(ValueError, match=says):
        merge_network(X, change(network()))


def test_nonlinearities_are_one_a_hidden_layer():
    with pytest.raises(ValueError, match="one nonlinearity for each of the 2 hidden layers; got 1"):
        merge_network(X, network(), LEAKY[:1])
