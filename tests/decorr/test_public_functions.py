"""Every public function has no NaN on the way to a finite number, and programs for any batch size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import decorr
from decorr import CorrelationState
from decorr.config import Architecture

KEY = jax.random.key(0)
M, D = 8, 3
HALF = M // 2


def streamed(a, where=None, weights=None):
    """Two minibatches, one after the other, and two streams merged over a mapped axis."""
    state = CorrelationState.init(a.shape[-1], a.dtype)
    half = a.shape[0] // 2
    for part in (slice(None, half), slice(half, None)):
        state = state.update(a[part], **{k: v[part] for k, v in stat(where, weights).items()})
    return state.correlation(), state.covariance()


def merged(a, where=None, weights=None):
    halves = lambda x: x.reshape(2, -1, *x.shape[1:])  # noqa: E731

    def on_a_device(a, stat):
        state = CorrelationState.init(a.shape[-1], a.dtype).update(a, **stat).psum("half")
        return state.correlation(), state.covariance()

    given = {name: halves(x) for name, x in stat(where, weights).items()}
    return jax.tree.map(lambda x: x[0], jax.vmap(on_a_device, axis_name="half")(halves(a), given))


def stat(where, weights):
    return {k: v for k, v in (("where", where), ("weights", weights)) if v is not None}


def of_twins(function):
    return lambda a, **stat: function(a, jnp.sin(a), **stat)


def compared(a, **stat):
    """Two layers compared over two minibatches."""
    state = (
        decorr.diagnostics.CKAState.init(a.dtype).update(a, jnp.sin(a), **stat).update(a, jnp.cos(a), **stat)
    )
    return state.cka()


# Functions of activations whose samples may be masked and weighted.
OF_SAMPLES = {
    "CKAState": compared,
    "CorrelationState": streamed,
    "CorrelationState, merged": merged,
    "activity": decorr.diagnostics.activity,
    "barlow_twins_loss": of_twins(decorr.barlow_twins_loss),
    "correlation_matrix": decorr.correlation_matrix,
    "correlation_matrix, undefined": functools.partial(decorr.correlation_matrix, undefined=1.0),
    "correlation_penalty": decorr.correlation_penalty,
    "covariance_matrix": decorr.covariance_matrix,
    "decov_loss": decorr.decov_loss,
    "dormant_units": lambda a, **stat: decorr.diagnostics.dormant_units(a, **stat).astype(a.dtype),
    "effective_rank": functools.partial(decorr.effective_rank, power=1),
    "effective_rank, debiased": functools.partial(decorr.effective_rank, order=2, debias=True),
    "effective_units": decorr.effective_units,
    "effective_units, raw": functools.partial(decorr.effective_units, debias=False),
    "gradient_terms": decorr.penalties.gradient_terms,
    "fit_whitening": decorr.fit_whitening,
    "fit_whitening, pca": functools.partial(decorr.fit_whitening, method="pca"),
    "fit_whitening, cholesky": functools.partial(decorr.fit_whitening, method="cholesky"),
    "layer_report": lambda a, **stat: decorr.layer_report([a], **stat),
    "linear_cka": of_twins(decorr.diagnostics.linear_cka),
    "linear_cka, raw": of_twins(functools.partial(decorr.diagnostics.linear_cka, debias=False)),
    "mean_square_correlation": decorr.diagnostics.mean_square_correlation,
    "pair_penalty": functools.partial(decorr.pair_penalty, kind="covariance"),
    "penalty_gradient": decorr.penalty_gradient,
    "rank_above": decorr.diagnostics.rank_above,
    "rank_at": decorr.diagnostics.rank_at,
    "sigreg_loss": lambda a, **stat: decorr.sigreg_loss(a, KEY, slices=4, **stat),
    "spectrum": functools.partial(decorr.diagnostics.spectrum, kind="moment"),
    "variance_penalty": decorr.variance_penalty,
    "vcreg_loss": lambda a, **stat: decorr.vcreg_loss(a, 0.16, 0.01, **stat),
    "vcreg_loss, smooth": lambda a, **stat: decorr.vcreg_loss(a, 0.16, 0.01, delta=0.4, **stat),
    "vicreg_loss": of_twins(decorr.vicreg_loss),
    "vicreg_parts": of_twins(decorr.penalties.vicreg_parts),
    "whiten": decorr.whiten,
    "whiten, cholesky": functools.partial(decorr.whiten, method="cholesky"),
    "whiten, newton": functools.partial(decorr.whiten, method="newton"),
    "xcov_loss": of_twins(decorr.xcov_loss),
    "zscore": decorr.zscore,
}


def network(kind, **options):
    """A model's outputs, with dropout, for inputs [sample, 3]. Its parameters do not depend on the inputs."""
    norm = options.pop("normalisation", "none")
    architecture = Architecture((4, 3), "prelu", 0.25, "torch", input_dropout=False, normalisation=norm)
    model = kind(architecture, classes=2, **options)

    def call(a):
        variables = model.init(KEY, jnp.ones((2, D), a.dtype))
        return model.apply(variables, a, 0.3, rngs={"dropout": KEY})

    return call


def whitened(a, running=False):
    layer = decorr.BatchWhitening(use_running_average=running)
    variables = layer.init(KEY, jnp.ones((2, a.shape[-1]), a.dtype))
    return layer.apply(variables, a, mutable=["batch_stats"])[0]


# Functions of activations alone.
OTHERS = {
    "BatchWhitening": whitened,
    "BatchWhitening, running": functools.partial(whitened, running=True),
    "ConvNet": network(decorr.ConvNet, image_shape=(1, 3, 1)),
    "MLP": network(decorr.MLP),
    "MLP, whitened": network(decorr.MLP, normalisation="whiten"),
    "dropout": lambda a: decorr.dropout(KEY, a, 0.3),
    "dropout_correlation": lambda a: decorr.dropout_correlation(a / 10, 0.3, a, a),
    "dropout_estimator": lambda a: decorr.dropout_estimator(a / 10, 0.3),
    "layer_penalties": lambda a: decorr.layer_penalties([a, 2 * a], {"*": 0.1})[0],
    "sample_positions": lambda a: decorr.sample_positions(a[None], KEY, 4),
    "whitening_matrix": lambda a: decorr.whitening_matrix(a.T @ a),
}
# Functions in plain Python and NumPy, and a type.
NOT_TRACED = {
    "GradientTerms",
    "VICRegParts",
    "independent_penalty",
    "merge_network",
    "merge_units",
    "redundant_pairs",
}


def test_every_public_function_is_here():
    names = {name.split(",")[0] for name in (*OF_SAMPLES, *OTHERS)}
    assert names | NOT_TRACED == {*decorr.__all__, *decorr.diagnostics.__all__, *decorr.penalties.__all__}


def cases():
    """Activations and weights. Cases: a dead unit, a unit dead at first, one live unit, no live unit, an
    empty first minibatch."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, M, D)) + rng.normal(size=(5, M, 1))
    weights = rng.uniform(0.5, 2, (5, M))
    a[0, :, 1] = 0
    a[1, :HALF, 1] = 0
    a[2, :, :2] = 0, 0.1
    a[3] = 0, 0.1, -3
    weights[4, :HALF] = 0
    return {"dead": 0, "dead at first": 1, "one alive": 2, "none alive": 3, "empty": 4}, a, weights


CASES, A, WEIGHTS = cases()
# Cases in which a function is undefined: a mean over no pair, or over no unit.
UNKNOWN = {
    "layer_report": ["one alive", "none alive"],
    "mean_square_correlation": ["one alive", "none alive"],
    "effective_units": ["none alive"],
    "effective_units, raw": ["none alive"],
}


def scalar(name):
    """A sum of all numbers that a function gives, each with another factor."""

    def of_arrays(a, weights):
        given = OF_SAMPLES[name](a, weights=weights) if name in OF_SAMPLES else OTHERS[name](a)
        leaves = jax.tree.leaves(given)
        factors = [jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) for x in leaves]
        return sum(jnp.sum(x * factor) for x, factor in zip(leaves, factors, strict=True))

    return of_arrays


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_no_nan_on_the_way(name):
    """Runs outside of `jit`, where `jax_debug_nans` checks every operation."""
    finite = [index for case, index in CASES.items() if case not in UNKNOWN.get(name, ())]
    with jax.debug_nans(True):
        gradient = jax.vmap(jax.grad(scalar(name), argnums=(0, 1)))
        for x in gradient(*(jnp.asarray(x[finite], jnp.float32) for x in (A, WEIGHTS))):
            assert np.isfinite(x).all()


# Functions that test_contract.py does not differentiate, and that do not merely combine other functions.
STATISTICS = (
    "CorrelationState",
    "CorrelationState, merged",
    "activity",
    "correlation_matrix",
    "covariance_matrix",
    "effective_rank",
    "effective_rank, debiased",
    "effective_units",
    "gradient_terms",
    "mean_square_correlation",
    "whiten",
    "zscore",
)


@pytest.mark.slow
def test_gradients_beside_constant_units_are_the_central_differences(float64):
    """Along one direction, for a sum of functions. Each function counts in the cases where it is defined."""
    rng, h = np.random.default_rng(1), 1e-6
    known = np.array([[case not in UNKNOWN.get(name, ()) for name in STATISTICS] for case in CASES])
    # A unit that is no longer constant has other correlations. An additional sample changes a unit's range.
    along_a = rng.normal(size=A.shape) * (np.ptp(A, axis=1, keepdims=True) > 0)
    along_weights = rng.normal(size=WEIGHTS.shape) * (WEIGHTS > 0)

    def total(a, weights, known):
        values = jnp.stack([scalar(name)(a, weights) for name in STATISTICS])
        return jnp.sum(jnp.where(known, values, 0))

    @jax.jit
    def program(a, weights):
        of_cases = jax.vmap(jax.value_and_grad(total, argnums=(0, 1)))
        return jax.lax.map(lambda x: of_cases(*x, known), (a, weights))

    steps = np.array([0, h, -h])[:, None, None]
    a, weights = A + steps[..., None] * along_a, WEIGHTS + steps * along_weights
    values, gradients = program(a, weights)
    by_a, by_weights = (np.asarray(x)[0] for x in gradients)
    assert np.isfinite(by_a).all() and np.isfinite(by_weights).all()
    slope = (by_a * along_a).sum(axis=(1, 2)) + (by_weights * along_weights).sum(axis=1)
    values = np.asarray(values)
    np.testing.assert_allclose(slope, (values[1] - values[2]) / (2 * h), rtol=1e-5, atol=1e-6)


# Without `sample_positions`, because the number of samples that it draws is a shape.
@pytest.mark.parametrize("name", sorted({**OF_SAMPLES, **OTHERS}.keys() - {"sample_positions"}))
def test_programs_serve_any_number_of_samples(name):
    """Programs are traced with a symbolic size. Lowering of exported programs is left to JAX."""
    (m,) = export.symbolic_shape("2 * half")
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((m, D), (m,))]
    assert jax.eval_shape(scalar(name), *shapes).shape == ()


@pytest.mark.parametrize(
    "name", ["correlation_penalty", "decov_loss", "effective_rank", "vicreg_parts", "whiten"]
)
def test_a_profile_names_what_is_computed(name):
    traced = jax.make_jaxpr(OF_SAMPLES[name])(jnp.ones((M, D)))
    scopes = {str(equation.source_info.name_stack) for equation in traced.eqns}
    assert any(scope.startswith(f"decorr.{name}") for scope in scopes)


@pytest.mark.parametrize(
    ("init", "layers"), [(functools.partial(CorrelationState.init, D), 1), (decorr.CKAState.init, 2)]
)
def test_running_states_can_be_donated(init, layers):
    a = np.random.default_rng(0).normal(size=(M, D)).astype(np.float32)
    update = jax.jit(lambda state: state.update(*[a] * layers), donate_argnums=0)
    for leaf in jax.tree.leaves(update(update(init()))):
        assert np.isfinite(leaf).all()


@pytest.mark.slow
def test_single_precision_stays_single_under_x64(float64):
    for name, function in OF_SAMPLES.items():
        found = jax.eval_shape(function, jax.ShapeDtypeStruct((M, D), jnp.float32))
        assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}, name
