"""Every function with `axis_name` gives the value and gradient of one device, with samples over a mapped
axis."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import decorr
from decorr import CorrelationState, pair_penalty

pytestmark = pytest.mark.mesh


def streamed(a, axis_name=None, **stat):
    state = CorrelationState.init(a.shape[-1], a.dtype).update(a, axis_name=axis_name, **stat)
    state = state.update(2 * a, axis_name=axis_name, **stat)
    return state.correlation(), state.covariance()


def streamed_apart(a, axis_name=None, **stat):
    """Each device has its own stream. The streams are merged at the end."""
    state = CorrelationState.init(a.shape[-1], a.dtype).update(a, **stat).update(3 * a, **stat)
    state = state if axis_name is None else state.psum(axis_name)
    return state.correlation(), state.covariance(ddof=0)


def of_twins(function):
    return lambda a, **stat: function(a, a / 2 + a[..., ::-1], **stat)


def ranks(a, **stat):
    effective = decorr.effective_rank(a, power=1, kind="moment", **stat)
    return effective, decorr.diagnostics.rank_at(a, **stat), decorr.diagnostics.rank_above(a, **stat)


def network(a):
    return [a, a / 2 + a[..., ::-1], a[..., :2]]


def compared(a, **stat):
    return decorr.diagnostics.CKAState.init(a.dtype).update(a, a / 2 + a[..., ::-1], **stat)


FUNCTIONS = {
    "zscore": decorr.zscore,
    "correlation_matrix": decorr.correlation_matrix,
    "covariance_matrix": decorr.covariance_matrix,
    "streamed": streamed,
    "streamed apart": streamed_apart,
    "penalty_gradient": decorr.penalty_gradient,
    "gradient_terms": decorr.penalties.gradient_terms,
    "correlation_penalty": decorr.correlation_penalty,
    "pair_penalty": functools.partial(pair_penalty, normalise="pair"),
    "pair_penalty, covariances": functools.partial(pair_penalty, kind="covariance", diagonal=True, ddof=0),
    "decov_loss": decorr.decov_loss,
    "variance_penalty": lambda a, **stat: decorr.variance_penalty(0.3 * a, **stat),
    "vcreg_loss": lambda a, **stat: decorr.vcreg_loss(0.3 * a, 1.0, 2.0, delta=0.1, **stat),
    "sigreg_loss": lambda a, **stat: decorr.sigreg_loss(a, jax.random.key(0), slices=4, **stat),
    "xcov_loss": of_twins(decorr.xcov_loss),
    "vicreg_loss": of_twins(decorr.vicreg_loss),
    "barlow_twins_loss": of_twins(decorr.barlow_twins_loss),
    "mean_square_correlation": decorr.diagnostics.mean_square_correlation,
    "effective_units": decorr.effective_units,
    "whiten": functools.partial(decorr.whiten, shrinkage=0.1),
    "spectrum": lambda a, **stat: decorr.diagnostics.spectrum(a, **stat)[:4],
    "ranks": ranks,
    "effective_rank, debiased": functools.partial(decorr.effective_rank, order=2, debias=True),
    "activity": decorr.diagnostics.activity,
    "linear_cka": of_twins(decorr.diagnostics.linear_cka),
    "linear_cka, raw": of_twins(functools.partial(decorr.diagnostics.linear_cka, debias=False)),
    "linear_cka, every pair": lambda a, **stat: decorr.diagnostics.linear_cka(network(a), network(a), **stat),
    "CKAState": compared,
}
PER_SAMPLE = {"zscore", "penalty_gradient", "gradient_terms", "whiten"}


def by_shard_map(function, check_vma):
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    shard, axis = P("data"), {"axis_name": "data"}
    return lambda *arrays: jax.shard_map(
        functools.partial(function, **axis),
        mesh=mesh,
        in_specs=(shard,) * len(arrays),
        out_specs=P(),
        check_vma=check_vma,
    )(*arrays)


def mapped(function, transform):
    """Maps a function over shards of the samples by `vmap` or `pmap`."""

    def whole(*arrays):
        n = jax.device_count()
        shards = [x.reshape(n, x.shape[0] // n, *x.shape[1:]) for x in arrays]
        return transform(functools.partial(function, axis_name="data"), axis_name="data")(*shards)[0]

    return whole


ROUTES = {
    "shard_map": lambda function: by_shard_map(function, check_vma=True),
    "shard_map, unchecked": lambda function: by_shard_map(function, check_vma=False),
    "vmap": lambda function: mapped(function, jax.vmap),
    "pmap": lambda function: mapped(function, jax.pmap),
}


def number(name):
    """Reduces a function's results to one number that depends on every part of them."""

    def value(a, direction, where, weights, axis_name=None):
        leaves = jax.tree.leaves(FUNCTIONS[name](a, where=where, weights=weights, axis_name=axis_name))
        total = jnp.zeros((), a.dtype)
        for leaf in leaves:
            if leaf.shape[:1] == a.shape[:1] and name in PER_SAMPLE and leaf.ndim > 1:
                part = jnp.sum(jnp.square(leaf * direction))  # a sum that does not cancel
                total += part if axis_name is None else jax.lax.psum(part, axis_name)
            else:
                total += jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape))
        return total

    return value


def samples(d, dtype):
    """Activations, a direction, a mask that leaves one device none and one a single sample, and weights."""
    rng, n = np.random.default_rng(0), jax.device_count()
    m = 24
    a = rng.normal(size=(m, d)) + rng.normal(size=(m, 1)) + 1
    where = rng.uniform(size=m) < 0.8
    where[: m // n] = False
    where[m // n : 2 * m // n] = np.arange(m // n) == 1
    where[-1] = True
    a[~where] = np.nan
    if n == 2:  # otherwise there would be only one sample
        where[m // n :] = True
        a[m // n :] = rng.normal(size=(m // 2, d)) + rng.normal(size=(m // 2, 1))
    return [
        np.asarray(x, t)
        for x, t in (
            (a, dtype),
            (rng.normal(size=(m, d)), dtype),
            (where, bool),
            (rng.uniform(0.5, 2, m), dtype),
        )
    ]


# All routes if d < m. One route if d > m, because they share the program. `pmap` compiles by shard_map.
ALL, FEW = tuple(FUNCTIONS), ("zscore", "penalty_gradient", "correlation_penalty", "xcov_loss")
# If d > m, these are computed as for d < m, or are sums of other functions' results.
ANY_D = {"correlation_matrix", "covariance_matrix", "streamed", "streamed apart"}
ANY_D |= {"sigreg_loss", "variance_penalty", "vcreg_loss", "vicreg_loss", "activity", "CKAState"}
WIDE = tuple(name for name in ALL if name not in ANY_D)
CASES = [(ALL, 5, "shard_map"), (ALL, 5, "vmap"), (WIDE, 40, "shard_map")]
CASES += [(FEW, d, "shard_map, unchecked") for d in (5, 40)]


def differentiated(names, route):
    """Value and gradient by name, in one program, because nearly all time is compilation."""
    return lambda *arrays: {name: jax.value_and_grad(route(number(name)))(*arrays) for name in names}


@functools.cache
def alone(d):
    """The value and gradient on one device, in float64."""
    with jax.enable_x64(True):
        names = ALL if d == 5 else WIDE
        found = jax.jit(differentiated(names, lambda function: function))(*samples(d, np.float64))
    return jax.tree.map(np.asarray, found)


def assert_are_one_devices(found, d, relative):
    for name in found:
        for f, w in zip(found[name], alone(d)[name], strict=True):
            np.testing.assert_allclose(f, w, rtol=relative, atol=relative * np.abs(w).max(), err_msg=name)
        assert np.abs(alone(d)[name][1]).max() > 0, name


@pytest.mark.parametrize(("names", "d", "route"), CASES, ids=["", "", "", "few", "few"])
def test_value_and_gradient_are_one_devices(float64, names, d, route):
    found = jax.jit(differentiated(names, ROUTES[route]))(*samples(d, np.float64))
    assert_are_one_devices(found, d, 1e-13)


@pytest.mark.parametrize("name", FEW)
def test_pmap_too(float64, name):
    assert_are_one_devices(differentiated([name], ROUTES["pmap"])(*samples(5, np.float64)), 5, 1e-13)


def test_in_single_precision_too():
    names = (*FEW, "streamed apart", "vicreg_loss", "whiten")
    found = jax.jit(differentiated(names, ROUTES["shard_map"]))(*samples(5, np.float32))
    assert_are_one_devices(found, 5, 1e-5)  # whitening divides by roots of eigenvalues


def test_one_sample_a_device_may_have_no_sample_axis(float64):
    a = np.random.default_rng(1).normal(size=(9, 4))
    # If each device has its own stream, an update has no axis name.
    functions = {name: function for name, function in FUNCTIONS.items() if name != "streamed apart"}

    def of_every(a, **axis):
        return {name: function(a, **axis) for name, function in functions.items()}

    mapped = jax.vmap(functools.partial(of_every, axis_name="sample"), axis_name="sample")
    found, wanted = jax.jit(mapped)(a), jax.jit(of_every)(a)
    for name in functions:
        for f, w in zip(jax.tree.leaves(found[name]), jax.tree.leaves(wanted[name]), strict=True):
            f = f if f.shape == w.shape else f[0]
            np.testing.assert_allclose(f, w, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(("bad", "where"), [(np.nan, 3), (np.inf, 20)])
def test_what_is_not_finite_on_one_device_shows_on_all(bad, where):
    a = np.ones((24, 3), np.float32)  # constant, but for one value
    a[where, 1] = bad
    for penalty in (decorr.correlation_penalty, decorr.decov_loss):
        assert np.isnan(jax.jit(by_shard_map(penalty, check_vma=True))(a))
    rho, _ = jax.jit(by_shard_map(streamed_apart, check_vma=True))(a)
    assert np.isnan(rho[1, 1])


def test_a_scan_on_each_device():
    a = np.random.default_rng(3).normal(size=(24, 4)).astype(np.float32)

    def streamed(a, axis_name):
        state = decorr.CorrelationState.init(4).update(a[:1])
        state, _ = lax.scan(lambda state, sample: (state.update(sample[None]), None), state, a[1:])
        return state.psum(axis_name).correlation()

    found = jax.jit(by_shard_map(streamed, check_vma=True))(a)
    np.testing.assert_allclose(found, np.corrcoef(a, rowvar=False), atol=1e-5)


def test_several_axes():
    n = jax.device_count()
    mesh = jax.make_mesh((n // 2, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    a = np.random.default_rng(2).normal(size=(24, 40)).astype(np.float32)
    over = jax.shard_map(
        functools.partial(decorr.correlation_penalty, axis_name=("x", "y")),
        mesh=mesh,
        in_specs=P(("x", "y")),
        out_specs=P(),
    )
    found = jax.jit(jax.value_and_grad(over))(a)
    wanted = jax.jit(jax.value_and_grad(decorr.correlation_penalty))(a)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-6), found, wanted)


@pytest.mark.parametrize(("m", "d"), [(64, 16), (16, 64)])
def test_value_and_gradient_communicate_once(m, d):
    """d^2 numbers are summed where d <= m, else m d are gathered: once, for value and gradient together."""
    over = by_shard_map(decorr.correlation_penalty, check_vma=True)
    shape = jax.ShapeDtypeStruct((m, d), jnp.float32)
    text = jax.jit(jax.value_and_grad(over)).lower(shape).compile().as_text()
    assert text.count(f"f32[{d},{d}]{{1,0}} all-reduce(") == (d <= m)
    assert text.count(" all-gather(") == (d > m) and text.count(" reduce-scatter(") == 0
    if d <= m:
        assert f"f32[{m},{d}]" not in text.split("ENTRY")[1].replace(f"f32[{m},{d}]{{1,0}} parameter", "")


@pytest.mark.parametrize("check_vma", [True, False])
def test_gradients_inside_a_map(float64, check_vma):
    """The gradient with respect to shared parameters, taken inside a map as in the data-parallel recipe."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    mean, rng = functools.partial(jax.lax.pmean, axis_name="data"), np.random.default_rng(3)
    x, w = rng.normal(size=(24, 4)), rng.normal(size=(4, 6))

    def loss(w, x, mean=lambda nll: nll, **axis):
        return mean(jnp.mean((x @ w) ** 2)) + decorr.correlation_penalty(jnp.tanh(x @ w), **axis)

    def inside(w, x):
        return mean(jax.grad(loss)(w, x, mean, axis_name="data"))

    spread = jax.shard_map(inside, mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=check_vma)
    ratio = jax.jit(lambda w, x: spread(w, x) / jax.grad(loss)(w, x))(w, x)
    np.testing.assert_allclose(ratio, 1, rtol=1e-10)
