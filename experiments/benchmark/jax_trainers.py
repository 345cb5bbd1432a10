"""The sweep's engine, the loop that a Flax user would write, and a lower bound on their time."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from flax.traverse_util import unflatten_dict

from decorr.training.split import Split
from experiments.benchmark import task
from experiments.benchmark.workers import Work
from experiments.grid.networks import Family, Size, Variant
from experiments.grid.protocols import RELEASED
from experiments.run import epochs, host
from experiments.run.engine import Engine
from experiments.run.layout import Layout


def sweep_engine(
    family: Family,
    size: Size,
    variant: str,
    networks: int,
    devices: int | None = None,
    lanes: int | None = None,
) -> Work:
    """Trains for an epoch like `experiments.sweep`, with the same order of minibatches, but does not
    evaluate.

    `networks` is the number of networks on each device. By default, the engine uses all devices, and
    chooses how many networks share a vmap (`lanes`).
    """
    host.configure()
    images, labels = task.pixels(family)
    split = Split(images, labels, np.zeros((), np.float32), np.full((), 255, np.float32))
    layout = Layout.of(jax.devices()[:devices], lanes)
    runs = networks * layout.mesh.size
    (train,) = layout.share(split)
    cell = task.cell(family, size, Variant.parse(variant), runs)
    trainer = epochs.trainer_of(cell, task.CLASSES, (task.SIDE, task.SIDE, 1), len(labels))
    engine = Engine(trainer, layout)
    states = engine.start(range(runs), cell.variant.regulariser(RELEASED), images.shape[1])

    def epoch():
        nonlocal states
        states, metrics, _ = engine.train_epoch(states, train, False)
        return np.asarray(metrics.nll).tolist()

    steps = len(labels) // RELEASED.optimisation.batch_size
    return epoch, {"nll": epoch(), "steps": runs * steps}


class Network(nn.Module):
    """The paper's network, made of Flax's own layers; returns logits and activations."""

    family: Family
    widths: tuple[int, ...]
    dropout_rate: float

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        affine: Any = nn.Dense
        if self.family == "conv":
            affine = partial(nn.Conv, kernel_size=(3, 3), strides=2, padding=1)
            x = x.reshape(-1, task.SIDE, task.SIDE, 1)
        activations = []
        x = nn.Dropout(self.dropout_rate, deterministic=not self.dropout_rate)(x)
        for layer, width in enumerate(self.widths, start=1):
            x = nn.PReLU(name=f"slope_{layer}")(affine(width, name=f"hidden_{layer}")(x))
            activations.append(x.reshape(-1, width))
            x = nn.Dropout(self.dropout_rate, deterministic=not self.dropout_rate)(x)
        return nn.Dense(task.CLASSES, name="logits")(x.reshape(len(x), -1)), activations


def plain_penalty(a: jax.Array) -> jax.Array:
    """Computes P as the paper writes it, from the d x d correlation matrix."""
    m, d = a.shape
    z = (a - a.mean(axis=0)) / a.std(axis=0, ddof=1)
    rho = jnp.matmul(z.T, z, precision=jax.lax.Precision.HIGHEST) / (m - 1)
    return jnp.sum(rho**2) / (2 * d)


def gram_penalty(a: jax.Array) -> jax.Array:
    """Computes P as an expert would write it, from the m x m Gram matrix if that is smaller."""
    m, d = a.shape
    z = (a - a.mean(axis=0)) / a.std(axis=0, ddof=1)
    smaller = z.T @ z if d <= m else z @ z.T
    return jnp.sum((smaller / (m - 1)) ** 2) / (2 * d)


def sgd() -> optax.GradientTransformation:
    """Returns the released protocol's optimiser, as a user of optax would write it."""
    optimisation = RELEASED.optimisation
    return optax.chain(
        optax.add_decayed_weights(optimisation.weight_decay),
        optax.sgd(optimisation.learning_rate, optimisation.momentum or None),
    )


def flax_loop(path: str, family: Family, size: Size, variant: str) -> Work:
    """Trains one network by a jitted step for each minibatch, like Flax's MNIST example. The penalty is
    computed from the d x d matrix, like in the paper."""
    data, regulariser = task.read(path), Variant.parse(variant).regulariser(RELEASED)
    network = Network(
        family, task.protocol(family).architecture(size).widths, regulariser.dropout_rate or 0.0
    )
    renamed = {
        f"{name}.negative_slope" if name.startswith("slope") else name: jnp.asarray(values[0])
        for name, values in data.params.items()
    }
    state = TrainState.create(apply_fn=network.apply, params=unflatten_dict(renamed, sep="."), tx=sgd())
    key = jax.random.key(0)

    @jax.jit
    def step(state: TrainState, x: jax.Array, labels: jax.Array) -> tuple[TrainState, jax.Array]:
        def losses(params: Any) -> tuple[jax.Array, jax.Array]:
            rngs = {"dropout": jax.random.fold_in(key, state.step)}
            logits, activations = state.apply_fn({"params": params}, x, rngs=rngs)
            nll = loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            if regulariser.penalty_weight is not None:
                loss = nll + regulariser.penalty_weight * sum(map(plain_penalty, activations))
            return loss, nll

        gradient, nll = jax.grad(losses, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradient), nll

    def epoch():
        nonlocal state
        seen = []
        for index in data.order[0]:
            state, nll = step(state, data.images[index], data.labels[index])
            seen.append(nll)
        return [float(np.mean(jax.device_get(seen)))]

    return epoch, {"nll": epoch(), "steps": len(data.order[0])}


def matrix_product(side: int = 1024) -> Work:
    """Multiplies square float32 matrices on all cores or the accelerator. One multiply-add counts as one
    step."""
    a = jax.random.normal(jax.random.key(0), (side, side))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))

    def work():
        product(a).block_until_ready()

    work()
    return work, {"steps": side**3}
