"""Networks of a comparison: one run from its rows to its logits as a pure function, and many runs of it."""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from decorr import correlation_penalty, decov_loss, effective_units, sample_positions, vcreg_loss
from decorr.models import MLP, ConvNet, slopes
from decorr.training.steps import minibatches
from experiments.data.pool import Pool, Sample
from experiments.methods.corruptions import corruptions
from experiments.methods.measures import measures
from experiments.methods.recipes import Numbers, Recipe
from experiments.methods.trials import Runs

PENALTIES = {
    "corr": correlation_penalty,
    "decov": decov_loss,
    "vcreg": lambda a: vcreg_loss(a, 0.16, 0.01),
}
POSITIONS = 4096
"""Positions of a minibatch that a penalty sees of a convolutional layer."""
FIRST = 1000
"""Rows on which a penalty is measured before training: its share of the loss sets its weight."""
PRUNED = 0.8
"""Share of each hidden layer's weights, the smallest, that the pruned network lacks."""


class Run(NamedTuple):
    """What tells networks of one recipe apart; with a leading axis [run], several."""

    seed: Any
    numbers: Numbers
    sample: Sample


class Trained(NamedTuple):
    """What is kept of a network."""

    logits: dict[str, Array]
    """By inputs, [row, class]: train and tuning; of a report test, pruned and each corruption besides."""
    effective_units: Array
    """[layer], over the tuning rows."""
    slopes: Array
    """[layer], the learned slopes below zero; [0] if none is learned."""


def train(
    runs: Runs, pool: Pool, checkpoint: None, checkpoint_seconds: float, devices: Sequence[jax.Device]
) -> Iterator[tuple[int, list[dict[str, float]] | None]]:
    """Trains networks: on a CPU one after the other, on an accelerator all at once.

    Args:
      runs: which.
      pool: their data.
      checkpoint, checkpoint_seconds: not used: a network takes seconds.
      devices: the first of them trains.

    Yields:
      How many are done, at the start and since, with the numbers of those that have come since: `measures`, and
      seconds, of one training.
    """
    device, setting, yet = devices[0], runs.setting, 0
    report = runs.stage == "report"
    program = _program(setting.recipe(runs.method), report, pool.classes, pool.image_shape, device.platform)
    arrays = jax.device_put((pool.features, pool.labels), device)
    points = setting.numbers(runs.method)
    yield 0, None
    size = 1 if device.platform == "cpu" else runs.runs
    for first in range(0, runs.runs, size):
        together = runs.identities[first : first + size]
        samples = [pool.sample(setting.rows, identity.seed) for identity in together]
        inputs = [
            Run(np.int32(identity.seed), jax.tree.map(np.float32, points[identity.point]), sample)
            for identity, sample in zip(together, samples, strict=True)
        ]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *inputs)
        started = time.monotonic()
        trained = jax.tree.map(np.asarray, program(stacked, *arrays))
        seconds = (time.monotonic() - started) / len(together)
        numbers = []
        for place, sample in enumerate(samples):
            logits = {name: values[place] for name, values in trained.logits.items()}
            found = measures(logits, trained.effective_units[place], pool.labels, sample)
            slopes = {f"slope_{layer}": float(x) for layer, x in enumerate(trained.slopes[place], start=1)}
            numbers.append(found | slopes | {"seconds": seconds})
        yet += len(together)
        yield yet, numbers


@functools.cache
def _program(recipe: Recipe, report: bool, classes: int, image_shape: Any, platform: str) -> Any:
    one = functools.partial(run, recipe, report, classes, image_shape)
    if platform != "cpu":
        return jax.jit(jax.vmap(one, in_axes=(0, None, None)))

    # Without the axis [run] of length 1, whose matrix products are slower.
    def alone(runs: Run, *arrays: Array) -> Trained:
        trained = one(jax.tree.map(lambda leaf: leaf[0], runs), *arrays)
        return jax.tree.map(lambda leaf: leaf[None], trained)

    return jax.jit(alone)


def run(
    recipe: Recipe,
    report: bool,
    classes: int,
    image_shape: tuple[int, ...] | None,
    run: Run,
    features: Array,
    labels: Array,
) -> Trained:
    """Trains a network on its sample, and evaluates it after the last step.

    Args:
      recipe: how; static.
      report: whether it is tested too; static.
      classes, image_shape: of the pool; static.
      run: seed, numbers and sample.
      features, labels: of the pool.
    """
    inputs = _scaling(image_shape, features, run.sample)
    model = model_of(recipe, classes, image_shape)
    key, (train, tuning, test) = jax.random.key(run.seed), run.sample
    variables = fit(recipe, model, run.numbers, key, inputs(train), labels[train])
    made = {"train": inputs(train), "tuning": inputs(tuning)}
    if report:
        made["test"] = inputs(test)
        made |= corruptions(made["test"], image_shape)
    logits = {name: model.apply(variables, x)[0] for name, x in made.items()}
    if report:
        logits["pruned"] = model.apply(_pruned(variables), made["test"])[0]
    _, activations = model.apply(variables, made["tuning"])
    worth = [effective_units(_seen(a, key)) for a in activations]
    return Trained(logits, jnp.stack(worth), slopes(variables["params"]))


def _scaling(image_shape: tuple[int, ...] | None, features: Array, sample: Sample) -> Any:
    """What makes a network's inputs [row, feature] of rows: pixels divided by the largest, columns z-scored by
    the training rows, gaps replaced by the mean."""
    train = features[sample.train].astype(jnp.float32)
    if image_shape is not None:
        offset, scale = jnp.zeros(()), train.max()
    else:
        offset, deviation = jnp.nanmean(train, axis=0), jnp.nanstd(train, axis=0)
        scale = jnp.where(deviation > 0, deviation, 1)
        offset, scale = offset[None], scale[None]
    return lambda rows: jnp.nan_to_num((features[rows].astype(jnp.float32) - offset) / scale)


def model_of(recipe: Recipe, classes: int, image_shape: tuple[int, ...] | None) -> MLP | ConvNet:
    """The network of a recipe."""
    if recipe.family == "conv":
        assert image_shape is not None
        return ConvNet(recipe.architecture, classes, image_shape)
    return MLP(recipe.architecture, classes)


def fit(
    recipe: Recipe, model: MLP | ConvNet, numbers: Numbers, key: Array, x: Array, labels: Array
) -> dict[str, Any]:
    """The model's variables after training on inputs [row, feature] and labels [row]."""
    init_key, order_key, dropout_key = jax.random.split(key, 3)
    variables = model.init(init_key, x[:1])
    params, statistics = variables["params"], variables.get("batch_stats", {})
    optimiser = _optimiser(recipe, numbers)
    weight = _penalty_weight(recipe, model, variables, numbers, x)
    order = minibatches(order_key, 0, len(labels), recipe.batch_size, recipe.steps)

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        (params, opt_state, statistics), (number, rows) = carry, now
        step_key = jax.random.fold_in(dropout_key, number)

        def objective(params: Any) -> tuple[Array, Any]:
            logits, activations, after = _applied(model, params, statistics, x[rows], numbers, step_key)
            value = cross_entropy(logits, labels[rows], numbers.smoothing)
            if weight is not None:
                factor = 1 - number / recipe.steps if recipe.fades else 1.0
                value = value + weight * factor * _penalty(recipe, activations, step_key)
            if numbers.orthogonality is not None:
                value = value + numbers.orthogonality * _orthogonality(params)
            return value, after

        gradient, after = jax.grad(objective, has_aux=True)(params)
        updates, opt_state = optimiser.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, after), None

    start = params, optimiser.init(params), statistics
    (params, _, statistics), _ = jax.lax.scan(step, start, (jnp.arange(recipe.steps), order))
    return {"params": params} | ({"batch_stats": statistics} if statistics else {})


def _applied(
    model: MLP | ConvNet, params: Any, statistics: Any, x: Array, numbers: Numbers, key: Array
) -> tuple[Array, Any, Any]:
    """Logits, activations and running statistics of a training step."""
    rngs, rate = {"dropout": key}, numbers.dropout_rate
    if not statistics:
        return *model.apply({"params": params}, x, rate, rngs=rngs), statistics
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = model.apply(variables, x, rate, train=True, rngs=rngs, mutable=["batch_stats"])
    return *outputs, changed["batch_stats"]


def cross_entropy(logits: Array, labels: Array, smoothing: Any = None) -> Array:
    """The mean of -sum_c q_c log softmax(logits)_c, q the label's one-hot vector, smoothed if asked."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if smoothing is not None:
        targets = optax.smooth_labels(targets, smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def _optimiser(recipe: Recipe, numbers: Numbers) -> optax.GradientTransformation:
    decayed = None if recipe.decays == "all" else _is_kernel
    rate = functools.partial(_rate, recipe, numbers.learning_rate)
    clip = [optax.clip_by_global_norm(1.0)] if recipe.clip else []
    if recipe.optimiser == "adamw":
        return optax.chain(*clip, optax.adamw(rate, weight_decay=numbers.weight_decay, mask=decayed))
    momentum = {"momentum": 0.9, "nesterov": True} if recipe.optimiser == "momentum" else {}
    decay = optax.add_decayed_weights(numbers.weight_decay, decayed)
    return optax.chain(*clip, decay, optax.sgd(rate, **momentum))


def _rate(recipe: Recipe, rate: Any, step: Any) -> Any:
    """The learning rate of a step."""
    if recipe.schedule == "constant":
        return rate
    done = (step + 1) / recipe.steps
    warm = 0.05
    return rate * jnp.where(done < warm, done / warm, (1 + jnp.cos(jnp.pi * (done - warm) / (1 - warm))) / 2)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _penalty_weight(recipe: Recipe, model: MLP | ConvNet, variables: Any, numbers: Numbers, x: Array) -> Any:
    """What the penalty's share is as its multiplier; None without a penalty."""
    if recipe.penalty == "none":
        return None
    logits, activations = model.apply(variables, x[:FIRST])
    return (
        numbers.penalty_share * math.log(logits.shape[-1]) / _penalty(recipe, activations, jax.random.key(0))
    )


def _penalty(recipe: Recipe, activations: Any, key: Array) -> Array:
    """Its sum over layers."""
    return sum(PENALTIES[recipe.penalty](_seen(a, key)) for a in activations)  # type: ignore[return-value]


def _seen(a: Array, key: Array) -> Array:
    """Of a layer with positions some of each row."""
    return sample_positions(a, key, max(POSITIONS, len(a))) if a.ndim > 2 else a


def _orthogonality(params: Any) -> Array:
    """sum over hidden layers of |W^T W - I|^2 / units, W's columns scaled to unit length."""
    total = jnp.zeros(())
    for name, layer in params.items():
        if name.startswith("hidden"):
            kernel = layer["kernel"].reshape(-1, layer["kernel"].shape[-1])
            unit = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=0, keepdims=True) + 1e-12)
            total += jnp.sum((unit.T @ unit - jnp.eye(unit.shape[1])) ** 2) / unit.shape[1]
    return total


def _pruned(variables: Any) -> Any:
    """The variables without the smallest weights of each hidden layer."""

    def cut(path: Any, leaf: Array) -> Array:
        names = [key.key for key in path]
        if names[-1] != "kernel" or not names[-2].startswith("hidden"):
            return leaf
        return jnp.where(jnp.abs(leaf) < jnp.quantile(jnp.abs(leaf), PRUNED), 0, leaf)

    return variables | {"params": jax.tree.map_with_path(cut, variables["params"])}
