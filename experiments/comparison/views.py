"""Part 4 of PLAN.md: networks that learn from two views of each image, without labels."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from decorr import barlow_twins_loss, correlation_penalty, effective_units, variance_penalty, vicreg_loss
from decorr.training.order import minibatches
from experiments.comparison import probe, stages
from experiments.comparison.network import model_of, optimiser_of
from experiments.comparison.recipes import Numbers, Recipe
from experiments.comparison.settings import Stage, Work
from experiments.comparison.training import floats, on_device, over_runs, scaling
from experiments.data.pool import Pool, Sample
from experiments.run.local import Training

EMBEDDED = 64
"""Number of units of the embedding. The losses are computed on the embedding."""
FEW = 100
"""Number of labels from which the probe learns. The hyperparameters with which the probe errs least are
chosen."""
DRAWS = 5
"""Number of draws of `FEW` labels. The probe's error is averaged over the draws."""
NOISE = 0.2
"""Standard deviation of a view's noise. Pixels lie in [0, 1]."""


def _alignment(a: Array, b: Array) -> Array:
    return jnp.mean((a - b) ** 2)


def _correlations(a: Array, b: Array) -> Array:
    return (correlation_penalty(a) + correlation_penalty(b)) / 2


def _spread(a: Array, b: Array) -> Array:
    return (variance_penalty(a) + variance_penalty(b)) / 2


def _vicreg(a: Array, b: Array, weight: Any) -> Array:
    return vicreg_loss(a, b, invariance_weight=1, variance_weight=weight, covariance_weight=weight / 25)


def _align_corr(a: Array, b: Array, weight: Any) -> Array:
    return _alignment(a, b) + weight * _correlations(a, b)


LOSSES: dict[str, Callable[[Array, Array, Any], Array]] = {
    "untrained": lambda a, b, weight: jnp.zeros(()),
    "align": lambda a, b, weight: _alignment(a, b),
    "align-corr": _align_corr,
    "align-corr-strong": _align_corr,  # its weight has another range
    "align-corr-floor": lambda a, b, weight: (
        _alignment(a, b) + weight * (_correlations(a, b) + _spread(a, b))
    ),
    "vicreg": _vicreg,
    "barlow": lambda a, b, weight: barlow_twins_loss(a, b, off_diagonal_weight=weight),
}
"""The loss of each method: a function of the embeddings [image, unit] of two views, and of a weight."""


def view(key: Array, x: Array, image_shape: tuple[int, ...]) -> Array:
    """Returns a view of images [image, pixel]: shifts each image by up to an eighth of its height, and adds
    noise. Pixels from beyond the edges are 0."""
    height, width, channels = image_shape
    reach = max(1, height // 8)
    shift_key, noise_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (len(x), 2), 0, 2 * reach + 1)
    images = jnp.pad(x.reshape(-1, *image_shape), ((0, 0), (reach, reach), (reach, reach), (0, 0)))

    def cut(image: Array, shift: Array) -> Array:
        return jax.lax.dynamic_slice(image, (shift[0], shift[1], 0), (height, width, channels))

    shifted = jax.vmap(cut)(images, shifts).reshape(x.shape)
    return shifted + NOISE * jax.random.normal(noise_key, x.shape, x.dtype)


def fit(
    recipe: Recipe, method: str, numbers: Numbers, key: Array, x: Array, image_shape: tuple[int, ...]
) -> dict[str, Any]:
    """Trains a network without labels on images [image, pixel] in [0, 1], and returns its variables."""
    model = model_of(recipe, EMBEDDED, image_shape)
    init_key, order_key, view_key = jax.random.split(key, 3)
    params = model.init(init_key, x[:1])["params"]
    optimiser = optimiser_of(recipe, numbers)
    order = minibatches(order_key, 0, len(x), recipe.batch_size, recipe.steps)

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        (params, opt_state), (number, rows) = carry, now
        keys = jax.random.split(jax.random.fold_in(view_key, number))

        def objective(params: Any) -> Array:
            views = [view(key, x[rows], image_shape) for key in keys]
            (a, _), (b, _) = (model.apply({"params": params}, images) for images in views)
            return LOSSES[method](a, b, numbers.weight)

        updates, opt_state = optimiser.update(jax.grad(objective)(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    start = params, optimiser.init(params)
    (params, _), _ = jax.lax.scan(step, start, (jnp.arange(recipe.steps), order))
    return {"params": params}


@functools.lru_cache(maxsize=8)
def _program(recipe: Recipe, method: str, image_shape: tuple[int, ...], platform: str) -> Any:
    """Returns a program that trains networks [run]. The program returns the last hidden layer's activations
    for each image of the pool, and the effective units of this layer and of the embedding."""
    model = model_of(recipe, EMBEDDED, image_shape)

    def trained(seed: Array, numbers: Numbers, sample: Sample, features: Array) -> tuple[Array, Array, Array]:
        inputs = scaling(image_shape, features, sample)
        variables = fit(recipe, method, numbers, jax.random.key(seed), inputs(sample.train), image_shape)
        outputs: Any = model.apply(variables, inputs(slice(None)))
        embedded, activations = outputs
        return activations[-1], effective_units(activations[-1]), effective_units(embedded)

    return over_runs(trained, platform, (0, 0, 0, None))


def _trained(
    work: Work, stage: Stage, identities: Sequence[tuple[int, int]], pool: Pool, device: jax.Device
) -> list[dict[str, float]]:
    setting = work.setting
    assert pool.image_shape is not None
    samples = [pool.sample(setting.rows, seed) for _, seed in identities]
    points = setting.numbers(work.method)
    runs = [
        (np.int32(seed), floats(points[point]), sample)
        for (point, seed), sample in zip(identities, samples, strict=True)
    ]
    stacked = stages.stacked(runs, device)
    features, _ = on_device(pool, device)
    program = _program(setting.plain, work.method, pool.image_shape, device.platform)
    started = time.monotonic()
    hidden, units, embedded_units = map(np.asarray, program(*stacked, features))
    seconds = (time.monotonic() - started) / len(identities)
    rows = []
    for place, ((_, seed), sample) in enumerate(zip(identities, samples, strict=True)):
        finite = bool(np.isfinite(hidden[place]).all())
        guessing = 1 - 1 / pool.classes

        def error(train: np.ndarray, test: np.ndarray, place: int = place) -> float:
            return probe.error(hidden[place], pool.labels, train, test) if finite else guessing  # noqa: B023

        few = few_labels(sample.train, seed)
        row = {
            "failed": float(not finite),
            "tuning_error": float(np.mean([error(drawn, sample.tuning) for drawn in few])),
            "effective_units": float(units[place]),
            "embedded_effective_units": float(embedded_units[place]),
            "seconds": seconds,
        }
        if stage == "report":
            row["test_error"] = float(np.mean([error(drawn, sample.test) for drawn in few]))
            row["all_labels_error"] = error(sample.train, sample.test)
        rows.append(row)
    return rows


def few_labels(train: np.ndarray, seed: int) -> list[np.ndarray]:
    """Draws `FEW` training rows, `DRAWS` times. The seed determines the draws."""
    generator = np.random.default_rng([seed, FEW])
    return [generator.choice(train, FEW, replace=False) for _ in range(DRAWS)]


TRAINING = Training(stages.fits, functools.partial(stages.run, _trained))
