"""The training of one network, as a pure function of its hyperparameters, its seed and its rows."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from decorr import correlation_penalty, decov_loss, sample_positions, vcreg_loss
from decorr.models import MLP, ConvNet, slopes
from decorr.training.order import minibatches
from experiments.comparison.recipes import Numbers, Recipe
from experiments.run import cpu

PENALTIES = {
    "corr": correlation_penalty,
    "decov": decov_loss,
    "vcreg": lambda a: vcreg_loss(a, 0.16, 0.01),
}
POSITIONS = 4096
"""Number of positions that a penalty samples from a convolutional layer's minibatch."""
FIRST = 1000
"""Number of rows on which a penalty is measured before training. The penalty's weight follows from the
measured value and the penalty's share of the loss."""
PRUNED = 0.8
"""Pruning sets this share of each hidden layer's weights to 0, beginning with the smallest."""


def model_of(recipe: Recipe, classes: int, image_shape: tuple[int, ...] | None) -> MLP | ConvNet:
    """Returns the network of a recipe."""
    if recipe.family == "conv":
        assert image_shape is not None
        return ConvNet(recipe.architecture, classes, image_shape)
    return MLP(recipe.architecture, classes, dot_general=cpu.dot_general)


def fit(
    recipe: Recipe,
    model: MLP | ConvNet,
    numbers: Numbers,
    key: Array,
    x: Array,
    labels: Array,
    copied: Array | None = None,
) -> tuple[dict[str, Any], Array]:
    """Trains a network.

    Args:
      recipe: how the network is trained.
      model: the network, from `model_of`.
      numbers: the network's hyperparameters.
      key: the random key for initial parameters, minibatches and dropout.
      x: inputs [row, feature].
      labels: labels [row].
      copied: slopes [step, layer] that replace the network's own slopes after each step.

    Returns:
      The model's variables after the last step, and the slopes [step, layer] after every step.
    """
    init_key, order_key, dropout_key = jax.random.split(key, 3)
    variables = model.init(init_key, x[:1])
    params, statistics = variables["params"], variables.get("batch_stats", {})
    optimiser = optimiser_of(recipe, numbers)
    weight = _penalty_weight(recipe, model, variables, numbers, x)
    order = minibatches(order_key, 0, len(labels), recipe.batch_size, recipe.steps)

    def step(carry: Any, now: Any) -> tuple[Any, Array]:
        (params, opt_state, statistics), (number, rows, given) = carry, now
        step_key = jax.random.fold_in(dropout_key, number)

        def objective(params: Any) -> tuple[Array, Any]:
            current, rngs = {"params": params, "batch_stats": statistics}, {"dropout": step_key}
            (logits, activations), changed = model.apply(
                current, x[rows], numbers.dropout_rate, train=True, rngs=rngs, mutable=["batch_stats"]
            )
            value = cross_entropy(logits, labels[rows], numbers.smoothing)
            if weight is not None:
                factor = 1 - number / recipe.steps if recipe.fades else 1.0
                value = value + weight * factor * _penalty(recipe, activations, step_key)
            if numbers.orthogonality is not None:
                value = value + numbers.orthogonality * _orthogonality(params)
            return value, changed["batch_stats"]

        gradient, after = jax.grad(objective, has_aux=True)(params)
        updates, opt_state = optimiser.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        if given is not None:
            params = params | {f"slope_{layer}": slope for layer, slope in enumerate(given, start=1)}
        return (params, opt_state, after), slopes(params)

    start = params, optimiser.init(params), statistics
    steps = jnp.arange(recipe.steps), order, copied
    (params, _, statistics), trajectory = jax.lax.scan(step, start, steps)
    return {"params": params, "batch_stats": statistics}, trajectory


def cross_entropy(logits: Array, labels: Array, smoothing: Any = None) -> Array:
    """Returns -sum_c q_c log softmax(logits)_c, averaged over rows. q is the label's one-hot vector, smoothed
    if `smoothing` is given."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if smoothing is not None:
        targets = optax.smooth_labels(targets, smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def optimiser_of(recipe: Recipe, numbers: Numbers) -> optax.GradientTransformation:
    decayed = _is_kernel if recipe.weight_decay is None else None
    rate = functools.partial(_rate, recipe, numbers.learning_rate)
    clip = [optax.clip_by_global_norm(1.0)] if recipe.clip else []
    if recipe.optimiser == "adamw":
        return optax.chain(*clip, optax.adamw(rate, weight_decay=numbers.weight_decay, mask=decayed))
    momentum = {"momentum": 0.9, "nesterov": True} if recipe.optimiser == "momentum" else {}
    decay = optax.add_decayed_weights(numbers.weight_decay, decayed)
    return optax.chain(*clip, decay, optax.sgd(rate, **momentum))


def _rate(recipe: Recipe, rate: Any, step: Any) -> Any:
    """Returns the learning rate of a step."""
    if recipe.schedule == "constant":
        return rate
    done = (step + 1) / recipe.steps
    warm = 0.05
    return rate * jnp.where(done < warm, done / warm, (1 + jnp.cos(jnp.pi * (done - warm) / (1 - warm))) / 2)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _penalty_weight(recipe: Recipe, model: MLP | ConvNet, variables: Any, numbers: Numbers, x: Array) -> Any:
    """Returns the penalty's weight, computed from its share of the loss; None if there is no penalty."""
    if recipe.penalty == "none":
        return None
    logits, activations = model.apply(variables, x[:FIRST])
    before = _penalty(recipe, activations, jax.random.key(0))
    assert numbers.penalty_share is not None
    return numbers.penalty_share * math.log(logits.shape[-1]) / before


def _penalty(recipe: Recipe, activations: Any, key: Array) -> Array:
    """Returns the penalty, summed over layers."""
    of_layer = PENALTIES[recipe.penalty]
    return jnp.stack([of_layer(some_positions(a, key)) for a in activations]).sum()


def some_positions(a: Array, key: Array) -> Array:
    """Returns a layer's activations; if the layer has positions, only those at random positions."""
    return sample_positions(a, key, max(POSITIONS, len(a))) if a.ndim > 2 else a


def _orthogonality(params: Any) -> Array:
    """Returns |W^T W - I|^2 / units, summed over hidden layers. W is a kernel whose columns are scaled to
    length 1."""
    total = jnp.zeros(())
    for name, layer in params.items():
        if name.startswith("hidden"):
            kernel = layer["kernel"].reshape(-1, layer["kernel"].shape[-1])
            unit = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=0, keepdims=True) + 1e-12)
            total += jnp.sum((unit.T @ unit - jnp.eye(unit.shape[1])) ** 2) / unit.shape[1]
    return total


def pruned(variables: Any) -> Any:
    """Returns the variables, with the smallest weights of each hidden layer set to 0."""

    def cut(path: Any, leaf: Array) -> Array:
        names = [key.key for key in path]
        if names[-1] != "kernel" or not names[-2].startswith("hidden"):
            return leaf
        return jnp.where(jnp.abs(leaf) < jnp.quantile(jnp.abs(leaf), PRUNED), 0, leaf)

    return variables | {"params": jax.tree.map_with_path(cut, variables["params"])}
