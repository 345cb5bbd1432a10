"""What every trainer trains: the same networks, from the same parameters, on the same minibatches.

A Task is made once by the engine's own functions and stored, so that a peer needs no JAX to read it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from decorr.config import Size, Variant
from experiments.paper.protocols import RELEASED
from experiments.run.grid import Cell

SAMPLES, SIDE, CLASSES = 10_000, 28, 10
NETWORKS = 64
"""How many there are to be had: the widest ensemble."""


class Task(NamedTuple):
    """Arrays; network n has the seed n."""

    images: np.ndarray
    """[sample, pixel] float32 in [0, 1]."""
    labels: np.ndarray
    """[sample] int32."""
    order: np.ndarray
    """[network, minibatch, batch] int32: the minibatches of the first epoch."""
    params: dict[str, np.ndarray]
    """Initial parameters [network, ...], named as in `decorr.MLP`: hidden_1.kernel [in, out], slope_1, ..."""


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """As many samples as MNIST has to validate, of its shape: the embedded digits, enlarged and repeated."""
    from scipy import ndimage
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    repeated = np.arange(SAMPLES) % len(images)
    enlarged = ndimage.zoom(images.reshape(-1, 8, 8), (1, SIDE / 8, SIDE / 8), order=1)
    brightness = np.rint(enlarged * (255 / enlarged.max())).astype(np.uint8)
    return brightness.reshape(len(images), -1)[repeated], labels.astype(np.int32)[repeated]


def cell(size: Size, variant: Variant, networks: int) -> Cell:
    """The networks as a sweep would train them."""
    return Cell("digits", size, variant, networks, RELEASED)


def make(path: str, size: Size) -> tuple[Any, dict[str, Any]]:
    """Stores the Task of a size; for a worker, since JAX takes hold of an accelerator."""
    import jax

    from decorr.config import Regulariser
    from decorr.training import steps
    from experiments.run import local

    images, labels = pixels()
    keys = jax.vmap(jax.random.key)(np.arange(NETWORKS))
    trainer = local.trainer_of(cell(size, Variant("vanilla"), NETWORKS), CLASSES, (SIDE, SIDE, 1))
    sample = np.zeros((1, images.shape[1]), np.float32)
    states = jax.vmap(lambda key: steps.init(trainer, key, Regulariser(), sample))(keys)
    order = jax.vmap(lambda key: steps.minibatches(key, 0, SAMPLES, trainer.batch_size))(keys)
    params = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(states.params)
    }
    np.savez(
        path,
        allow_pickle=False,
        images=images / np.float32(255),
        labels=labels,
        order=np.asarray(order),
        **params,
    )
    return lambda: None, {}


def read(path: str | Path) -> Task:
    with np.load(path) as file:
        arrays = dict(file)
    images, labels, order = (arrays.pop(name) for name in ("images", "labels", "order"))
    return Task(images, labels, order, arrays)


def multiply_adds(size: Size, variant: str) -> int:
    """What one training step of one network needs: matrix products only, none of them twice."""
    widths = RELEASED.architecture(size).widths
    m = RELEASED.optimisation.batch_size
    layers = zip((SIDE**2, *widths), (*widths, CLASSES), strict=True)
    forward = [m * inputs * outputs for inputs, outputs in layers]
    needed = 3 * sum(forward) - forward[0]  # forward, and a gradient each of weights and, but for x, inputs
    if Variant.parse(variant).regulariser(RELEASED).penalty_weight is not None:
        needed += sum(2 * m * d * min(m, d) for d in widths)
    return needed
