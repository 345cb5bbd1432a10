"""Times the penalty with its gradient: in decorr, and from the d x d matrix in JAX and PyTorch.
Also times the operations that every implementation needs."""

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from decorr import correlation_penalty
from experiments.benchmark.jax_trainers import plain_penalty
from experiments.benchmark.workers import Group, Work, interleaved, median_ratio, together

SHAPES = ((50, 360), (50, 90), (256, 2048), (256, 8192), (4096, 1024), (51200, 64))


def measure(platform: str, repeats: int, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measures errors, time and memory of computing P and dP/da."""
    implementations = ["ours", "plain", "floor"]
    if find_spec("torch"):
        implementations.append("torch_plain")
    for dtype in ("float32",) if platform == "cpu" else ("float32", "bfloat16"):
        for m, d in SHAPES:
            say(f"penalty of ({m}, {d}) {dtype}")
            with ExitStack() as stack:
                groups = {
                    name: stack.enter_context(Group(f"{__name__}:{name}", together(), m=m, d=d, dtype=dtype))
                    for name in implementations
                }
                reports = {name: group.reports()[0] for name, group in groups.items()}
                times = interleaved(groups, repeats)
            for name in groups:
                yield {
                    "m": m,
                    "d": d,
                    "dtype": dtype,
                    "implementation": name,
                    "milliseconds": [1e3 * seconds for seconds in times[name]],
                    "times_slower": median_ratio(times[name], times["ours"]),
                } | reports[name]


def activations(m: int, d: int) -> np.ndarray:
    """Returns float64 activations [m, d] of correlated units."""
    random = np.random.default_rng(0)
    return random.standard_normal((m, d)) + random.standard_normal((m, 8)) @ random.standard_normal((8, d))


def errors(a: np.ndarray, value: float, gradient: np.ndarray) -> dict[str, float]:
    """Returns relative errors of P and dP/da, compared with the formulas of Section 3.1 in float64."""
    a = a.astype(np.float64)
    m, d = a.shape
    sigma = a.std(axis=0, ddof=1)
    z = (a - a.mean(axis=0)) / sigma
    rho = z.T @ z / (m - 1)
    squares = np.square(rho).sum(axis=0)
    expected = squares.sum() / (2 * d)
    expected_gradient = 2 / (d * (m - 1) * sigma) * (z @ rho - z * squares)
    distance = np.linalg.norm(gradient.astype(np.float64) - expected_gradient)
    return {
        "error": abs(value - expected) / expected,
        "gradient_error": float(distance / np.linalg.norm(expected_gradient)),
    }


def ours(m: int, d: int, dtype: str) -> Work:
    return _compiled(correlation_penalty, m, d, dtype)


def plain(m: int, d: int, dtype: str) -> Work:
    return _compiled(plain_penalty, m, d, dtype)


def _compiled(penalty: Callable[[jax.Array], jax.Array], m: int, d: int, dtype: str) -> Work:
    a = jnp.asarray(activations(m, d), dtype)
    program = jax.jit(jax.value_and_grad(penalty)).lower(a).compile()
    value, gradient = program(a)
    memory: Any = program.memory_analysis()
    report = errors(np.asarray(a), float(value), np.asarray(gradient))
    return lambda: jax.block_until_ready(program(a)), report | {
        "mebibytes": memory.temp_size_in_bytes / 2**20
    }


def floor(m: int, d: int, dtype: str) -> Work:
    """Computes only the two matrix products that P and its gradient need. One of them is the smaller of
    a.T @ a and a @ a.T."""
    a = jnp.asarray(activations(m, d), dtype)

    @jax.jit
    def products(a):
        def product(x, y):
            return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)

        return product(a, product(a.T, a)) if d <= m else product(product(a, a.T), a)

    jax.block_until_ready(products(a))
    return lambda: jax.block_until_ready(products(a)), {}


def torch_plain(m: int, d: int, dtype: str) -> Work:
    import torch

    from experiments.benchmark import torch_trainers

    a = torch.from_numpy(activations(m, d)).to(torch_trainers.DEVICE, getattr(torch, dtype))
    a.requires_grad_()

    def work():
        value = torch_trainers.plain_penalty(a)
        (gradient,) = torch.autograd.grad(value, a)
        return float(value), gradient  # reading a number waits for the GPU

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value, gradient = work()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report = errors(a.detach().double().cpu().numpy(), value, gradient.double().cpu().numpy())
    return work, report | {"mebibytes": grown / 2**10}
