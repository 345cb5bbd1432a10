"""Training as a Flax NNX user would write it: a module with state, and NNX's transforms over networks and
minibatches."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.benchmark import task
from experiments.benchmark.jax_trainers import gram_penalty, sgd
from experiments.benchmark.workers import Work
from experiments.grid.networks import Size, Variant
from experiments.grid.protocols import RELEASED


class Network(nnx.Module):
    """The paper's network; returns logits and activations."""

    def __init__(self, widths: tuple[int, ...], dropout_rate: float, rngs: nnx.Rngs) -> None:
        *pairs, last = pairwise((task.SIDE**2, *widths, task.CLASSES))
        self.hidden = nnx.List(nnx.Linear(i, o, rngs=rngs) for i, o in pairs)
        self.slopes = nnx.List(nnx.PReLU() for _ in widths)
        self.logits = nnx.Linear(*last, rngs=rngs)
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        activations = []
        x = self.dropout(x)
        for linear, slope in zip(self.hidden, self.slopes, strict=True):
            x = slope(linear(x))
            activations.append(x)
            x = self.dropout(x)
        return self.logits(x), activations


def ensemble(path: str, size: Size, variant: str, networks: int) -> Work:
    """Trains several networks at once. An epoch is one program. The penalty is `gram_penalty`."""
    data, regulariser = task.read(path), Variant.parse(variant).regulariser(RELEASED)
    widths, rate = RELEASED.architecture(size).widths, regulariser.dropout_rate or 0.0

    @nnx.split_rngs(splits=networks)
    @nnx.vmap
    def create(rngs: nnx.Rngs) -> Network:
        return Network(widths, rate, rngs)

    stacked = create(nnx.Rngs(0))
    _begin(stacked, data, networks)
    optimiser = nnx.Optimizer(stacked, sgd(), wrt=nnx.Param)
    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels)
    order = jnp.asarray(data.order[:networks].swapaxes(0, 1))

    def losses(network: Network, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, activations = network(x)
        nll = loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        if regulariser.penalty_weight is not None:
            loss = nll + regulariser.penalty_weight * sum(map(gram_penalty, activations))
        return loss, nll

    gradients = nnx.vmap(nnx.grad(losses, has_aux=True))

    @nnx.jit
    def train(
        stacked: Network, optimiser: nnx.Optimizer, images: jax.Array, labels: jax.Array, order: jax.Array
    ) -> jax.Array:
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
        def steps(carry: Any, index: jax.Array) -> tuple[Any, jax.Array]:
            stacked, optimiser = carry
            gradient, nll = gradients(stacked, images[index], labels[index])
            optimiser.update(stacked, gradient)
            return carry, nll

        _, nll = steps((stacked, optimiser), order)
        return nll.mean(axis=0)

    def epoch() -> list[float]:
        return jax.device_get(train(stacked, optimiser, images, labels, order)).tolist()

    return epoch, {"nll": epoch(), "steps": networks * len(order)}


def _begin(stacked: Network, data: task.Task, networks: int) -> None:
    """Puts the initial parameters into the networks."""
    params = {name: jnp.asarray(values[:networks]) for name, values in data.params.items()}
    layers = {f"hidden_{i}": layer for i, layer in enumerate(stacked.hidden, start=1)}
    for name, layer in (layers | {"logits": stacked.logits}).items():
        layer.kernel, layer.bias = (nnx.Param(params[f"{name}.{kind}"]) for kind in ("kernel", "bias"))
    for i, slope in enumerate(stacked.slopes, start=1):
        slope.negative_slope = nnx.Param(params[f"slope_{i}"])
