"""Centred kernel alignment, against its definition and against the means over all quadruples of samples."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.diagnostics import CKAState, linear_cka

TALL, WIDE = (7, 2, 3), (6, 8, 5)  # the number of samples, and of units of each layer


def layers(sizes, seed=0):
    m, d, other = sizes
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(m, 1))
    return rng.normal(size=(m, d)) + common + 3, 2 * rng.normal(size=(m, other)) - common


def weights_of(sizes, weighted):
    return np.random.default_rng(1).uniform(0.3, 2, sizes[0]) if weighted else np.ones(sizes[0])


def raw(a, b, w):
    """Raw HSIC: the sum of the squared covariances."""
    c, other = (x - np.average(x, axis=0, weights=w) for x in (a, b))
    return np.sum(((w[:, None] * c).T @ other / w.sum()) ** 2)


def of_quadruples(a, b, w):
    """The weighted mean over all quadruples of different samples."""
    total = weight = 0
    for i, j, k, l in itertools.permutations(range(len(a)), 4):  # noqa: E741
        each = w[i] * w[j] * w[k] * w[l]
        total += each * ((a[i] - a[j]) @ (a[k] - a[l])) * ((b[i] - b[j]) @ (b[k] - b[l])) / 4
        weight += each
    return total / weight


def hsic1(a, b):
    """HSIC_1 as in Song et al. and in other packages."""
    n = len(a)
    k, l = (x @ x.T * (1 - np.eye(n)) for x in (a, b))  # noqa: E741
    total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return total / (n * (n - 3))


def ratio(h, a, b):
    return h(a, b) / np.sqrt(h(a, a) * h(b, b))


@jax.jit
def both(a, b, **stat):
    return [linear_cka(a, b, debias=debias, **stat) for debias in (False, True)]


@pytest.mark.parametrize("sizes", [TALL, WIDE], ids=["m > d", "m < d"])
@pytest.mark.parametrize("weighted", [False, True])
def test_values(float64, sizes, weighted):
    a, b = layers(sizes)
    w = weights_of(sizes, weighted)
    found = both(a, b, **({"weights": w} if weighted else {}))
    wanted = [ratio(functools.partial(h, w=w), a, b) for h in (raw, of_quadruples)]
    np.testing.assert_allclose(found, wanted, rtol=1e-11)
    assert weighted or wanted[1] == pytest.approx(ratio(hsic1, a, b), rel=1e-11)


def test_what_changes_nothing(float64):
    """CKA does not change with a rotation, a shift, a factor, or the values of invalid samples."""
    a, b = layers(WIDE)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    np.testing.assert_allclose(both(a @ rotation - 2, 7e-5 * (b + 4)), both(a, b), rtol=1e-9)
    pad = lambda x: np.concatenate([x, np.full((2, x.shape[1]), np.nan)])  # noqa: E731
    np.testing.assert_allclose(both(pad(a), pad(b), where=np.arange(8) < 6), both(a, b), rtol=1e-12)


def test_gradients_are_central_differences(float64):
    a, b = layers(WIDE)
    rng, h = np.random.default_rng(3), 1e-6
    w = weights_of(WIDE, True)
    along = [rng.normal(size=x.shape) for x in (a, b, w)]

    def total(a, b, w):
        return linear_cka(a, b, weights=w)

    program = jax.jit(jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2))))
    steps = [np.stack([x + step * e for step in (0, h, -h)]) for x, e in zip((a, b, w), along, strict=True)]
    values, gradients = program(*steps)
    slope = sum(np.sum(np.asarray(g)[0] * e) for g, e in zip(gradients, along, strict=True))
    assert slope == pytest.approx(float(values[1] - values[2]) / (2 * h), rel=1e-6)


def test_independent_layers_show_nothing_on_average():
    """For 20 samples of 500 units, raw CKA is nearly 1."""
    a, b = jax.random.normal(jax.random.key(0), (2, 20, 20, 500))
    biased, debiased = jax.jit(jax.vmap(both))(a, b)
    assert biased.min() > 0.9
    assert abs(debiased.mean()) < 3 * debiased.std() / np.sqrt(20) < 0.05


def test_where_it_is_undefined_it_is_0_and_pulls_nowhere():
    """Cases: a constant layer, three valid samples, one dominant weight, h(a, a) = 0; then a NaN."""
    a, b = (x.astype(np.float32) for x in layers(TALL))
    # Differences of different pairs are orthogonal up to rounding. Its sign depends on the angle.
    corners = np.array([[0, 0], [4, 0], [1, 3], [1, 1], [0, 0], [0, 0], [0, 0]])
    angles = [np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in (0.3, 0.7, 1.1, 1.9)]
    turned = [(0.37 * corners @ rotation).astype(np.float32) for rotation in angles]
    nan = np.where(np.arange(7)[:, None] == 2, np.nan, a)
    weights = np.ones((8, 7), np.float32)
    weights[1, 3:], weights[2, 1:], weights[3:7, 4:] = 0, 1e-12, 0
    layer = np.stack([np.full_like(a, 0.1), a, a, *turned, nan])

    def debiased(a, weights):
        return linear_cka(a, b, weights=weights)

    value, gradients = jax.jit(jax.vmap(jax.value_and_grad(debiased)))(layer, weights)
    np.testing.assert_array_equal(value, 7 * [0] + [np.nan])
    np.testing.assert_array_equal(gradients[:7], 0)


def test_scales_that_overflow_when_squared():
    a, b = (x.astype(np.float32) for x in layers(TALL))
    np.testing.assert_allclose(both(1e30 * a, 1e-30 * b), both(a, b), rtol=1e-4)


def test_half_precision_is_summed_in_single():
    a, b = (jnp.asarray(x, jnp.bfloat16) for x in layers(TALL))
    found = jax.jit(linear_cka)(a, b)
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(ratio(hsic1, np.float64(a), np.float64(b)), rel=1e-4)


NETWORK = {"tall": (7, (2, 3, 1)), "wide": (6, (8, 5, 7))}
"""The number of samples, and of units of each layer."""


@pytest.mark.parametrize(("name", "weighted"), [("tall", True), ("wide", True), ("wide", False)])
def test_every_pair_of_layers(float64, name, weighted):
    m, widths = NETWORK[name]
    rng = np.random.default_rng(0)
    network = [rng.normal(size=(m, d)) + rng.normal(size=(m, 1)) for d in widths]
    w = weights_of((m,), weighted)
    found = both(network, network[:2], **({"weights": w} if weighted else {}))
    for values, h in zip(found, (raw, of_quadruples), strict=True):
        wanted = [[ratio(functools.partial(h, w=w), a, b) for b in network[:2]] for a in network]
        np.testing.assert_allclose(values, wanted, rtol=1e-11)


def test_a_layer_and_a_network():
    a, b = (x.astype(np.float32) for x in layers(TALL))
    alone = both(a, b)[1]
    np.testing.assert_allclose(both({"a": a, "b": b}, b)[1], [alone, 1], rtol=1e-5)
    np.testing.assert_allclose(both(b, (a, b))[1], [alone, 1], rtol=1e-5)


def test_trees_without_layers():
    with pytest.raises(ValueError, match=r"^b must hold at least one layer; got \[\]$"):
        linear_cka([jnp.ones((5, 2))], [])
    with pytest.raises(ValueError, match=r"same samples; got shapes \(5, 2\) and \(4, 2\)"):
        linear_cka([jnp.ones((5, 2)), jnp.ones((4, 2))], jnp.ones((5, 2)))


# A stream ---------------------------------------------------------------------------------------------------


@jax.jit
def streamed(batches, others, where):
    """CKA by `scan`, and by merging one state per minibatch over a mapped axis."""
    step = lambda state, batch: (state.update(*batch[:2], where=batch[2]), None)  # noqa: E731
    state, _ = jax.lax.scan(step, CKAState.init(batches.dtype), (batches, others, where))
    own = lambda a, b, where: step(CKAState.init(a.dtype), (a, b, where))[0].psum("batch")  # noqa: E731
    merged = jax.vmap(own, axis_name="batch")(batches, others, where)
    return state, state.cka(), merged.cka()


def test_a_stream_averages_before_it_divides(float64):
    """The last minibatch has three valid samples and does not count."""
    pairs = [layers(TALL, seed) for seed in range(4)]
    batches, others = (np.stack(x) for x in zip(*pairs, strict=True))
    where = np.arange(7) < np.array([[7], [7], [7], [3]])
    state, one_by_one, merged = streamed(batches, others, where)
    h = [[hsic1(x, y) for x, y in ((a, b), (a, a), (b, b))] for a, b in pairs[:3]]
    ab, aa, bb = np.sum(h, axis=0)
    np.testing.assert_allclose([one_by_one, *merged], ab / np.sqrt(aa * bb), rtol=1e-12)
    np.testing.assert_allclose(state, [3, ab, aa, bb], rtol=1e-12)


@pytest.mark.parametrize("numbers", [(2, 3), (2, None), (None, 2)])
def test_a_stream_of_several_layers(numbers):
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(3, 7, 5)) + rng.normal(size=(3, 7, 1))
    batches = batches.astype(np.float32)

    def trees(batch):
        network = [batch, batch[:, :2], batch[:, 2:]]
        return [network[-1] if number is None else network[:number] for number in numbers]

    step = lambda state, batch: (state.update(*trees(batch)), None)  # noqa: E731
    found = jax.jit(lambda a: jax.lax.scan(step, CKAState.init(layers=numbers), a)[0].cka())(batches)
    sums = 0
    for batch in batches:
        a, b = (
            [tree] if number is None else tree for tree, number in zip(trees(batch), numbers, strict=True)
        )
        sums += np.array([[[hsic1(x, y), hsic1(x, x), hsic1(y, y)] for y in b] for x in a])
    ab, aa, bb = np.moveaxis(sums, 2, 0)
    np.testing.assert_allclose(found, np.squeeze(ab / np.sqrt(aa * bb)), rtol=1e-4)


@pytest.mark.parametrize("layers", [3, (2,), (0, 2), (1, 2, 3), (None, 2.0)])
def test_numbers_of_layers_that_are_none(layers):
    with pytest.raises(ValueError, match=r"^layers must be two numbers >= 1, or None for an array; got "):
        CKAState.init(layers=layers)


def test_layers_that_do_not_fit_the_state():
    a = jnp.ones((5, 2))
    for numbers, other in (((None, None), [a, a]), ((2, None), a)):
        with pytest.raises(ValueError, match=r"need a state from CKAState.init\(layers=\(1, "):
            CKAState.init(layers=numbers).update([a], other)
    with pytest.raises(ValueError, match=r"states of layers \(2, 2\) and \(\) cannot be merged"):
        CKAState.init(layers=(2, 2)).merge(CKAState.init())


def test_a_stream_of_nothing_and_a_type():
    assert jax.jit(lambda: CKAState.init().cka())() == 0
    with pytest.raises(TypeError, match="float32 or float64; got bfloat16"):
        CKAState.init("bfloat16")
    with pytest.raises(ValueError, match=r"same samples; got shapes \(5, 2\) and \(4, 2\)"):
        CKAState.init().update(jnp.ones((5, 2)), jnp.ones((4, 2)))


def test_many_units_of_a_large_scale():
    a = np.random.default_rng(0).normal(size=(64, 1024)).astype(np.float32) * np.float32(1e8)
    assert float(CKAState.init().update(a, a).cka()) == pytest.approx(1, rel=1e-4)
