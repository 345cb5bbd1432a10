"""Trains and measures networks of a comparison; on an accelerator, many at once."""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from decorr import effective_units
from experiments.comparison import stages
from experiments.comparison.corruptions import corruptions
from experiments.comparison.measures import measures
from experiments.comparison.network import fit, model_of, pruned, some_positions
from experiments.comparison.recipes import METHODS, Numbers, Recipe
from experiments.comparison.settings import Stage, Work
from experiments.data.pool import Pool, Sample
from experiments.run.local import Training


class Run(NamedTuple):
    """The values that differ between networks with the same recipe. For several networks, every array has a
    leading axis [run]."""

    seed: Any
    numbers: Numbers
    sample: Sample
    twin: Numbers | None
    """The hyperparameters of the network whose slopes are copied; None if no slopes are copied."""


def _trained(
    work: Work, stage: Stage, identities: Sequence[tuple[int, int]], pool: Pool, device: jax.Device
) -> list[dict[str, float]]:
    """Trains networks together, and returns their measures."""
    setting, method = work.setting, METHODS[work.method]
    numbers = setting.numbers(work.method)
    recipe, twin, twin_numbers = method.recipe(setting.plain), None, None
    if method.slopes_of is not None:
        assert work.slopes_point is not None
        twin = METHODS[method.slopes_of].recipe(setting.plain)
        twin_numbers = floats(setting.numbers(method.slopes_of)[work.slopes_point])
    samples = [pool.sample(setting.rows, seed) for _, seed in identities]
    runs = [
        Run(np.int32(seed), floats(numbers[point]), sample, twin_numbers)
        for (point, seed), sample in zip(identities, samples, strict=True)
    ]
    stacked = stages.stacked(runs, device)
    arrays = on_device(pool, device)
    static = pool.classes, pool.image_shape, device.platform
    started = time.monotonic()
    trained = jax.block_until_ready(_fitting(recipe, twin, *static)(stacked, *arrays))
    seconds = (time.monotonic() - started) / len(identities)
    evaluate = _evaluating(recipe, stage == "report", *static)
    outputs = jax.tree.map(np.asarray, evaluate(stacked, trained, *arrays))
    made = []
    for place, sample in enumerate(samples):
        logits = {name: values[place] for name, values in outputs.logits.items()}
        numbers_kept = measures(logits, outputs.effective_units[place], pool.labels, sample)
        slopes = {f"slope_{layer}": float(x) for layer, x in enumerate(outputs.slopes[place], start=1)}
        made.append({**numbers_kept, **slopes, "seconds": seconds})
    return made


def floats(numbers: Numbers) -> Numbers:
    return jax.tree.map(np.float32, numbers)


_kept: dict[Any, tuple[Array, Array]] = {}


def on_device(pool: Pool, device: jax.Device) -> tuple[Array, Array]:
    """Returns a pool's features and labels on the device, and keeps them there until another pool is asked
    for."""
    key = pool.name, pool.identity, device
    if key not in _kept:
        _kept.clear()
        _kept[key] = jax.device_put((pool.features, pool.labels), device)
    return _kept[key]


class Outputs(NamedTuple):
    """The measurements of a network."""

    logits: dict[str, Array]
    """Maps names to logits [row, class]: train and tuning; in a report also test, pruned and each
    corruption."""
    effective_units: Array
    """Effective units [layer], measured on the tuning rows."""
    slopes: Array
    """The learned slopes [layer] for negative inputs; empty if slopes are not learned."""


@functools.lru_cache(maxsize=8)
def _fitting(recipe: Recipe, twin: Recipe | None, classes: int, image_shape: Any, platform: str) -> Any:
    """Returns a program that trains networks [run]. The program returns their variables and last slopes."""

    def fitted(run: Run, features: Array, labels: Array) -> Any:
        inputs = scaling(image_shape, features, run.sample)
        x, y, key = inputs(run.sample.train), labels[run.sample.train], jax.random.key(run.seed)
        copied = None
        if twin is not None:
            assert run.twin is not None
            _, copied = fit(twin, model_of(twin, classes, image_shape), run.twin, key, x, y)
        model = model_of(recipe, classes, image_shape)
        variables, trajectory = fit(recipe, model, run.numbers, key, x, y, copied)
        return variables, trajectory[-1]

    return over_runs(fitted, platform, (0, None, None))


@functools.lru_cache(maxsize=8)
def _evaluating(recipe: Recipe, report: bool, classes: int, image_shape: Any, platform: str) -> Any:
    """Returns a program that measures trained networks [run]."""
    model = model_of(recipe, classes, image_shape)

    def evaluated(run: Run, trained: Any, features: Array, labels: Array) -> Outputs:
        variables, slopes = trained
        inputs = scaling(image_shape, features, run.sample)
        made = {"train": inputs(run.sample.train), "tuning": inputs(run.sample.tuning)}
        if report:
            made["test"] = inputs(run.sample.test)
            made |= corruptions(made["test"], image_shape)
        logits = {name: model.apply(variables, x)[0] for name, x in made.items()}
        if report:
            logits["pruned"] = model.apply(pruned(variables), made["test"])[0]
        _, activations = model.apply(variables, made["tuning"])
        key = jax.random.key(run.seed)
        worth = [effective_units(some_positions(jnp.asarray(a), key)) for a in activations]
        return Outputs(logits, jnp.stack(worth), slopes)

    return over_runs(evaluated, platform, (0, 0, None, None))


def over_runs(function: Any, platform: str, axes: tuple) -> Any:
    if platform != "cpu":
        return jax.jit(jax.vmap(function, in_axes=axes))

    # The axis [run] has length 1. It is removed, because it would make matrix products slower.
    def alone(*arguments: Any) -> Any:
        only = [
            jax.tree.map(lambda leaf: leaf[0], argument) if axis == 0 else argument
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], function(*only))

    return jax.jit(alone)


def scaling(image_shape: tuple[int, ...] | None, features: Array, sample: Sample) -> Any:
    """Returns a function from row numbers to a network's inputs [row, feature]. Pixels are divided by the
    largest training pixel. A table's columns are z-scored with the training rows' means and SDs, and missing
    values are replaced by the mean."""
    train = features[sample.train].astype(jnp.float32)
    if image_shape is not None:
        offset, scale = jnp.zeros((1, 1)), train.max()
    else:
        offset, deviation = jnp.nanmean(train, axis=0), jnp.nanstd(train, axis=0)
        scale = jnp.where(deviation > 0, deviation, 1)
        offset, scale = offset[None], scale[None]
    return lambda rows: jnp.nan_to_num((features[rows].astype(jnp.float32) - offset) / scale)


TRAINING = Training(stages.fits, functools.partial(stages.run, _trained))
