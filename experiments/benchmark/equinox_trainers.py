"""Training as an Equinox user would write it: a network for one sample, vmapped over samples and networks."""

from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from experiments.benchmark import task
from experiments.benchmark.jax_trainers import gram_penalty, sgd
from experiments.benchmark.workers import Work
from experiments.grid.networks import Size, Variant
from experiments.grid.protocols import RELEASED


class Network(eqx.Module):
    """The paper's network; returns logits and activations of one sample."""

    hidden: list[eqx.nn.Linear]
    slopes: list[eqx.nn.PReLU]
    logits: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, widths: tuple[int, ...], dropout_rate: float, key: jax.Array) -> None:
        pairs = pairwise((task.SIDE**2, *widths, task.CLASSES))
        keys = jax.random.split(key, len(widths) + 1)
        *self.hidden, self.logits = (
            eqx.nn.Linear(i, o, key=k) for (i, o), k in zip(pairs, keys, strict=True)
        )
        self.slopes = [eqx.nn.PReLU() for _ in widths]
        self.dropout = eqx.nn.Dropout(dropout_rate)

    def __call__(self, x: jax.Array, key: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        first, *keys = jax.random.split(key, len(self.hidden) + 1)
        activations = []
        x = self.dropout(x, key=first)
        for linear, slope, k in zip(self.hidden, self.slopes, keys, strict=True):
            x = slope(linear(x))
            activations.append(x)
            x = self.dropout(x, key=k)
        return self.logits(x), activations


def ensemble(path: str, size: Size, variant: str, networks: int) -> Work:
    """Trains several networks at once. An epoch is one program. The penalty is `gram_penalty`."""
    data, regulariser = task.read(path), Variant.parse(variant).regulariser(RELEASED)
    widths = RELEASED.architecture(size).widths
    one = Network(widths, regulariser.dropout_rate or 0.0, jax.random.key(0))
    stacked = eqx.tree_at(_parameters, one, _values(data, networks, len(widths)))
    optimiser = sgd()
    state = optimiser.init(eqx.filter(stacked, eqx.is_inexact_array))
    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels)
    order = jnp.asarray(data.order[:networks].swapaxes(0, 1))

    def losses(network: Network, x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, activations = jax.vmap(network)(x, jax.random.split(key, len(x)))
        nll = loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        if regulariser.penalty_weight is not None:
            loss = nll + regulariser.penalty_weight * sum(map(gram_penalty, activations))
        return loss, nll

    @eqx.filter_jit(donate="all-except-first")
    def train(samples: Any, stacked: Network, state: Any, key: jax.Array) -> Any:
        images, labels, order = samples
        params, static = eqx.partition(stacked, eqx.is_inexact_array)

        def step(carry: Any, index: jax.Array) -> tuple[Any, jax.Array]:
            params, state, key = carry
            key, *keys = jax.random.split(key, networks + 1)
            gradients = eqx.filter_vmap(eqx.filter_grad(losses, has_aux=True))
            gradient, nll = gradients(
                eqx.combine(params, static), images[index], labels[index], jnp.stack(keys)
            )
            updates, state = optimiser.update(gradient, state, params)
            return (eqx.apply_updates(params, updates), state, key), nll

        (params, state, key), nll = jax.lax.scan(step, (params, state, key), order)
        return eqx.combine(params, static), state, key, nll.mean(axis=0)

    key = jax.random.key(0)

    def epoch() -> list[float]:
        nonlocal stacked, state, key
        stacked, state, key, nll = train((images, labels, order), stacked, state, key)
        return jax.device_get(nll).tolist()

    return epoch, {"nll": epoch(), "steps": networks * len(order)}


def _parameters(network: Network) -> list[Any]:
    layers = [*network.hidden, network.logits]
    return [
        *(slope.negative_slope for slope in network.slopes),
        *(layer.weight for layer in layers),
        *(layer.bias for layer in layers),
    ]


def _values(data: task.Task, networks: int, hidden: int) -> list[jax.Array]:
    """Returns the initial parameters [network, ...], in the order of `_parameters`."""
    numbers = range(1, hidden + 1)
    layers = [*(f"hidden_{i}" for i in numbers), "logits"]
    values = [
        *(data.params[f"slope_{i}"] for i in numbers),
        *(data.params[f"{layer}.kernel"].swapaxes(1, 2) for layer in layers),
        *(data.params[f"{layer}.bias"] for layer in layers),
    ]
    return [jnp.asarray(value[:networks]) for value in values]
