"""The task of every trainer: the same networks, with the same parameters, on the same minibatches.

The engine's own functions make a Task once and store it. So a trainer can read the Task without JAX.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.disk import npz
from experiments.grid.cells import Cell
from experiments.grid.networks import Family, Recipe, Size, Variant
from experiments.grid.protocols import RELEASED

SIDE, CLASSES = 28, 10
SAMPLES: dict[Family, int] = {"mlp": 10_000, "conv": 2_500}
"""Number of training images: fewer for convolutional networks, whose steps take longer."""
NETWORKS = 64
"""Number of networks: as many as the largest ensemble trains."""


class Task(NamedTuple):
    """Data and initial networks, as arrays. Network n has the seed n."""

    images: np.ndarray
    """[sample, pixel] float32 in [0, 1]."""
    labels: np.ndarray
    """[sample] int32."""
    order: np.ndarray
    """[network, minibatch, batch] int32: the minibatches of the first epoch."""
    params: dict[str, np.ndarray]
    """Initial parameters [network, ...], named as in `decorr.models`: slope_1, ..., and hidden_1.kernel
    [in, out], which for a convolution is [row, column, in, out]."""


def protocol(family: Family) -> Recipe:
    """Returns the protocol of the author's code, for networks of the given family."""
    return replace(RELEASED, family=family)


def pixels(family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels: scikit-learn's digits, enlarged to MNIST's shape and repeated. For fully
    connected networks, there are as many images as in MNIST's validation set."""
    from scipy import ndimage
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    repeated = np.arange(SAMPLES[family]) % len(images)
    enlarged = ndimage.zoom(images.reshape(-1, 8, 8), (1, SIDE / 8, SIDE / 8), order=1)
    brightness = np.rint(enlarged * (255 / enlarged.max())).astype(np.uint8)
    return brightness.reshape(len(images), -1)[repeated], labels.astype(np.int32)[repeated]


def cell(family: Family, size: Size, variant: Variant, networks: int) -> Cell:
    """Returns the task's networks as a cell of a sweep."""
    return Cell("digits", size, variant, networks, protocol(family))


def make(path: str, family: Family, size: Size) -> tuple[Any, dict[str, Any]]:
    """Stores the Task of a family and size. Only workers call this: in the main process, JAX would reserve
    a GPU."""
    import jax

    from decorr.config import Regulariser
    from decorr.training import steps
    from decorr.training.order import minibatches
    from experiments.run import epochs, host

    images, labels = pixels(family)
    keys = jax.vmap(jax.random.key)(np.arange(NETWORKS))
    trainer = epochs.trainer_of(
        cell(family, size, Variant("vanilla"), NETWORKS), CLASSES, (SIDE, SIDE, 1), len(labels)
    )
    sample = np.zeros((1, images.shape[1]), np.float32)

    @jax.jit
    @jax.vmap
    def start(key: jax.Array) -> tuple[steps.TrainingState, jax.Array]:
        state = steps.init(trainer, key, Regulariser(), sample)
        return state, minibatches(key, 0, len(labels), trainer.batch_size)

    states, order = start(keys)
    np.savez(
        path,
        allow_pickle=False,
        images=images / np.float32(255),
        labels=labels,
        order=np.asarray(order),
        **host.to_host(states.params, NETWORKS),
    )
    return lambda: None, {}


def read(path: str | Path) -> Task:
    arrays = npz.read(Path(path))
    images, labels, order = (arrays.pop(name) for name in ("images", "labels", "order"))
    return Task(images, labels, order, arrays)


def multiply_adds(family: Family, size: Size, variant: str) -> int:
    """Returns the number of multiplications in the matrix products that a training step of one network
    needs."""
    from decorr.training.subsample import MAX_SAMPLES  # imported here, because it needs JAX

    m, (*hidden, logits) = RELEASED.optimisation.batch_size, layers(family, size)
    forward = [m * positions * inputs * units for positions, inputs, units in (*hidden, logits)]
    # Counts the forward pass, the gradients of weights, and the gradients of all layers' inputs except x.
    needed = 3 * sum(forward) - forward[0]
    if Variant.parse(variant).regulariser(RELEASED).penalty_weight is not None:
        layers_taken = [(m * min(positions, MAX_SAMPLES // m), units) for positions, _, units in hidden]
        needed += sum(2 * samples * d * min(samples, d) for samples, d in layers_taken)
    return needed


def layers(family: Family, size: Size) -> list[tuple[int, int, int]]:
    """Returns three numbers for each layer: positions in an image, inputs to a unit at one position, and
    units."""
    widths = protocol(family).architecture(size).widths
    if family == "mlp":
        return [(1, i, o) for i, o in pairwise((SIDE**2, *widths, CLASSES))]
    positions = [(-(-SIDE // 2**layer)) ** 2 for layer in range(1, len(widths) + 1)]
    hidden = [(p, 9 * i, o) for p, (i, o) in zip(positions, pairwise((1, *widths)), strict=True)]
    return [*hidden, (1, positions[-1] * widths[-1], CLASSES)]
