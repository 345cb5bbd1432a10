"""Trials on the devices of this process: training, and what is measured at each moment."""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any

import jax
import numpy as np
import optax

from decorr.config import Regulariser
from decorr.training import steps
from decorr.training.split import Split
from decorr.training.steps import Trainer, TrainingState
from decorr.training.subsample import subsample
from experiments.comparison.methods import BASE
from experiments.comparison.trials import Trials
from experiments.data.load import Dataset
from experiments.grid.cells import Arrays
from experiments.run import epochs
from experiments.run.engine import Engine
from experiments.run.layout import Layout
from experiments.run.local import Training
from experiments.run.memory import Room
from experiments.statistics import classification

_INITIAL = 1000
"""Images on which a penalty is measured before training."""


def trainer(trials: Trials, dataset: Dataset) -> Trainer:
    """What trains a method's networks, up to their numbers: learning rate and weight decay too."""
    setting, method = trials.setting, trials.method
    architecture = setting.architecture(method)
    model = epochs.model_of(setting.family, architecture, dataset.classes, dataset.image_shape)
    return Trainer(model, _sgd(), BASE.batch_size, epochs.PENALTIES[method.penalty])


@functools.cache
def _sgd() -> optax.GradientTransformation:
    """As `steps.sgd`, but learning rate and weight decay are arrays in the optimiser's state, of each run."""

    def sgd(learning_rate: float, weight_decay: float) -> optax.GradientTransformation:
        return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate))

    return optax.inject_hyperparams(sgd)(BASE.learning_rate, BASE.weight_decay)


def subset(train: Split, images: int) -> Split:
    """The first images of a fixed random order of a training split."""
    order = np.random.default_rng(0).permutation(len(train.labels))[:images]
    return train._replace(images=train.images[order], labels=train.labels[order])


def train(
    trials: Trials,
    dataset: Dataset,
    checkpoint: None,
    checkpoint_seconds: float,
    devices: Sequence[jax.Device],
) -> Iterator[tuple[int, Arrays | None]]:
    """Trains the networks of some trials. Without checkpoints: what is kept comes at the end.

    Args:
      trials: which.
      dataset: its validation split is looked at after every moment, its test split after `test_moment`.
      checkpoint: None.
      checkpoint_seconds: nothing depends on it.
      devices: which share the runs.

    Yields:
      The number of moments done, at the start and after each; with the last of them, by name and all
      [trial, seed, ...]: validation_error and validation_nll [..., moment], seconds (of a training step, the
      median over moments), penalty_weight if there is a penalty; of a report test_error, test_nll,
      test_calibration_error and test_penalty [..., layer] (P, over minibatches) besides.
    """
    setting, runs = trials.setting, trials.runs
    layout = Layout.of(devices[:runs])
    engine = Engine(trainer(trials, dataset), layout)
    chosen = subset(dataset.train, setting.images)
    train, validation = layout.share(chosen, dataset.validation)
    weights = _penalty_weights(trials, engine.trainer, chosen, dataset.classes)
    states = _start(trials, engine, weights, chosen.images.shape[1])
    numbers: Arrays = {} if weights is None else {"penalty_weight": _each_seed(trials, weights)}

    def measured(split: Split, on_devices: Split) -> dict[str, np.ndarray]:
        found = np.asarray(engine.logits(states, on_devices))[:runs]
        return classification.measures(found, split.labels)

    yield 0, None
    seconds, history = [], []
    for moment in range(1, setting.moments + 1):
        started = time.monotonic()
        states = engine.train_steps(states, train, setting.steps // setting.moments)
        jax.block_until_ready(states)
        seconds.append(time.monotonic() - started)
        history.append(measured(dataset.validation, validation))
        if moment == trials.test_moment:
            assert dataset.test is not None
            (test,) = layout.share(dataset.test)
            numbers |= {f"test_{name}": value for name, value in measured(dataset.test, test).items()}
            numbers["test_penalty"] = np.asarray(engine.penalty(states, test))[:runs]
        if moment < setting.moments:
            yield moment, None

    for name in ("error", "nll"):
        numbers[f"validation_{name}"] = np.stack([each[name] for each in history], axis=1)
    per_step = np.median(seconds) / (setting.steps // setting.moments) / runs
    numbers["seconds"] = np.full(runs, per_step)
    shape = len(trials.numbers), len(trials.seeds)
    yield setting.moments, {name: value.reshape(*shape, *value.shape[1:]) for name, value in numbers.items()}


def _start(trials: Trials, engine: Engine, weights: np.ndarray | None, features: int) -> TrainingState:
    """The states [run, ...] before training, each run with its trial's numbers."""
    rates, decays, _, dropout_rates = zip(*map(astuple, trials.numbers), strict=True)
    regulariser = Regulariser(
        penalty_weight=None if weights is None else _each_seed(trials, weights),
        dropout_rate=None if dropout_rates[0] is None else _each_seed(trials, dropout_rates),
    )
    states = engine.start(trials.seeds * len(trials.numbers), regulariser, features)
    hyperparams = {
        name: engine.layout.per_run(_each_seed(trials, values), trials.runs)
        for name, values in (("learning_rate", rates), ("weight_decay", decays))
    }
    optimiser: Any = states.opt_state
    return states._replace(opt_state=optimiser._replace(hyperparams=hyperparams))


def _penalty_weights(trials: Trials, trainer: Trainer, chosen: Split, classes: int) -> np.ndarray | None:
    """What the trials' shares are as multipliers of the penalty [trial]; None without a penalty."""
    shares = [each.penalty_share for each in trials.numbers]
    if shares[0] is None:
        return None
    first, _ = chosen.batch(slice(_INITIAL))
    return np.array(shares, float) * math.log(classes) / float(_penalty(trainer, first))


def _each_seed(trials: Trials, values: Sequence[float] | np.ndarray) -> Any:
    """Numbers of the trials as those of the runs: [trial, seed], flat."""
    return np.repeat(np.asarray(values, np.float32), len(trials.seeds))


@functools.partial(jax.jit, static_argnums=0)
def _penalty(trainer: Trainer, x: jax.Array) -> jax.Array:
    """Its sum over layers before training, of seed 0."""
    key = jax.random.key(0)
    state = steps.init(trainer, key, Regulariser(), x[:1])
    _, activations = trainer.model.apply(state.variables, x)
    return sum(map(trainer.penalty, subsample(activations, key, 0, trainer.max_samples)))  # type: ignore[return-value]


def _check(room: Room, trials: Trials, dataset: Dataset) -> None:
    room.check(trials, trainer(trials, dataset), dataset)


TRAINING = Training(_check, train)
"""How trials are trained."""
