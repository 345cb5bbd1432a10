"""Redundant units against numpy.corrcoef and numpy.polyfit, and in a network that runs without them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from decorr import MLP, correlation_matrix, merge_units
from decorr.config import Architecture
from decorr.diagnostics import redundant_pairs

D, OUTPUTS = 5, 3


def activations(m=200, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(m, d))


def layers(d=D, seed=1):
    """Returns incoming, kernel and bias around a layer of d units."""
    rng = np.random.default_rng(seed)
    incoming = {"kernel": rng.normal(size=(4, d)), "bias": rng.normal(size=d)}
    return jax.tree.map(jnp.asarray, (incoming, rng.normal(size=(d, OUTPUTS)), rng.normal(size=OUTPUTS)))


def alike(a, into, of, rho, seed=2):
    """Returns a, with unit `into` changed so that its correlation with unit `of` is exactly rho."""
    a, x = a.copy(), a[:, of] - a[:, of].mean()
    noise = np.random.default_rng(seed).normal(size=len(a))
    noise -= noise.mean()
    noise -= x * (noise @ x) / (x @ x)
    a[:, into] = rho * x / np.linalg.norm(x) + np.sqrt(1 - rho**2) * noise / np.linalg.norm(noise)
    a[:, into] = 3 * np.sqrt(len(a)) * a[:, into] - 2
    return a


def received(a, kernel, bias):
    return np.asarray(a, np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)


# Pairs.


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.9, 1.0])
def test_pairs_are_those_of_a_loop(threshold):
    a = activations(40, 12)
    a[:, 7] = 2 - a[:, 3]
    rho = np.corrcoef(a, rowvar=False)
    loop = [(i, j) for i in range(12) for j in range(i + 1, 12) if abs(rho[i, j]) >= threshold - 1e-9]
    pairs = redundant_pairs(rho, threshold)
    assert pairs.shape == (len(loop), 2) and np.issubdtype(pairs.dtype, np.integer)
    assert sorted(map(tuple, pairs)) == loop and (3, 7) in loop
    strength = np.abs(rho[tuple(pairs.T)])
    assert (np.diff(strength) <= 0).all()


@pytest.mark.parametrize("m", [3, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_duplicates_reach_the_threshold_1(m, dtype):
    x = jnp.asarray(activations(m, 8), dtype)
    a = jnp.concatenate([x, x, -2 * x], axis=1)
    pairs = redundant_pairs(correlation_matrix(a), 1.0)
    wanted = {(i, i + 8) for i in range(16)} | {(i, i + 16) for i in range(8)}
    assert set(map(tuple, pairs.tolist())) == wanted


def test_duplicates_of_units_that_rarely_fire_reach_the_threshold_1():
    """The sums of squares in a float32 product are off by 50 roundings and more."""
    x = np.maximum(np.random.default_rng(1).normal(size=(1000, 64)) - np.linspace(0, 2.5, 64), 0)
    x = jnp.asarray(x[:, (x > 0).sum(axis=0) > 1], jnp.float32)
    rho = np.array(correlation_matrix(jnp.concatenate([x, 2 * x], axis=1)))
    d = x.shape[1]
    # Set to the largest errors that were seen, because this processor's product may have smaller ones.
    rho[1, 1], rho[1, d + 1], rho[d + 1, d + 1] = np.float32([1.000012, 1.000012, 1.000012])
    rho[2, 2], rho[2, d + 2], rho[d + 2, d + 2] = np.float32([0.999988, 0.999988, 0.999988])
    wanted = {(i, i + d) for i in range(d)}
    assert wanted <= set(map(tuple, redundant_pairs(rho, 1.0).tolist()))
    below = np.tril(np.full((2 * d, 2 * d), 7, np.float32), -1)
    np.testing.assert_array_equal(redundant_pairs(np.triu(rho) + below, 1.0), redundant_pairs(rho, 1.0))


def test_uncorrelated_units_are_in_no_pair():
    assert len(redundant_pairs(np.eye(4, dtype=np.float32), 1e-9)) == 0


def test_equally_strong_pairs_are_in_order():
    rho = np.full((4, 4), -0.5)
    np.testing.assert_array_equal(redundant_pairs(rho, 0.5), [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


@pytest.mark.parametrize("undefined", [0.0, np.nan])
def test_a_constant_unit_is_in_no_pair(undefined):
    a = activations(30, 4)
    a[:, 1], a[:, 2] = 0.1, a[:, 0]
    rho = correlation_matrix(jnp.asarray(a), undefined=undefined)
    np.testing.assert_array_equal(redundant_pairs(rho, 0.9), [[0, 2]])
    assert redundant_pairs(rho[:2, :2], 0.9).shape == (0, 2)


# Merging: exact.


PRELU = Architecture((9, 6, 4), "prelu", 0.25, "torch", input_dropout=False)
LEAKY = Architecture((9, 6, 4), "leaky_relu", 0.01, "flax", input_dropout=False)


def network(architecture, dtype=jnp.float32):
    """An MLP with redundant units in its first layer. Units 2, 4 and 5 are unit 0 times 1, 3 and -1 before
    the nonlinearity. Units 3 and 7 have only a bias, so they are constant."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(400, 7)), jnp.float32)
    model = MLP(architecture, classes=10)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    x, params = jax.tree.map(lambda p: p.astype(dtype), (x, params))
    kernel, bias = (np.array(params["hidden_1"][name]) for name in ("kernel", "bias"))
    for unit, factor in {2: 1.0, 4: 3.0, 5: -1.0}.items():
        kernel[:, unit], bias[unit] = factor * kernel[:, 0], factor * bias[0]
    kernel[:, [3, 7]], bias[[3, 7]] = 0, [0.7, -0.4]
    return model, params | {"hidden_1": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}, x


def run(model, params, x):
    """Runs the network compiled, which is faster than operation by operation."""
    return jax.jit(model.apply)({"params": params}, x)


def pruned(architecture, params, x, **options):
    """Merges the first layer's units as the docstring of `merge_units` shows."""
    _, a = run(MLP(architecture, classes=10), params, x)
    merged = merge_units(a[0], params["hidden_1"], **params["hidden_2"], **options)
    params = params | {"hidden_1": merged.incoming}
    params |= {"hidden_2": {"kernel": merged.kernel, "bias": merged.bias}}
    widths = (len(merged.kept), *architecture.widths[1:])
    return MLP(dataclasses.replace(architecture, widths=widths), classes=10), params, merged


@pytest.mark.parametrize("architecture", [PRELU, LEAKY], ids=["prelu", "leaky_relu"])
def test_a_network_without_its_duplicates_says_the_same(architecture):
    model, params, x = network(architecture)
    smaller, fewer, merged = pruned(architecture, params, x, threshold=0.9999)
    # Negation does not pass through a leaky ReLU, so unit 5 is no duplicate.
    np.testing.assert_array_equal(merged.kept, [0, 1, 5, 6, 8])
    assert merged.error < 1e-6
    other = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)  # exact for any input
    np.testing.assert_allclose(run(smaller, fewer, other)[0], run(model, params, other)[0], atol=2e-6)
    same = jax.tree.map(lambda old, new: old.dtype == new.dtype, params, fewer)
    assert jax.tree.all(same)


def test_in_float64_too(float64):
    model, params, x = network(LEAKY, jnp.float64)
    smaller, fewer, merged = pruned(LEAKY, params, x, threshold=1.0)
    assert len(merged.kept) == 5 and merged.error < 1e-14
    np.testing.assert_allclose(run(smaller, fewer, x)[0], run(model, params, x)[0], rtol=1e-12, atol=1e-14)


def test_affine_copies_of_a_linear_unit(float64):
    """Copies are negated, scaled and shifted. No nonlinearity stands between the units and the next layer."""
    a = activations(60, 6)
    a[:, 1], a[:, 3], a[:, 4] = -a[:, 2], 100 * a[:, 2] + 3, 5 - 1e-3 * a[:, 0]
    incoming, kernel, bias = layers(6)
    merged = merge_units(a, incoming, kernel, bias, threshold=1.0)
    np.testing.assert_array_equal(merged.kept, [0, 1, 5])
    np.testing.assert_allclose(
        received(a[:, merged.kept], merged.kernel, merged.bias),
        received(a, kernel, bias),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_array_equal(merged.incoming["kernel"], incoming["kernel"][:, merged.kept])
    np.testing.assert_array_equal(merged.incoming["bias"], incoming["bias"][merged.kept])
    assert merged.error < 1e-12


def test_nothing_alike_nothing_changed():
    a = activations()
    incoming, kernel, bias = layers()
    merged = merge_units(a, incoming, kernel, bias)
    np.testing.assert_array_equal(merged.kept, np.arange(D))
    np.testing.assert_array_equal(merged.kernel, kernel)
    np.testing.assert_array_equal(merged.bias, bias)
    assert merged.error == 0


def test_constant_units_only():
    a = np.tile(np.asarray([0.1, 0, -3, 7, 1e-20], np.float32), (20, 1))
    a[::2, 3] = np.nextafter(np.float32(7), np.float32(8))  # rounding is no variation
    incoming, kernel, bias = layers()
    merged = merge_units(a, incoming, kernel, bias)
    assert len(merged.kept) == 0 and merged.error == 0
    assert merged.kernel.shape == (0, OUTPUTS) and merged.incoming["kernel"].shape == (4, 0)
    np.testing.assert_allclose(merged.bias, received(a[0], kernel, bias), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_small_and_large_units(scale):
    a = (scale * activations()).astype(np.float32)
    a[:, 3] = 2 * a[:, 1]
    incoming, kernel, bias = layers()
    merged = merge_units(a, incoming, kernel, bias, threshold=1.0)
    np.testing.assert_array_equal(merged.kept, [0, 1, 2, 4])
    np.testing.assert_allclose(merged.kernel[1], kernel[1] + 2 * kernel[3], rtol=1e-6)
    np.testing.assert_allclose(merged.bias, bias, rtol=1e-6, atol=1e-14 * scale)


# Merging: nearly.


@pytest.mark.parametrize(("threshold", "kept"), [(0.949, 4), (0.951, 5)])
def test_the_threshold_divides(threshold, kept):
    a = alike(activations(), into=3, of=1, rho=-0.95)
    assert len(merge_units(a, *layers(), threshold=threshold).kept) == kept


def test_error_is_what_the_network_shows():
    model, params, x = network(PRELU)
    noise = 0.03 * np.random.default_rng(4).normal(size=params["hidden_1"]["kernel"].shape)
    params["hidden_1"]["kernel"] += noise.astype(np.float32)
    smaller, fewer, merged = pruned(PRELU, params, x, threshold=0.9)
    assert len(merged.kept) < 8

    def preactivations(model, params):
        apply = jax.jit(partial(model.apply, capture_intermediates=True, mutable=["intermediates"]))
        _, state = apply({"params": params}, x)
        return np.asarray(state["intermediates"]["hidden_2"]["__call__"][0], np.float64)

    before, after = preactivations(model, params), preactivations(smaller, fewer)
    change, spread = np.mean((after - before) ** 2), np.mean(before.var(axis=0))
    assert 1e-3 < merged.error < 0.5
    np.testing.assert_allclose(merged.error, np.sqrt(change / spread), rtol=1e-5)


def test_a_chain_is_not_merged_through_its_ends():
    """a ~ b ~ c, but not a ~ c: b predicts both others, so b is kept."""
    rng = np.random.default_rng(0)
    b, noise = rng.normal(size=(2, 4000))
    a = np.stack([b + 0.3 * noise, rng.normal(size=4000), b, b - 0.3 * noise], axis=1)
    rho = np.abs(np.corrcoef(a, rowvar=False))
    assert rho[0, 2] > 0.92 and rho[2, 3] > 0.92 and rho[0, 3] < 0.9
    merged = merge_units(a, *layers(4), threshold=0.92)
    np.testing.assert_array_equal(merged.kept, [1, 2])


def test_who_predicts_most_of_those_not_yet_decided_on():
    """Only unit 0 predicts more units than 4, which predicts 4. Unit 0 removes 3 of these, so unit 5 comes
    next."""
    edges = [(0, 1), (0, 2), (0, 3), (0, 8), (0, 9), (1, 4), (2, 4), (3, 4), (4, 5), (5, 6), (5, 7)]
    rho = np.eye(10)
    for i, j in edges:
        rho[i, j] = rho[j, i] = 0.15
    white = np.linalg.qr(activations(100, 11) * [0, *[1] * 10] + [1, *[0] * 10])[0][:, 1:]
    merged = merge_units(white @ np.linalg.cholesky(rho).T, *layers(10), threshold=0.1)
    np.testing.assert_array_equal(merged.kept, [0, 5])


def test_the_partner_is_the_strongest_and_no_pair_is_left(float64):
    """Checks each rule on correlated units."""
    rng = np.random.default_rng(5)
    a = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 40)) + 0.1 * rng.normal(size=(500, 40))
    _, kernel, bias = layers(40)
    merged = merge_units(a, np.arange(40), kernel, bias, threshold=0.8)
    rho = np.abs(np.corrcoef(a, rowvar=False))
    kept, removed = merged.kept, np.setdiff1d(np.arange(40), merged.kept)
    assert 10 < len(kept) < 30
    assert rho[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)].max() < 0.8
    assert rho[np.ix_(removed, kept)].max(axis=1).min() >= 0.8
    wanted_kernel, wanted_bias = np.array(kernel, np.float64), np.array(bias, np.float64)
    for j in removed:
        i = kept[rho[j, kept].argmax()]
        slope, intercept = np.polyfit(a[:, i], a[:, j], 1)
        wanted_kernel[i] += slope * np.asarray(kernel)[j]
        wanted_bias += intercept * np.asarray(kernel)[j]
    np.testing.assert_allclose(merged.kernel, wanted_kernel[kept], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(merged.bias, wanted_bias, rtol=1e-10, atol=1e-11)
    np.testing.assert_array_equal(merged.incoming, kept)


def test_nothing_left_to_vary():
    """The next layer received only the difference of two nearly equal units, and all of it is lost."""
    a = alike(activations(50, 2), into=1, of=0, rho=0.99)
    slope, _ = np.polyfit(a[:, 0], a[:, 1], 1)
    merged = merge_units(a, [], jnp.asarray([[-slope], [1.0]]), jnp.zeros(1), threshold=0.9)
    np.testing.assert_allclose(merged.error, 1, rtol=1e-3)


# A convolution.


def test_a_convolution_is_exact_away_from_its_border():
    rng = np.random.default_rng(6)
    a = rng.normal(size=(8, 6, 6, 4)).astype(np.float32)
    a[..., 2] = 1 - 2 * a[..., 0]
    kernel, bias = jnp.asarray(rng.normal(size=(3, 3, 4, 5)), jnp.float32), jnp.zeros(5)
    merged = merge_units(a, rng.normal(size=(3, 3, 2, 4)), kernel, bias, threshold=1.0)
    np.testing.assert_array_equal(merged.kept, [0, 1, 3])
    assert merged.incoming.shape == (3, 3, 2, 3) and merged.error < 1e-6

    def convolve(a, kernel, bias):
        dimensions = ("NHWC", "HWIO", "NHWC")
        found = jax.lax.conv_general_dilated(
            jnp.asarray(a), kernel, (1, 1), "SAME", dimension_numbers=dimensions, precision="highest"
        )
        return np.asarray(found + bias[None, None, None])

    change = np.abs(convolve(a[..., merged.kept], merged.kernel, merged.bias) - convolve(a, kernel, bias))
    assert change[:, 1:-1, 1:-1].max() < 1e-4 < change.max()


def test_a_dense_layer_after_flattened_positions():
    rng = np.random.default_rng(7)
    a = rng.normal(size=(50, 3, 4))
    a[..., 2] = 1 - 2 * a[..., 0]
    _, kernel, bias = layers(12)
    merged = merge_units(a, [], kernel.reshape(3, 4, OUTPUTS), bias, threshold=1.0)
    found = received(a[..., merged.kept].reshape(50, 9), merged.kernel.reshape(9, OUTPUTS), merged.bias)
    np.testing.assert_allclose(found, received(a.reshape(50, 12), kernel, bias), rtol=1e-4, atol=1e-5)


# Which samples count, and with what weight.


def test_padding_is_not_looked_at(float64):
    a = alike(activations(60), into=3, of=1, rho=0.95).reshape(3, 20, D)
    where = np.random.default_rng(8).random((3, 20)) < 0.7
    whole = merge_units(a[where], *layers(), threshold=0.9)
    padded = merge_units(np.where(where[..., None], a, np.nan), *layers(), threshold=0.9, where=where)
    weighted = merge_units(a, *layers(), threshold=0.9, weights=np.where(where, 2.0, 0.0))
    assert len(whole.kept) == D - 1
    for other in (padded, weighted):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), whole, other)


def test_weights_count_as_repetitions_and_as_numpys(float64):
    a = alike(activations(60), into=3, of=1, rho=0.9)
    weights = np.random.default_rng(9).integers(0, 4, 60)
    repeated = merge_units(np.repeat(a, weights, axis=0), *layers(), threshold=0.8)
    weighted = merge_units(a, *layers(), threshold=0.8, weights=weights)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), repeated, weighted)
    covariance = np.cov(a[:, [1, 3]], rowvar=False, aweights=weights)
    _, kernel, _ = layers()
    slope = covariance[0, 1] / covariance[0, 0]
    np.testing.assert_allclose(weighted.kernel[1], kernel[1] + slope * kernel[3], rtol=1e-12)


def test_where_and_weights_broadcast():
    a = activations(60).reshape(3, 20, D)
    every = merge_units(a[:2], *layers(), threshold=0.05)
    some = merge_units(a, *layers(), threshold=0.05, where=[[True], [True], [False]], weights=np.ones(20))
    jax.tree.map(np.testing.assert_array_equal, every, some)


def test_arguments_on_an_explicit_mesh():
    mesh = jax.make_mesh((2,), ("device",), axis_types=(AxisType.Explicit,))
    a = activations(60, 6).astype(np.float32)
    a[:, 4] = -a[:, 2]
    arguments = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (a, *layers(6)))
    spread = [PartitionSpec("device"), {"kernel": PartitionSpec(None, "device"), "bias": PartitionSpec()}]
    spread += [PartitionSpec("device"), PartitionSpec()]
    placed = jax.tree.map(
        lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec)), arguments, tuple(spread)
    )
    jax.tree.map(np.testing.assert_array_equal, merge_units(*arguments), merge_units(*placed))


# What is refused.


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, np.nan])
def test_a_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"the threshold must be an absolute correlation in \(0, 1\]; got"):
        redundant_pairs(np.eye(3), threshold)
    with pytest.raises(ValueError, match=r"the threshold must be an absolute correlation in \(0, 1\]; got"):
        merge_units(activations(), *layers(), threshold=threshold)


@pytest.mark.parametrize(
    ("rho", "error", "message"),
    [
        (np.ones(3), ValueError, r"correlations must have shape \[unit, unit\]; got \(3,\)"),
        (np.ones((3, 2)), ValueError, r"correlations must have shape \[unit, unit\]; got \(3, 2\)"),
        (2 * np.eye(3), ValueError, r"correlations must be in \[-1, 1\]; got 2"),
        (np.eye(3, dtype=int), TypeError, "correlations must have a real floating-point dtype; got int64"),
    ],
)
def test_no_correlations(rho, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        redundant_pairs(rho, 0.9)


A = np.ones((7, 2, D), np.float32)
INCOMING, KERNEL, BIAS = {"bias": np.ones(D)}, np.ones((D, OUTPUTS)), np.ones(OUTPUTS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": A[0, 0]}, r"activations must have shape \[..., unit\] \(2-D or more\); got \(5,\)"),
        (
            {"incoming": {"bias": np.ones(6)}},
            r"incoming\['bias'\] must have shape \[..., unit\] for 5 units; got \(6,\)",
        ),
        ({"incoming": np.float32(1)}, r"incoming must have shape \[..., unit\] for 5 units; got \(\)"),
        (
            {"kernel": KERNEL.T},
            r"the kernel must have .* for 5 units; got \(3, 5\): its transpose fits, .*\.T",
        ),
        (
            {"incoming": np.ones((5, 2), np.float32)},
            r"incoming must have .* got \(5, 2\): its transpose fits, .*\.T",
        ),
        ({"kernel": KERNEL[1:]}, r"the kernel must have .* got \(4, 3\)"),
        ({"kernel": KERNEL[0]}, r"the kernel must have shape \[..., unit, output\] for 5 units; got \(3,\)"),
        ({"bias": np.ones(D)}, r"the bias must have the shape \(3,\) of the outputs; got \(5,\)"),
        ({"where": np.ones(7, bool)}, r"where must be broadcastable .*\(7, 2\) .*; got \(7,\)"),
        ({"weights": np.ones((2, 7))}, r"weights must be broadcastable .*\(7, 2\) .*; got \(2, 7\)"),
        ({"weights": [1.0, -1.0]}, "weights must be finite and >= 0; got -1.0"),
        ({"weights": [1.0, np.inf]}, "weights must be finite and >= 0; got inf"),
        ({"where": np.arange(14).reshape(7, 2) == 3}, "activations must hold >= 2 valid samples; got 1"),
        ({"weights": np.zeros(2)}, "activations must hold >= 2 valid samples; got 0"),
        (
            {"a": np.where(np.arange(D) == 3, np.nan, A)},
            "valid activations must be finite; got NaN or infinity in 1 units, first in unit 3",
        ),
    ],
)
def test_what_does_not_fit(changed, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        merge_units(**({"a": A, "incoming": INCOMING, "kernel": KERNEL, "bias": BIAS} | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": A.astype(int)}, "activations must have a real floating-point dtype; got int64"),
        ({"kernel": KERNEL.astype(int)}, "the kernel must have a real floating-point dtype; got int64"),
        ({"bias": BIAS.astype(complex)}, "the bias must have a real floating-point dtype; got complex128"),
        ({"where": np.ones(2)}, "where must be bool, True for a valid sample; got float64"),
    ],
)
def test_dtypes_that_are_none(changed, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        merge_units(**({"a": A, "incoming": INCOMING, "kernel": KERNEL, "bias": BIAS} | changed))


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_traced_values_are_refused_in_one_line(transform):
    wanted = "needs values, because the shape of its result depends on them: call it outside jit"
    with pytest.raises(TypeError, match=rf"^redundant_pairs {wanted}(\n|$)"):
        transform(lambda rho: redundant_pairs(rho, 0.9))(
            jnp.eye(3)[0] if transform is jax.grad else jnp.eye(3)
        )
    with pytest.raises(TypeError, match=rf"^merge_units {wanted}(\n|$)"):
        transform(lambda bias: merge_units(A, INCOMING, KERNEL, bias).bias)(jnp.ones(OUTPUTS))


def test_float64_of_numpy_is_not_rounded():
    a = activations(50)
    a = alike(a, into=3, of=1, rho=1 - 2.1e-6)
    rho = np.corrcoef(a, rowvar=False)
    assert len(redundant_pairs(rho, 1.0)) == 0
    np.testing.assert_array_equal(redundant_pairs(rho, 1 - 2.2e-6), [[1, 3]])
    kernel, bias = np.eye(D) + 1e-12, np.full(D, 1e-12)
    assert len(merge_units(a, {}, kernel, bias, threshold=1.0).kept) == D
    a[:, 3] = 2 * a[:, 1] - 1
    a[:, 4] = 1e9 + 1e-3 * a[:, 0]  # constant in float32
    merged = merge_units(a, a, kernel, bias, threshold=1 - 1e-6)
    np.testing.assert_array_equal(merged.kept, [0, 1, 2])
    assert {merged.incoming.dtype, merged.kernel.dtype, merged.bias.dtype} == {np.dtype(np.float64)}
    np.testing.assert_allclose(
        received(merged.incoming, merged.kernel, merged.bias), received(a, kernel, bias), rtol=1e-9
    )
