"""Times diagnostics of a layer in decorr, NumPy and other packages. Also times `layer_report` in training."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from decorr import MLP, effective_rank, layer_report, sigreg_loss
from decorr.diagnostics import dormant_units, linear_cka
from experiments.benchmark import task
from experiments.benchmark.jax_trainers import sgd
from experiments.benchmark.penalty import activations
from experiments.benchmark.workers import Group, Work, interleaved, median_ratio, together
from experiments.grid.networks import Size
from experiments.grid.protocols import RELEASED

SHAPES = ((50, 360), (1000, 256), (4096, 1024))
EVERY = 10
"""The number of training steps from one report to the next."""


def _rank_of_entropy(values: np.ndarray) -> float:
    p = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def _numpy_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Computes debiased CKA from m x m matrices, like most code."""
    k, l = (x @ x.T * (1 - np.eye(len(x), dtype=x.dtype)) for x in (a, b))  # noqa: E741

    def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
        m, rows = len(k), k.sum(axis=0) @ l.sum(axis=0)
        return float(np.sum(k * l) + k.sum() * l.sum() / ((m - 1) * (m - 2)) - 2 / (m - 2) * rows)

    return hsic(k, l) / math.sqrt(hsic(k, k) * hsic(l, l))


@cache
def _directions(d: int) -> np.ndarray:
    """Returns directions [unit, 1024] like those of `sigreg_loss`. They are drawn before the timing
    starts."""
    u = np.asarray(jax.random.normal(jax.random.key(0), (d, 1024)))
    return u / np.linalg.norm(u, axis=0)


def _numpy_sigreg(a: np.ndarray) -> float:
    """Computes SIGReg knot by knot, because all knots at once do not fit in memory."""
    x, t = a @ _directions(a.shape[1]), np.linspace(0, 3, 17, dtype=a.dtype)
    normal = np.exp(-t * t / 2)
    distances = [
        np.mean((np.cos(k * x).mean(axis=0) - wanted) ** 2 + np.sin(k * x).mean(axis=0) ** 2)
        for k, wanted in zip(t, normal, strict=True)
    ]
    return float(len(a) * 2 * np.trapezoid(normal * np.asarray(distances), t))


def _reptrix(a: np.ndarray, b: np.ndarray) -> float:
    import torch
    from reptrix import rankme

    return float(rankme.get_rankme(torch.from_numpy(a)))


def _anatome(a: np.ndarray, b: np.ndarray) -> float:
    import torch
    from anatome.similarity import linear_cka_distance

    return float(linear_cka_distance(torch.from_numpy(a), torch.from_numpy(b), reduce_bias=False))


def _numpy_raw_cka(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float(np.sum((a.T @ b) ** 2) / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def _dormant(a: np.ndarray) -> float:
    size = np.abs(a).mean(axis=0)
    return float(np.mean(size / size.mean() <= 0.5))


Measure = Callable[[Any, Any], Any]
# Measure -> implementation -> a function of two layers [sample, unit].
MEASURES: dict[str, dict[str, Measure]] = {
    "RankMe": {
        "ours": lambda a, b: effective_rank(a, power=1, kind="moment"),
        "numpy": lambda a, b: _rank_of_entropy(np.linalg.svd(a, compute_uv=False)),
    },
    "RankMe of eigenvalues": {
        "ours": lambda a, b: effective_rank(a),
        "numpy": lambda a, b: _rank_of_entropy(np.linalg.eigvalsh(np.cov(a, rowvar=False))),
        "reptrix": _reptrix,
    },
    "participation ratio": {
        "ours": lambda a, b: effective_rank(a, order=2),
        "numpy": lambda a, b: np.trace(np.cov(a.T)) ** 2 / np.sum(np.cov(a.T) ** 2),
    },
    "dormant units": {
        "ours": lambda a, b: jnp.mean(dormant_units(a, threshold=0.5)),
        "numpy": lambda a, b: _dormant(a),
    },
    "CKA": {"ours": partial(linear_cka, debias=False), "numpy": _numpy_raw_cka, "anatome": _anatome},
    "CKA, debiased": {"ours": linear_cka, "numpy": _numpy_cka},
    "SIGReg": {
        "ours": lambda a, b: sigreg_loss(a, jax.random.key(0)),
        "numpy": lambda a, b: _numpy_sigreg(a),
    },
}
_PACKAGES = ("reptrix", "anatome")


def measure(
    repeats: int,
    sizes: Sequence[Size],
    say: Callable[[str], None],
    shapes: Sequence[tuple[int, int]] = SHAPES,
) -> Iterator[dict[str, Any]]:
    """Times each measure for each shape and implementation, and training with and without reports."""
    for name, implementations in MEASURES.items():
        chosen = [each for each in implementations if each not in _PACKAGES or find_spec(each)]
        for m, d in shapes:
            say(f"{name} of ({m}, {d})")
            arguments = {each: {"measure": name, "implementation": each, "m": m, "d": d} for each in chosen}
            yield from _side_by_side("value", arguments, repeats)
    for size in sizes:
        say(f"layer_report in training, {size}")
        arguments = {
            each: {"size": size, "implementation": each} for each in ("no report", "a report every 10 steps")
        }
        yield from _side_by_side("training", arguments, repeats)


def _side_by_side(build: str, arguments: dict[str, dict[str, Any]], repeats: int) -> Iterator[dict[str, Any]]:
    """Yields rows of all implementations, with times relative to the first implementation."""
    with ExitStack() as stack:
        groups = {
            name: stack.enter_context(Group(f"{__name__}:{build}", together(), **each))
            for name, each in arguments.items()
        }
        reports = {name: group.reports()[0] for name, group in groups.items()}
        first, *others = reports
        for name in others:
            if not math.isclose(reports[name]["value"], reports[first]["value"], rel_tol=1e-2):
                raise RuntimeError(
                    f"{arguments[name]} gives {reports[name]['value']}, "
                    f"but {first} gives {reports[first]['value']}"
                )
        times = interleaved(groups, repeats)
    for name in groups:
        yield {
            **arguments[name],
            **reports[name],
            "milliseconds": [1e3 * seconds for seconds in times[name]],
            "times_first": median_ratio(times[name], times[first]),
        }


def value(measure: str, implementation: str, m: int, d: int) -> Work:
    """Computes one measure of two layers, each of m samples and d units."""
    a = activations(m, d).astype(np.float32)
    b = np.maximum(a[:, ::-1] + a[:, :1], 0)
    function = MEASURES[measure][implementation]
    if implementation != "ours":
        return lambda: function(a, b), {"value": float(function(a, b))}
    program = jax.jit(function)
    on_device = jax.device_put((a, b))
    return lambda: jax.block_until_ready(program(*on_device)), {"value": float(program(*on_device))}


def training(size: Size, implementation: str) -> Work:
    """Does ten training steps of a network on one minibatch. On request, the last step makes a report."""
    architecture = task.protocol("mlp").architecture(size)
    model, optimiser = MLP(architecture, classes=task.CLASSES), sgd()
    rng, batch = np.random.default_rng(0), RELEASED.optimisation.batch_size
    x = jnp.asarray(rng.uniform(size=(batch, task.SIDE**2)), jnp.float32)
    labels = jnp.asarray(rng.integers(task.CLASSES, size=batch), jnp.int32)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    state = params, optimiser.init(params)

    @partial(jax.jit, static_argnames="reports")
    def step(state: Any, reports: bool) -> tuple[Any, Any]:
        params, moments = state

        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, hidden = model.apply({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), hidden

        (nll, hidden), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimiser.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), layer_report(hidden) if reports else nll

    def work() -> Any:
        nonlocal state
        for i in range(EVERY):
            state, found = step(state, reports=implementation != "no report" and i == EVERY - 1)
        return jax.block_until_ready((state, found))

    work()
    return work, {"value": float(step(state, reports=False)[1])}
