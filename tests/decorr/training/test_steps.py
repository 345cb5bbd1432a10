"""Training against SGD in plain NumPy; runs are resumable, paired and independent."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from decorr.config import Architecture, Optimisation, Regulariser
from decorr.models import MLP, ConvNet
from decorr.penalties import correlation_penalty
from decorr.training import evaluation, steps
from decorr.training.objective import negative_log_likelihood
from decorr.training.order import Keys, minibatches
from decorr.training.schedules import schedule
from decorr.training.split import Split
from decorr.training.steps import Trainer, sgd
from decorr.training.subsample import subsample

FEATURES, CLASSES, BATCH = 6, 3, 10
OPTIMISATION = Optimisation(batch_size=BATCH)
MODEL = MLP(Architecture((7, 5), "prelu", 0.25, "torch", input_dropout=True), CLASSES)
BOTH = Regulariser(penalty_weight=0.1, dropout_rate=0.3)

TRAINER = Trainer(MODEL, sgd(OPTIMISATION), BATCH)
step = jax.jit(steps.step, static_argnums=0)
train_epochs = jax.jit(steps.train_epochs, static_argnums=(0, 3))
init = jax.jit(steps.init, static_argnums=0)


def initial(regulariser, trainer=TRAINER, seed=0):
    return init(trainer, jax.random.key(seed), regulariser, np.zeros((1, FEATURES), np.float32))


def split(samples, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples, np.int32)
    images = rng.integers(0, 16, (samples, FEATURES), np.uint8) + 4 * labels[:, None].astype(np.uint8)
    return Split(images, labels, np.float32(0), np.float32(24))


class Recorder:
    """A split that records which samples each minibatch held."""

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


def numpy_penalty_gradient(a):
    """Section 3.1's dP/da, with the d x d matrix."""
    (m, d), z = a.shape, (a - a.mean(0)) / a.std(0, ddof=1)
    rho = z.T @ z / (m - 1)
    return 2 / (d * (m - 1) * a.std(0, ddof=1)) * (z @ rho - z * (rho**2).sum(0))


def numpy_gradient(params, x, labels, weight):
    inputs, before, hidden = [x], [], 2
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


@pytest.mark.parametrize(("weight", "momentum"), [(None, 0.0), (0.1, 0.8)])
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


def batch_of(seed=1):
    return split(BATCH, seed).batch(np.arange(BATCH))


def test_a_rate_that_shrinks_scales_each_update():
    optimisation = dataclasses.replace(OPTIMISATION, schedule="cosine")
    trainer = dataclasses.replace(TRAINER, optimiser=sgd(optimisation, 5))
    state = initial(BOTH, trainer)
    for t in range(5):
        plain = initial(BOTH)._replace(params=state.params, step=state.step)
        after, _ = step(TRAINER, plain, *batch_of(t))
        before, (state, _) = state, step(trainer, state, *batch_of(t))
        factor = (1 + np.cos(np.pi * t / 5)) / 2
        before, after = jax.tree.map(np.asarray, (before.params, after.params))
        wanted = jax.tree.map(lambda w, full: w + factor * (full - w), before, after)  # noqa: B023
        jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-6), state.params, wanted)


def test_a_penalty_that_shrinks_has_its_weight_times_the_factor():
    shrinking = dataclasses.replace(TRAINER, penalty_schedule=schedule("cosine", 5))
    for t in (0, 1, 4):
        state = initial(BOTH._replace(penalty_weight=2.0))._replace(step=jnp.int32(t))
        weight = jnp.float32(1 + np.cos(np.pi * t / 5))
        scaled = state._replace(regulariser=state.regulariser._replace(penalty_weight=weight))
        found, wanted = step(shrinking, state, *batch_of())[0], step(TRAINER, scaled, *batch_of())[0]
        jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-6), found.params, wanted.params)
    vanilla = initial(Regulariser())
    programs = [step.lower(trainer, vanilla, *batch_of()).as_text() for trainer in (shrinking, TRAINER)]
    assert programs[0] == programs[1]


def test_running_statistics_are_trained_and_evaluated_with():
    model = MODEL.clone(architecture=dataclasses.replace(MODEL.architecture, normalisation="batch"))
    trainer = dataclasses.replace(TRAINER, model=model)
    state, data = initial(Regulariser(), trainer), split(40)
    after, _ = step(trainer, state, *batch_of())
    assert not np.allclose(after.batch_stats["norm_2"]["mean"], state.batch_stats["norm_2"]["mean"])
    evaluate = jax.jit(evaluation.evaluate, static_argnums=0)
    found = evaluate(trainer, after.variables, data)
    variables = {"params": after.params, "batch_stats": after.batch_stats}
    logits, _ = jax.jit(model.apply)(variables, data.batch(slice(None))[0])
    np.testing.assert_allclose(found.nll, negative_log_likelihood(logits, data.labels), rtol=1e-5)


# --- whole epochs ----------------------------------------------------------------------------------------


def test_epochs_in_two_calls_are_epochs_in_one():
    # At least two epochs per call, because XLA rounds differently if a loop has one iteration.
    data, start = split(47), initial(BOTH)
    one, metrics, correlation = train_epochs(TRAINER, start, data, 4)
    half, first, _ = train_epochs(TRAINER, start, data, 2)
    two, second, _ = train_epochs(TRAINER, half, data, 2)
    assert one.step == 4 * 4 and metrics.nll.shape == (4,)
    assert_identical(arrays(two), arrays(one))
    assert_identical(jax.tree.map(lambda *parts: np.concatenate(parts), first, second), metrics)
    assert not any(layer.any() for layer in correlation)  # not observed


def test_epochs_are_their_steps_and_observe_their_mean_correlation():
    """Runs outside of `jit`, which NumPy's arrays allow. Results inside of `jit` must be the same."""
    data, start = Recorder(47), initial(BOTH)
    after, metrics, correlation = data.train(start, 2, observe=True)
    orders = [np.asarray(minibatches(start.key, step, 47, BATCH)) for step in (0, 4)]
    np.testing.assert_array_equal(data.seen, np.concatenate(orders))
    state, seen = start, []
    for index in data.seen:
        state, (nll, error, activations) = step(TRAINER, state, *data.split.batch(index))
        seen.append((nll, error, [np.corrcoef(a, rowvar=False) for a in activations]))
    close = {"rtol": 1e-4, "atol": 1e-5}
    within = train_epochs(TRAINER, start, data.split, 2)
    for other in (state, within[0]):
        jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, **close), after.params, other.params)
    nll, error, matrices = zip(*seen[-4:], strict=True)  # the second epoch
    for found in (metrics, within[1]):
        np.testing.assert_allclose(found.nll[1], np.mean(nll), rtol=1e-5)
        np.testing.assert_allclose(found.error[1], np.mean(error), rtol=1e-5)
    for found, *wanted in zip(correlation, *matrices, strict=True):
        np.testing.assert_allclose(found, np.mean(wanted, axis=0), **close)


def test_every_epoch_is_another_permutation_and_incomplete_minibatches_are_left_out():
    orders = [np.ravel(minibatches(jax.random.key(0), step, 47, BATCH)) for step in (0, 4)]
    for order in orders:
        assert order.size == len(set(order.tolist())) == 40 and set(order.tolist()) < set(range(47))
    assert (orders[0] != orders[1]).any()


def test_regularisers_change_neither_the_order_nor_the_initial_network():
    """The order depends on the key and the step only."""
    plain, both = initial(Regulariser()), initial(BOTH)
    assert_identical(arrays(both._replace(regulariser=plain.regulariser)), arrays(plain))


@pytest.mark.parametrize("samples", [1, 1625, 1626])  # JAX sorts once up to 1625 samples, then twice
def test_the_order_is_jaxs_permutation(samples):
    @jax.jit
    @jax.vmap
    def both(key):
        mine = jax.random.fold_in(Keys.of(key).order, 0)
        return minibatches(key, 0, samples, samples)[0], jax.random.permutation(mine, samples)

    np.testing.assert_array_equal(*both(jax.random.split(jax.random.key(0), 2)), strict=True)


def test_every_step_has_masks_of_its_own():
    states = [initial(BOTH)._replace(step=jnp.int32(t)) for t in (0, 1)]
    first, second = (step(TRAINER, state, *batch_of())[1].activations[0] for state in states)
    assert (np.asarray(first) != second).any()


def test_seeds_differ():
    first, second = (initial(BOTH, seed=seed).params["hidden_1"]["kernel"] for seed in (0, 1))
    assert (first != second).all()


def test_a_vectorised_run_is_the_run_alone():
    states = [initial(BOTH._replace(penalty_weight=w), seed=s) for s, w in enumerate((0.0, 1.0, 5.0))]
    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    lone, data = states[1], split(20 * BATCH)
    many = jax.jit(jax.vmap(functools.partial(steps.step, TRAINER), in_axes=(0, None, None)))
    for index in np.arange(20 * BATCH).reshape(20, BATCH):
        lanes, _ = many(lanes, *data.batch(index))
        lone, _ = step(TRAINER, lone, *data.batch(index))
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(np.asarray(f)[1], w, atol=1e-5), lanes.params, lone.params
    )


@pytest.mark.parametrize(
    ("samples", "epochs", "message"),
    [
        (BATCH - 1, 1, f"a minibatch of {BATCH} needs at least {BATCH} samples; got {BATCH - 1}"),
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
PENALISED = Regulariser(penalty_weight=0.1)


sampled = jax.jit(subsample, static_argnums=3)


def test_layers_without_positions_are_seen_as_they_are():
    a = jnp.ones((BATCH, 7))
    assert subsample((a, a), jax.random.key(0), 0)[0] is a


def test_every_layer_and_step_draws_other_positions():
    a = np.broadcast_to(np.arange(50, dtype=np.float32)[None, :, None], (BATCH, 50, 1))
    draws = [sampled((a, a), jax.random.key(seed), step, 100) for seed in (0, 1) for step in (0, 1)]
    drawn = [np.asarray(layer).tobytes() for draw in draws for layer in draw]
    assert len(set(drawn)) == 8 and draws[0][0].shape == (BATCH, 10, 1)


def test_the_penalty_sees_what_is_drawn():
    """Compares a step with the gradient at the samples that `subsample` draws for the same state."""
    state, (x, labels) = initial(PENALISED, CONV), split(BATCH).batch(...)
    after, minibatch = step(CONV, state, x, labels)
    assert [a.shape for a in minibatch.activations] == [(BATCH, 3, 1, 4), (BATCH, 2, 1, 5)]

    def loss(params):
        logits, activations = CONV.model.apply({"params": params}, x)
        sampled = subsample(activations, state.key, state.step, 2 * BATCH)
        assert [a.shape for a in sampled] == [(BATCH, 2, 4), (BATCH, 2, 5)]
        nll = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()
        return nll + 0.1 * sum(correlation_penalty(a) for a in sampled)

    gradient = jax.jit(jax.grad(loss))(state.params)
    wanted = jax.tree.map(lambda w, g: w - 0.05 * (g + 1e-4 * w), state.params, gradient)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-7), after.params, wanted)


def test_correlations_observed_are_of_what_is_drawn():
    data, state = split(BATCH), initial(PENALISED, CONV)
    order = np.arange(BATCH)[None]
    _, _, found = jax.jit(steps.train_epoch, static_argnums=0)(CONV, state, data, order, observe=True)
    _, minibatch = step(CONV, state, *data.batch(...))
    for rho, a in zip(found, sampled(minibatch.activations, state.key, 0, 2 * BATCH), strict=True):
        np.testing.assert_allclose(rho, np.corrcoef(np.reshape(a, (-1, a.shape[-1])).T), atol=1e-5)


def test_fewer_samples_than_a_minibatch_cannot_be_seen():
    with pytest.raises(ValueError, match="max_samples must be at least 10, one per example; got 9"):
        jax.eval_shape(
            functools.partial(steps.step, dataclasses.replace(CONV, max_samples=9)),
            initial(PENALISED, CONV),
            *split(BATCH).batch(...),
        )


@pytest.mark.parametrize("name", [pytest.param("lbfgs", marks=pytest.mark.slow), "reduce_on_plateau"])
def test_optimisers_that_look_at_the_loss(name):
    home = optax if name == "lbfgs" else optax.contrib
    if not hasattr(home, name):
        pytest.skip("a newer optax has it")
    optimiser = getattr(home, name)()
    if "loss" in inspect.signature(optimiser.update).parameters:
        pytest.skip("a newer optax calls it value")
    optimiser = optimiser if name == "lbfgs" else optax.chain(optax.sgd(0.1), optimiser)
    trainer = Trainer(MODEL, optimiser, 40)  # the minibatch is the whole set, so its loss falls in every step
    state, data = initial(Regulariser(penalty_weight=0.1), trainer), split(40)
    losses = []
    with jax.numpy_dtype_promotion("standard"):  # optax's line search needs this
        for _ in range(8):
            state, minibatch = step(trainer, state, *data.batch(...))
            losses.append(minibatch.nll)
    assert state.step == 8 and losses[-1] < losses[0]
