"""Training: against SGD in plain NumPy, and what makes runs resumable, paired and independent."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeCollectionNotFound

from decorr.config import Architecture, Optimisation, Regulariser
from decorr.models import MLP, ConvNet
from decorr.penalties import correlation_penalty
from decorr.training import evaluation, steps
from decorr.training.objective import negative_log_likelihood
from decorr.training.schedules import schedule
from decorr.training.seen import seen
from decorr.training.split import Split
from decorr.training.steps import Trainer, sgd

FEATURES, CLASSES, BATCH = 6, 3, 10
OPTIMISATION = Optimisation(batch_size=BATCH)
MODEL = MLP(Architecture((7, 5, 4), "prelu", 0.25, "torch", input_dropout=True), CLASSES)
BOTH = Regulariser(penalty_weight=0.1, dropout_rate=0.3)

TRAINER = Trainer(MODEL, sgd(OPTIMISATION), BATCH)
step = jax.jit(steps.step, static_argnums=0)


def initial(regulariser, trainer=TRAINER, seed=0):
    return steps.init(trainer, jax.random.key(seed), regulariser, np.zeros((1, FEATURES), np.float32))


def split(samples, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples, np.int32)
    images = rng.integers(0, 16, (samples, FEATURES), np.uint8) + 4 * labels[:, None].astype(np.uint8)
    return Split(images, labels, np.float32(0), np.float32(24))


class Recorder:
    """A split that notes which samples each minibatch held."""

    def __init__(self, samples):
        self.split, self.labels, self.seen = split(samples), split(samples).labels, []

    def batch(self, index):
        jax.debug.callback(lambda i: self.seen.append(np.asarray(i)), index, ordered=True)
        return self.split.batch(index)

    def train(self, state, n, **options):
        after = steps.train_epochs(TRAINER, state, self, n, **options)
        jax.effects_barrier()
        return after


def arrays(state):
    """All numbers of a state, keys as bits."""
    bare = state._replace(key=jax.random.key_data(state.key))
    return jax.tree.map(np.asarray, jax.tree.leaves(bare))


def assert_identical(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


# --- against plain NumPy ---------------------------------------------------------------------------------


def numpy_correlation(a):
    z = (a - a.mean(0)) / a.std(0, ddof=1)
    return z, z.T @ z / (len(a) - 1)


def numpy_penalty_gradient(a):
    """Section 3.1's dP/da, with the d x d matrix."""
    (m, d), (z, rho) = a.shape, numpy_correlation(a)
    return 2 / (d * (m - 1) * a.std(0, ddof=1)) * (z @ rho - z * (rho**2).sum(0))


def numpy_gradient(params, x, labels, weight):
    inputs, before, hidden = [x], [], 3
    for layer in range(1, hidden + 1):
        u = inputs[-1] @ params[f"hidden_{layer}"]["kernel"] + params[f"hidden_{layer}"]["bias"]
        before.append(u)
        inputs.append(np.where(u > 0, u, params[f"slope_{layer}"] * u))
    logits = inputs[-1] @ params["logits"]["kernel"] + params["logits"]["bias"]
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = (share - np.eye(CLASSES)[labels]) / len(x)
    gradient = {"logits": {"kernel": inputs[-1].T @ delta, "bias": delta.sum(0)}}
    delta = delta @ params["logits"]["kernel"].T
    for layer in range(hidden, 0, -1):
        delta = delta + weight * numpy_penalty_gradient(inputs[layer])
        u = before[layer - 1]
        gradient[f"slope_{layer}"] = (delta * np.where(u > 0, 0, u)).sum()
        delta = delta * np.where(u > 0, 1, params[f"slope_{layer}"])
        gradient[f"hidden_{layer}"] = {"kernel": inputs[layer - 1].T @ delta, "bias": delta.sum(0)}
        delta = delta @ params[f"hidden_{layer}"]["kernel"].T
    return gradient


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("weight", [None, 0.1])
def test_twenty_steps_are_plain_sgd(float64, weight, momentum):
    optimisation = dataclasses.replace(OPTIMISATION, momentum=momentum)
    trainer = dataclasses.replace(TRAINER, optimiser=sgd(optimisation))
    regulariser = Regulariser(penalty_weight=weight)
    with jax.enable_x64(False):  # as in training
        state = initial(regulariser, trainer)
    floating = (state.params, state.opt_state, state.regulariser)
    floating = jax.tree.map(lambda value: value.astype(jnp.float64), floating)
    state = state._replace(params=floating[0], opt_state=floating[1], regulariser=floating[2])

    params = jax.tree.map(np.array, state.params)
    velocity = jax.tree.map(np.zeros_like, params)
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, labels = rng.uniform(0, 1, (BATCH, FEATURES)), rng.integers(0, CLASSES, BATCH)
        state, _ = step(trainer, state, x, labels)
        gradient = numpy_gradient(params, x, labels, float(state.regulariser.penalty_weight or 0))
        velocity = jax.tree.map(lambda v, g, w: momentum * v + g + 1e-4 * w, velocity, gradient, params)
        params = jax.tree.map(lambda w, v: w - 0.05 * v, params, velocity)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-9, atol=1e-12), state.params, params)


@pytest.mark.parametrize("kind", ["cosine", "exponential"])
def test_a_rate_that_shrinks_scales_each_update(kind):
    optimisation = dataclasses.replace(OPTIMISATION, schedule=kind)
    trainer = dataclasses.replace(TRAINER, optimiser=sgd(optimisation, 5))
    state = initial(BOTH, trainer)
    for t in range(5):
        batch = split(BATCH, seed=t).batch(jnp.arange(BATCH))
        plain = initial(BOTH)._replace(params=state.params, step=state.step)
        after, _ = step(TRAINER, plain, *batch)
        before, (state, _) = state, step(trainer, state, *batch)
        factor = schedule(kind, 5)(t)
        wanted = jax.tree.map(lambda w, full: w + factor * (full - w), before.params, after.params)  # noqa: B023
        jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-7), state.params, wanted)


def test_a_penalty_that_shrinks_has_its_weight_times_the_factor():
    shrinking = dataclasses.replace(TRAINER, penalty_schedule=schedule("cosine", 5))
    batch = split(BATCH).batch(jnp.arange(BATCH))
    for t in (0, 1, 4):
        state = initial(Regulariser(penalty_weight=2.0))._replace(step=jnp.int32(t))
        weight = 2.0 * schedule("cosine", 5)(t)
        wanted, _ = step(TRAINER, state._replace(regulariser=Regulariser(penalty_weight=weight)), *batch)
        found, _ = step(shrinking, state, *batch)
        jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-7), found.params, wanted.params)
    vanilla = initial(Regulariser())
    assert_identical(arrays(step(shrinking, vanilla, *batch)[0]), arrays(step(TRAINER, vanilla, *batch)[0]))


@pytest.mark.parametrize("normalisation", ["batch", "whiten"])
def test_running_statistics_are_trained_and_evaluated_with(normalisation):
    model = MODEL.clone(architecture=dataclasses.replace(MODEL.architecture, normalisation=normalisation))
    trainer = dataclasses.replace(TRAINER, model=model)
    state, data = initial(BOTH, trainer), split(40)
    after, _, _ = jax.jit(steps.train_epoch, static_argnums=0)(
        trainer, state, data, jnp.arange(40).reshape(4, 10)
    )
    assert not np.allclose(after.batch_stats["norm_3"]["mean"], state.batch_stats["norm_3"]["mean"])
    found = evaluation.evaluate(trainer, after.variables, data)
    variables = {"params": after.params, "batch_stats": after.batch_stats}
    logits, _ = model.apply(variables, data.batch(slice(None))[0])
    np.testing.assert_allclose(found.nll, negative_log_likelihood(logits, data.labels), rtol=1e-5)
    with pytest.raises(ScopeCollectionNotFound):
        evaluation.evaluate(trainer, {"params": after.params}, data)


# --- whole epochs ----------------------------------------------------------------------------------------


def test_epochs_in_two_calls_are_epochs_in_one():
    train = jax.jit(functools.partial(steps.train_epochs, TRAINER), static_argnums=2)
    data, start = split(47), initial(BOTH)
    one, metrics, _ = train(start, data, 4)
    half, first, _ = train(start, data, 2)
    two, second, _ = train(half, data, 2)
    assert one.step == 4 * 4 and metrics.nll.shape == (4,)
    assert_identical(arrays(two), arrays(one))
    assert_identical(jax.tree.map(lambda *parts: np.concatenate(parts), first, second), metrics)


def test_numpy_arrays_are_trained_on_outside_jit_as_within():
    within = jax.jit(steps.train_epochs, static_argnums=(0, 3))(TRAINER, initial(BOTH), split(40), 2)
    outside = steps.train_epochs(TRAINER, initial(BOTH), split(40), 2)
    for found, wanted in zip(arrays(outside[0]), arrays(within[0]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_an_epoch_is_its_steps_and_observes_their_mean_correlation():
    data = Recorder(47)
    after, metrics, correlation = data.train(initial(BOTH), 2, observe=True)
    state, seen = initial(BOTH), []
    for index in data.seen:
        state, (nll, error, activations) = step(TRAINER, state, *data.split.batch(index))
        seen.append((nll, error, [np.corrcoef(a, rowvar=False) for a in activations]))
    close = {"rtol": 1e-4, "atol": 1e-5}
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, **close), after.params, state.params)
    nll, error, matrices = zip(*seen[-4:], strict=True)  # the second epoch
    np.testing.assert_allclose(metrics.nll[1], np.mean(nll), rtol=1e-5)
    np.testing.assert_allclose(metrics.error[1], np.mean(error), rtol=1e-5)
    for found, *wanted in zip(correlation, *matrices, strict=True):
        np.testing.assert_allclose(found, np.mean(wanted, axis=0), **close)


def test_every_epoch_is_another_permutation_the_same_for_all_regularisers():
    orders, parameters = [], []
    for regulariser in (Regulariser(), Regulariser(dropout_rate=0.3), Regulariser(penalty_weight=0.1)):
        data, state = Recorder(40), initial(regulariser)
        _, _, correlation = data.train(state, 2)
        assert not any(layer.any() for layer in correlation)  # not observed
        orders.append(np.reshape(data.seen, (2, 40)))
        parameters.append(state.params)
    np.testing.assert_array_equal(np.sort(orders[0], axis=1), [np.arange(40)] * 2)
    assert (orders[0][0] != orders[0][1]).any()
    for order, params in zip(orders[1:], parameters[1:], strict=True):
        np.testing.assert_array_equal(order, orders[0])
        assert_identical(params, parameters[0])


@pytest.mark.parametrize("samples", [1, 50, 1625, 1626, 60_000])  # JAX sorts once, up to 1625; then twice
def test_the_order_is_jaxs_permutation(samples):
    keys = jax.random.split(jax.random.key(0), 2)
    order = jax.vmap(lambda key: steps.minibatches(key, 0, samples, samples))(keys)
    mine = jax.vmap(lambda key: jax.random.fold_in(steps._keys(key).order, 0))(keys)
    wanted = jax.vmap(lambda key: jax.random.permutation(key, samples))(mine)
    np.testing.assert_array_equal(order[:, 0], wanted, strict=True)


def test_seeds_differ():
    first, second = (initial(BOTH, seed=seed).params["hidden_1"]["kernel"] for seed in (0, 1))
    assert (first != second).all()


def test_an_incomplete_minibatch_is_left_out():
    data = Recorder(47)
    data.train(initial(BOTH), 1)
    assert np.shape(data.seen) == (4, BATCH) and len(np.unique(data.seen)) == 40


def test_a_vectorised_run_is_the_run_alone():
    states = [initial(BOTH._replace(penalty_weight=w), seed=s) for s, w in enumerate((0, 1, 5))]
    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    lone, data = states[1], split(20 * BATCH)
    many = jax.jit(jax.vmap(functools.partial(steps.step, TRAINER), in_axes=(0, None, None)))
    for index in np.arange(20 * BATCH).reshape(20, BATCH):
        lanes, _ = many(lanes, *data.batch(index))
        lone, _ = step(TRAINER, lone, *data.batch(index))
    lane = jax.tree.map(lambda leaf: leaf[1], lanes)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-5), lane.params, lone.params)


@pytest.mark.parametrize(
    ("samples", "epochs", "message"),
    [
        (BATCH - 1, 1, f"a minibatch of {BATCH} needs as many samples; got {BATCH - 1}"),
        (BATCH, 0, "at least one epoch; got 0"),
    ],
)
def test_too_little_to_train_on(samples, epochs, message):
    with pytest.raises(ValueError, match=message):
        steps.train_epochs(TRAINER, initial(BOTH), split(samples), epochs)


# --- layers with positions -------------------------------------------------------------------------------

CONV = Trainer(
    ConvNet(Architecture((4, 5), "prelu", 0.25, "torch", input_dropout=False), CLASSES, (6, 1, 1)),
    sgd(OPTIMISATION),
    BATCH,
    max_samples=2 * BATCH,  # 2 of the 3 positions of layer 1
)


def test_layers_without_positions_are_seen_as_they_are():
    a = jnp.ones((BATCH, 7))
    assert seen((a, a), jax.random.key(0), 0)[0] is a


def test_every_layer_and_step_draws_other_positions():
    a = jnp.broadcast_to(jnp.arange(50.0)[None, :, None], (BATCH, 50, 1))
    draws = [seen((a, a), jax.random.key(seed), step, 100) for seed in (0, 1) for step in (0, 1)]
    drawn = [np.asarray(layer).tobytes() for draw in draws for layer in draw]
    assert len(set(drawn)) == 8 and draws[0][0].shape == (BATCH, 10, 1)
    assert_identical(jax.jit(seen, static_argnums=3)((a, a), jax.random.key(0), 0, 100), draws[0])


def test_the_penalty_sees_what_is_drawn():
    """A step against the gradient of what `seen` gives of the same state."""
    state, (x, labels) = initial(Regulariser(penalty_weight=0.1), CONV), split(BATCH).batch(...)
    after, minibatch = step(CONV, state, x, labels)
    assert [a.shape for a in minibatch.activations] == [(BATCH, 3, 1, 4), (BATCH, 2, 1, 5)]

    def loss(params):
        logits, activations = CONV.model.apply({"params": params}, x)
        sampled = seen(activations, state.key, state.step, 2 * BATCH)
        assert [a.shape for a in sampled] == [(BATCH, 2, 4), (BATCH, 2, 5)]
        nll = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()
        return nll + 0.1 * sum(correlation_penalty(a) for a in sampled)

    gradient = jax.jit(jax.grad(loss))(state.params)
    wanted = jax.tree.map(lambda w, g: w - 0.05 * (g + 1e-4 * w), state.params, gradient)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-7), after.params, wanted)


def test_correlations_observed_are_of_what_is_drawn():
    data, state = split(BATCH), initial(BOTH, CONV)
    order = np.arange(BATCH)[None]
    _, _, found = jax.jit(steps.train_epoch, static_argnums=0)(CONV, state, data, order, observe=True)
    _, minibatch = step(CONV, state, *data.batch(...))
    for rho, a in zip(found, seen(minibatch.activations, state.key, 0, 2 * BATCH), strict=True):
        np.testing.assert_allclose(rho, np.corrcoef(a.reshape(-1, a.shape[-1]).T), atol=1e-5)


def test_fewer_samples_than_a_minibatch_cannot_be_seen():
    with pytest.raises(ValueError, match="max_samples must be at least one an example, 10; got 9"):
        jax.eval_shape(
            functools.partial(steps.step, dataclasses.replace(CONV, max_samples=9)),
            initial(BOTH, CONV),
            *split(BATCH).batch(...),
        )
