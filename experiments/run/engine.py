"""The runs of a block on the devices of this machine: spread over all, on an accelerator vectorised."""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from decorr.config import Regulariser
from decorr.models import slopes
from decorr.training import evaluation, steps
from decorr.training.split import Split
from decorr.training.steps import EpochMetrics, Trainer, TrainingState
from experiments.disk.files import cache_dir
from experiments.run import cpu, processes

# For programs that take far longer to compile than to run.
_RUN_ONCE = {"xla_backend_optimization_level": 0}

# On a CPU, for programs of many small loops, as of random bits: they take half as long to compile without
# fusions, and as long to run.
_UNFUSED = {"xla_cpu_use_fusion_emitters": False}

LANES = {"cpu": 1}
"""How many runs of a device are one vmap at most, by platform; more go one vmap after the other. Elsewhere
all are one. A CPU's cache holds the parameters of one large network at most: `--sections scaling` of the
benchmark."""

_PER_RUN, _SHARED = PartitionSpec("run"), PartitionSpec()

Matrices = tuple[jax.Array, ...]
"""Correlation matrices, one [run, unit, unit] for each hidden layer."""


_PINNED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}
"""Settings of JAX that would decide results, and are in no configuration: so they may not."""


def configure(cpu_devices: int | None = None) -> None:
    """Makes `cpu_devices` of the CPU, keeps what is compiled for later, and pins what would decide results.

    To be called before anything runs on JAX. By default there is a device for each core, for matrices of this
    size leave XLA's own threads idle; that number and the cache stay as JAX was configured to before
    (jax_num_cpu_devices, jax_compilation_cache_dir).
    """
    for name, value in _PINNED.items():
        jax.config.update(name, value)
    if jax.config.jax_compilation_cache_dir is None and (folder := _compiled()):  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if cpu_devices is None and jax.config.jax_num_cpu_devices < 0:  # type: ignore[attr-defined]
        cpu_devices = len(processes.cores())
    if cpu_devices is not None:
        jax.config.update("jax_num_cpu_devices", cpu_devices)


def _compiled() -> Path | None:
    """Where compiled programs are kept; None where this user cannot keep any: JAX would warn of each."""
    if (folder := cache_dir()) is None:
        return None
    with contextlib.suppress(OSError):
        (folder / "compiled").mkdir(parents=True, exist_ok=True)
    return folder / "compiled" if os.access(folder / "compiled", os.R_OK | os.W_OK | os.X_OK) else None


def devices() -> list[jax.Device]:
    """This machine's devices; RuntimeError says what was asked for where there are none of it."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms or "any platform"  # type: ignore[attr-defined]
        reason = (str(error).splitlines() or ["there is none"])[0]
        raise RuntimeError(f"JAX finds no device of {asked} (JAX_PLATFORMS): {reason}") from error


def mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Devices, that share the runs."""
    return jax.make_mesh((len(devices),), ("run",), axis_types=(AxisType.Auto,), devices=devices)


def describe(on: Mesh, states: TrainingState) -> str:
    """The devices, and how many runs each of them trains, in words."""
    device = on.devices[0]
    runs = states.step.shape[0] // on.size
    return f"{on.size} x {device.platform} ({device.device_kind}), {runs} runs each"


def share(splits: tuple[Split, ...], on: Mesh) -> tuple[Split, ...]:
    """Copies splits to every device."""
    return jax.device_put(splits, NamedSharding(on, _SHARED))


def start(
    trainer: Trainer, seeds: Sequence[int], regulariser: Regulariser, features: int, on: Mesh
) -> TrainingState:
    """The states [run, ...] before training, one run for each seed; the regulariser's numbers are those of
    all, or one for each.

    Every device gets the same number of runs: the last seed is repeated to fill up, and `to_host` leaves
    the repetitions out.
    """
    states = _initial(on, trainer, features)(_filled(np.asarray(seeds, np.int32), on))
    return states._replace(
        regulariser=jax.tree.map(lambda number: per_run(number, len(seeds), on), regulariser)
    )


def per_run(number: Any, runs: int, on: Mesh) -> jax.Array:
    """A number of all runs, or numbers [run], as `start` lays out its states: float32."""
    # By NumPy: each call of JAX outside of a program is one more to compile.
    numbers = np.broadcast_to(np.asarray(number, np.float32), runs)
    return jax.device_put(_filled(numbers, on), NamedSharding(on, _PER_RUN))


def _filled(values: np.ndarray, on: Mesh) -> np.ndarray:
    runs = on.size * math.ceil(len(values) / on.size)
    return values[np.minimum(np.arange(runs), len(values) - 1)]


@functools.cache
def _initial(on: Mesh, trainer: Trainer, features: int) -> Any:
    """The program of `start`, of the seeds."""

    # The regulariser comes later: it decides nothing here, and each of its forms would be compiled.
    def one_run(seed):
        sample = jnp.zeros((1, features), jnp.float32)
        return steps.init(trainer, jax.random.key(seed), Regulariser(), sample)

    def start_runs(seeds):
        return _each_run(on, one_run, (seeds,))

    return jax.jit(start_runs, compiler_options=_RUN_ONCE | _unfused(on))


def epoch(
    on: Mesh, trainer: Trainer, states: TrainingState, train: Split, validation: Split, last: bool
) -> tuple[TrainingState, dict[str, jax.Array], tuple[Matrices, Matrices]]:
    """One epoch of all runs.

    Returns the states after; what is recorded of every epoch, by name [run, ...]; and the layers'
    correlation matrices as the author's code takes them, over the epoch's minibatches (0 unless `last`:
    they are dear), and over the validation set.

    Three programs and not one: the order is compiled once for a sweep, the evaluation once for a size.
    """
    states, metrics, minibatch = train_epoch(on, trainer, states, train, last)
    evaluated, slope = _evaluate(on, trainer)(states.variables, validation)
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
    on: Mesh, trainer: Trainer, states: TrainingState, train: Split, last: bool
) -> tuple[TrainingState, EpochMetrics, Matrices]:
    """The training of `epoch` alone: what `steps.train_epoch` returns, of all runs."""
    order = _order(on, len(train.labels), trainer.batch_size)(states.key, states.step)
    return _train(on, trainer)(states, order, train, last)


def train_steps(on: Mesh, trainer: Trainer, states: TrainingState, train: Split, count: int) -> TrainingState:
    """So many steps of all runs, wherever in an epoch they begin and end."""
    order = _order(on, len(train.labels), trainer.batch_size, count)(states.key, states.step)
    states, _, _ = _train(on, trainer)(states, order, train, False)
    return states


def logits(on: Mesh, trainer: Trainer, states: TrainingState, data: Split) -> jax.Array:
    """What the networks make of a whole split, dropout off: [run, sample, class]."""
    return _logits(on, trainer)(states.variables, data)


def penalty(on: Mesh, trainer: Trainer, states: TrainingState, data: Split) -> jax.Array:
    """The networks' P on a split, as `evaluation.evaluate` takes it: [run, layer]."""
    found, _ = _evaluate(on, trainer)(states.variables, data)
    return found.penalty


def _platform(on: Mesh) -> str:
    return on.devices.flat[0].platform


def _unfused(on: Mesh) -> dict[str, bool]:
    return _UNFUSED if _platform(on) == "cpu" else {}


def _each_run(on: Mesh, function: Callable, per_run: tuple, *shared: object) -> Any:
    """function(*per_run, *shared) of every run, each device its own runs: they do not communicate."""

    def on_one_device(*arguments):
        mine, shared = arguments[: len(per_run)], arguments[len(per_run) :]
        runs = jax.tree.leaves(mine)[0].shape[0]
        lanes = evaluation.largest_divisor(runs, LANES.get(_platform(on), runs))  # so that none is empty
        if lanes == 1:
            return jax.lax.map(lambda one: function(*one, *shared), mine)
        one_batch = jax.vmap(lambda *one: function(*one, *shared))
        batches = jax.tree.map(lambda leaf: leaf.reshape(runs // lanes, lanes, *leaf.shape[1:]), mine)
        # Not lax.map's batch_size: it fails on arrays of no entries, as are the slopes of a leaky ReLU.
        results = jax.lax.map(lambda batch: one_batch(*batch), batches)
        return jax.tree.map(lambda leaf: leaf.reshape(runs, *leaf.shape[2:]), results)

    return jax.shard_map(
        on_one_device,
        mesh=on,
        in_specs=(_PER_RUN,) * len(per_run) + (_SHARED,) * len(shared),
        out_specs=_PER_RUN,
        check_vma=False,  # nothing to check
    )(*per_run, *shared)


@functools.cache
def _order(on: Mesh, samples: int, batch_size: int, count: int | None = None) -> Any:
    """The program of the minibatches of an epoch, or of so many, of (key, step)."""

    def one_run(key, step):
        return steps.minibatches(key, step, samples, batch_size, count)

    def order_runs(key, step):
        return _each_run(on, one_run, (key, step))

    return jax.jit(order_runs, compiler_options=_unfused(on))


@functools.cache
def _train(on: Mesh, trainer: Trainer) -> Any:
    """The program of `train_epoch`, of (states, order, train, last)."""
    form = cpu.form(trainer) if _platform(on) == "cpu" else cpu.Form({}, steps.train_epoch)

    def one_run(state, order, train, last):
        return form.train_epoch(trainer, state, train, order, observe=last)

    def train_runs(states, order, train, last):
        return _each_run(on, one_run, (states, order), train, last)

    return jax.jit(train_runs, donate_argnums=0, compiler_options=form.compiler_options)


@functools.cache
def _evaluate(on: Mesh, trainer: Trainer) -> Any:
    """The program of the evaluation, of (variables, validation)."""

    def one_run(variables, validation):
        return evaluation.evaluate(trainer, variables, validation), slopes(variables["params"])

    def evaluate_runs(variables, validation):
        return _each_run(on, one_run, (variables,), validation)

    return jax.jit(evaluate_runs, compiler_options=_unfused(on))


@functools.cache
def _logits(on: Mesh, trainer: Trainer) -> Any:
    """The program of `logits`, of (variables, data)."""

    def one_run(variables, data):
        def chunk(images):
            x, _ = data._replace(images=images, labels=data.labels[:0]).batch(...)
            return trainer.model.apply(variables, x)[0]

        size = min(evaluation.CHUNK, len(data.images))
        whole = len(data.images) // size * size
        chunks = data.images[:whole].reshape(-1, size, *data.images.shape[1:])
        found = jax.lax.map(chunk, chunks).reshape(whole, -1)
        if whole == len(data.images):
            return found
        return jnp.concatenate([found, chunk(data.images[whole:])])

    def all_runs(variables, data):
        return _each_run(on, one_run, (variables,), data)

    return jax.jit(all_runs, compiler_options=_unfused(on))


@functools.partial(jax.jit, compiler_options=_RUN_ONCE)
def summarise(matrices: tuple[Matrices, Matrices]) -> dict[str, jax.Array]:
    """Mean |rho| [run, layer], histograms [run, layer, bin] and the matrices over the validation set
    [run, unit, unit] of what `epoch` returned last."""

    def layers(summary, kind):
        return jnp.stack([jax.vmap(summary)(rho) for rho in kind], axis=1)

    minibatch, validation = matrices
    return {
        "mean_correlation_minibatch": layers(evaluation.mean_absolute, minibatch),
        "histogram_minibatch": layers(evaluation.histogram, minibatch),
        "histogram_validation": layers(evaluation.histogram, validation),
    } | {f"correlation_{layer}": rho for layer, rho in enumerate(validation, start=1)}


def to_host(tree: object, runs: int) -> dict[str, np.ndarray]:
    """The first runs of the arrays of a PyTree [run, ...] in memory, named by their paths; keys as bits."""

    def on_host(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        # A copy: the next epoch writes its states where these were.
        return np.array(jax.random.key_data(leaf) if is_key else leaf)[:runs]

    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): on_host(leaf) for path, leaf in leaves}


def from_host(arrays: Mapping[str, np.ndarray], like: TrainingState) -> TrainingState:
    """The states that `to_host` made arrays of, laid out on the devices as `like`; ValueError if they are
    others."""

    def on_devices(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        data = jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf
        array = arrays.get(name, np.empty(0))
        same = array.ndim == data.ndim and (array.shape[1:], array.dtype) == (data.shape[1:], data.dtype)
        if not same or not len(array):
            raise ValueError(
                f"the checkpoint has no {name} of {data.dtype} {[*data.shape[1:]]}: move it away"
            )
        filled = array[np.minimum(np.arange(leaf.shape[0]), len(array) - 1)]
        value = jax.random.wrap_key_data(jnp.asarray(filled)) if is_key else filled
        return jax.device_put(value, leaf.sharding)

    return jax.tree.map_with_path(on_devices, like)
