"""Training as a Keras user would write it, on JAX: by `fit`, with the penalty as an activity regulariser."""

import jax
import keras
import numpy as np

from experiments.benchmark import task
from experiments.benchmark.jax_trainers import gram_penalty
from experiments.benchmark.workers import Work
from experiments.grid.networks import Size, Variant
from experiments.grid.protocols import RELEASED


def fit(path: str, size: Size, variant: str) -> Work:
    """Trains one network. Keras gets all minibatches of an epoch at once. The penalty is `gram_penalty`."""
    keras.utils.set_random_seed(0)
    data, optimisation = task.read(path), RELEASED.optimisation
    network = _network(data, size, variant)
    network.compile(
        optimizer=keras.optimizers.SGD(
            optimisation.learning_rate, optimisation.momentum, weight_decay=optimisation.weight_decay
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # Keras's loss includes the penalty, so the loss without penalty is a metric.
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
        steps_per_execution=len(data.order[0]),
    )

    def epoch() -> list[float]:
        index = data.order[0].ravel()
        history = network.fit(
            data.images[index],
            data.labels[index],
            batch_size=optimisation.batch_size,
            shuffle=False,
            verbose=0,
        )
        return history.history["nll"]

    return epoch, {"nll": epoch(), "steps": len(data.order[0])}


def _network(data: task.Task, size: Size, variant: str) -> keras.Model:
    """Returns the paper's network, with the initial parameters of the task."""
    regulariser = Variant.parse(variant).regulariser(RELEASED)
    weight, rate = regulariser.penalty_weight or 0.0, regulariser.dropout_rate

    def penalty(a: jax.Array) -> jax.Array:
        # Keras divides the value of an activity regulariser by the batch size.
        return weight * len(a) * gram_penalty(a)

    dropout = [keras.layers.Dropout(rate)] if rate else []
    layers = [keras.Input(data.images.shape[1:]), *dropout]
    names = []
    for i, width in enumerate(RELEASED.architecture(size).widths, start=1):
        slope = keras.layers.PReLU(shared_axes=[1], activity_regularizer=penalty if weight else None)
        layers += [keras.layers.Dense(width), slope, *dropout]
        names += [f"hidden_{i}.kernel", f"hidden_{i}.bias", f"slope_{i}"]
    network = keras.Sequential([*layers, keras.layers.Dense(task.CLASSES)])
    names += ["logits.kernel", "logits.bias"]
    network.set_weights([np.atleast_1d(data.params[name][0]) for name in names])
    return network
