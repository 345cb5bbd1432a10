"""Trains many runs at once with a few compiled programs. Each program computes all runs on all devices."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from decorr.config import Regulariser
from decorr.models import slopes
from decorr.training import evaluation, steps
from decorr.training.order import minibatches
from decorr.training.split import Split
from decorr.training.steps import EpochMetrics, Trainer, TrainingState
from experiments.run import cpu
from experiments.run.layout import Layout

# Compiler options for programs that take far longer to compile than to run.
_RUN_ONCE = {"xla_backend_optimization_level": 0}

Matrices = tuple[jax.Array, ...]
"""Correlation matrices, one [run, unit, unit] for each hidden layer."""


@dataclass(frozen=True)
class Engine:
    """Trains runs that differ only by their seeds and by numbers in their states. Equal engines share
    their compiled programs."""

    trainer: Trainer
    layout: Layout

    def start(self, seeds: Sequence[int], regulariser: Regulariser, features: int) -> TrainingState:
        """Returns the states [run, ...] before training, one run for each seed. Each field of the
        regulariser is one number for all runs, or an array [run].

        Every device gets the same number of runs. If there are too few seeds, the last one is repeated, and
        `host.to_host` leaves the repetitions out.
        """
        states = initial(self, features)(self.layout.filled(np.asarray(seeds, np.int32)))
        regulariser = jax.tree.map(lambda number: self.layout.per_run(number, len(seeds)), regulariser)
        return states._replace(regulariser=regulariser)

    def epoch(
        self, states: TrainingState, train: Split, validation: Split, last: bool
    ) -> tuple[TrainingState, dict[str, jax.Array], tuple[Matrices, Matrices]]:
        """Trains all runs for one epoch.

        Returns the new states; the record of the epoch, which maps names to arrays [run, ...]; and two
        correlation matrices of each layer. The first matrix is averaged over the epoch's minibatches, like in
        the author's code. It is expensive, so it is computed only if `last`, and is 0 otherwise. The second
        matrix is over the validation set. An epoch consists of three separate programs. So the program that
        orders samples is compiled only once per sweep, and the evaluation only once per size.
        """
        states, metrics, minibatch = self.train_epoch(states, train, last)
        evaluated, slope = evaluate(self)(states.variables, validation)
        record = {
            "train_nll": metrics.nll,
            "train_error": metrics.error,
            "validation_nll": evaluated.nll,
            "validation_error": evaluated.error,
            "penalty": evaluated.penalty,
            "mean_correlation": evaluated.mean_correlation,
            "slope": slope,
        }
        return states, record, (minibatch, evaluated.correlation)

    def train_epoch(
        self, states: TrainingState, train: Split, last: bool
    ) -> tuple[TrainingState, EpochMetrics, Matrices]:
        """Does only the training of `epoch`. Returns what `steps.train_epoch` returns, for all runs."""
        program = order(self.layout, len(train.labels), self.trainer.batch_size)
        return training(self)(states, program(states.key, states.step), train, last)


@functools.cache
def initial(engine: Engine, features: int) -> Any:
    """Returns the program of `Engine.start`, a function of the seeds."""

    # Uses a default regulariser, because each form of regulariser would need a compilation of its own.
    # No initial parameter depends on it, so `Engine.start` can replace it afterwards.
    def one_run(seed):
        sample = jnp.zeros((1, features), jnp.float32)
        return steps.init(engine.trainer, jax.random.key(seed), Regulariser(), sample)

    def start_runs(seeds):
        return engine.layout.map_runs(one_run, (seeds,))

    return jax.jit(start_runs, compiler_options=_RUN_ONCE | engine.layout.unfused())


@functools.cache
def order(layout: Layout, samples: int, batch_size: int) -> Any:
    """Returns the program that draws the minibatches of an epoch, a function of (key, step)."""

    def one_run(key, step):
        return minibatches(key, step, samples, batch_size)

    def order_runs(key, step):
        return layout.map_runs(one_run, (key, step))

    return jax.jit(order_runs, compiler_options=layout.unfused())


@functools.cache
def training(engine: Engine) -> Any:
    """Returns the program of `Engine.train_epoch`, a function of (states, order, train, last)."""
    trainer = engine.trainer
    form = cpu.form(trainer) if engine.layout.platform == "cpu" else cpu.Form({}, steps.train_epoch)

    def one_run(state, order, train, last):
        return form.train_epoch(trainer, state, train, order, observe=last)

    def train_runs(states, order, train, last):
        return engine.layout.map_runs(one_run, (states, order), train, last)

    return jax.jit(train_runs, donate_argnums=0, compiler_options=form.compiler_options)


@functools.cache
def evaluate(engine: Engine) -> Any:
    """Returns the program of the evaluation, a function of (variables, validation)."""

    def one_run(variables, validation):
        return evaluation.evaluate(engine.trainer, variables, validation), slopes(variables["params"])

    def evaluate_runs(variables, validation):
        return engine.layout.map_runs(one_run, (variables,), validation)

    return jax.jit(evaluate_runs, compiler_options=engine.layout.unfused())


@functools.partial(jax.jit, compiler_options=_RUN_ONCE)
def summarise(matrices: tuple[Matrices, Matrices]) -> dict[str, jax.Array]:
    """Returns mean |rho| [run, layer] and histograms [run, layer, bin] of the matrices that `Engine.epoch`
    returns. Also returns the matrices over the validation set [run, unit, unit]."""

    def layers(summary, kind):
        return jnp.stack([jax.vmap(summary)(rho) for rho in kind], axis=1)

    minibatch, validation = matrices
    return {
        "mean_correlation_minibatch": layers(evaluation.mean_absolute, minibatch),
        "histogram_minibatch": layers(evaluation.histogram, minibatch),
        "histogram_validation": layers(evaluation.histogram, validation),
    } | {f"correlation_{layer}": rho for layer, rho in enumerate(validation, start=1)}
