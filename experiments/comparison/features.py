"""Part 3 of PLAN.md: features of networks that learned some classes, tested on the other classes."""

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from experiments.comparison import probe, stages
from experiments.comparison.network import fit, model_of
from experiments.comparison.planned import SHOTS
from experiments.comparison.recipes import METHODS, Numbers, Recipe
from experiments.comparison.settings import Stage, Work
from experiments.comparison.training import floats, on_device, over_runs, scaling
from experiments.data.pool import TEST, Pool, Sample
from experiments.run.local import Training


def split(pool: Pool, rows: int, seed: int) -> tuple[Sample, np.ndarray]:
    """Returns a seed's sample from the first half of the classes, and rows of the other classes. The rows of
    the other classes begin with max(SHOTS) training rows of each class, class by class. Up to `TEST` test
    rows follow."""
    known = np.flatnonzero(pool.labels < pool.classes // 2).astype(np.int32)
    there = pool._replace(features=pool.features[known], labels=pool.labels[known], test=0)
    sample = Sample(*(known[part] for part in there.sample(there.rows(rows), seed)))
    order = np.random.default_rng([seed, TEST]).permutation(len(pool.labels)).astype(np.int32)
    others = [order[pool.labels[order] == label] for label in range(pool.classes // 2, pool.classes)]
    shots = [rows_of[: max(SHOTS)] for rows_of in others]
    rest = np.concatenate([rows_of[max(SHOTS) :] for rows_of in others])
    tested = np.random.default_rng([seed, TEST]).permutation(rest)[:TEST]
    return sample, np.concatenate([*shots, tested])


@functools.lru_cache(maxsize=8)
def _program(recipe: Recipe, classes: int, image_shape: tuple[int, ...] | None, platform: str) -> Any:
    """Returns a program that trains networks [run] and gives each hidden layer's activations on rows of the
    other classes."""
    model = model_of(recipe, classes, image_shape)

    def trained(
        seed: Array, numbers: Numbers, sample: Sample, others: Array, features: Array, labels: Array
    ) -> tuple[Array, ...]:
        inputs, key = scaling(image_shape, features, sample), jax.random.key(seed)
        x, y = inputs(sample.train), labels[sample.train]
        variables, _ = fit(recipe, model, numbers, key, x, y)
        outputs: Any = model.apply(variables, inputs(others))
        return tuple(a.reshape(len(a), -1) for a in outputs[1])

    return over_runs(trained, platform, (0, 0, 0, 0, None, None))


def _trained(
    work: Work, stage: Stage, identities: Sequence[tuple[int, int]], pool: Pool, device: jax.Device
) -> list[dict[str, float]]:
    setting = work.setting
    points = setting.numbers(work.method)
    splits = [split(pool, setting.rows, seed) for _, seed in identities]
    runs = [
        (np.int32(seed), floats(points[point]), *parts)
        for (point, seed), parts in zip(identities, splits, strict=True)
    ]
    recipe = METHODS[work.method].recipe(setting.plain)
    program = _program(recipe, pool.classes // 2, pool.image_shape, device.platform)
    stacked = stages.stacked(runs, device)
    started = time.monotonic()
    layers = jax.tree.map(np.asarray, program(*stacked, *on_device(pool, device)))
    seconds = (time.monotonic() - started) / len(identities)
    return [
        {"seconds": seconds}
        | _measures([layer[place] for layer in layers], pool.labels[others], pool.classes)
        for place, (_, others) in enumerate(splits)
    ]


def _measures(layers: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> dict[str, float]:
    """Returns the test errors of linear probes on each layer's activations [row, unit]. Also returns
    `failed`: 1 if an activation is not finite, else 0."""
    held_out = classes - classes // 2
    finite = all(np.isfinite(layer).all() for layer in layers)
    row = {"failed": float(not finite)}
    test = np.arange(held_out * max(SHOTS), len(labels))
    for number, shots in [(number, shots) for number in range(len(layers)) for shots in SHOTS]:
        train = (np.arange(held_out)[:, None] * max(SHOTS) + np.arange(shots)).ravel()
        error = probe.error(layers[number], labels, train, test) if finite else 1 - 1 / held_out
        row[f"layer_{number + 1}_{shots}_error"] = error
    return row


TRAINING = Training(stages.fits, functools.partial(stages.run, _trained))
