"""The penalty, side by side with what a user would write instead: `python -m experiments.benchmark`.

For each shape: the relative error of P and of its gradient against float64 NumPy, and the time and memory
of P and its gradient against JAX's own gradient of the d x d formula, as medians of interleaved repeats.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from decorr import correlation_penalty

SHAPES = ((50, 360), (50, 90), (256, 2048), (256, 8192), (4096, 1024), (51200, 64))
REPEATS = 7


def plain_penalty(a: jax.Array) -> jax.Array:
    """P as one writes it down: the d x d correlation matrix, to be differentiated by JAX."""
    m, d = a.shape
    z = (a - a.mean(axis=0)) / a.std(axis=0, ddof=1)
    rho = jnp.matmul(z.T, z, precision=jax.lax.Precision.HIGHEST) / (m - 1)
    return jnp.sum(rho**2) / (2 * d)


def oracle(a: np.ndarray) -> tuple[float, np.ndarray]:
    """P and dP/da in float64 NumPy, by the formulas of Section 3.1."""
    a = a.astype(np.float64)
    m, d = a.shape
    sigma = a.std(axis=0, ddof=1)
    z = (a - a.mean(axis=0)) / sigma
    rho = z.T @ z / (m - 1)
    squares = np.square(rho).sum(axis=0)
    return squares.sum() / (2 * d), 2 / (d * (m - 1) * sigma) * (z @ rho - z * squares)


def compiled(penalty: Callable[[jax.Array], jax.Array], a: jax.Array) -> jax.stages.Compiled:
    return jax.jit(jax.value_and_grad(penalty)).lower(a).compile()


def seconds(function: Callable[[jax.Array], object], a: jax.Array) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(a))
    return time.perf_counter() - start


def mebibytes(program: jax.stages.Compiled) -> float:
    """What a program allocates beside its arguments and results; NaN where the platform does not say."""
    analysis = program.memory_analysis()
    return analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")


def row(m: int, d: int) -> list[str]:
    """One shape's line of the table."""
    key = jax.random.key(0)
    mixing = jax.random.normal(jax.random.fold_in(key, 1), (8, d))
    a = jax.random.normal(key, (m, d)) + jax.random.normal(jax.random.fold_in(key, 2), (m, 8)) @ mixing
    programs = compiled(correlation_penalty, a), compiled(plain_penalty, a)
    value, gradient = programs[0](a)
    expected_value, expected_gradient = oracle(np.asarray(a))
    errors = (
        abs(float(value) - expected_value) / expected_value,
        np.linalg.norm(np.asarray(gradient) - expected_gradient) / np.linalg.norm(expected_gradient),
    )
    for program in programs:
        seconds(program, a)  # warm up
    times = [[seconds(program, a) for program in programs] for _ in range(REPEATS)]
    ours, plain = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    ratio = statistics.median(plain / ours for ours, plain in times)
    memory = [mebibytes(program) for program in programs]
    return [
        f"({m}, {d})",
        *(f"{error:.1e}" for error in errors),
        *(f"{number:.3g}" for number in (ours, plain, ratio, *memory)),
    ]


def main() -> None:
    table = Table(title=f"P and dP/da, float32, on {jax.devices()[0].device_kind}", title_justify="left")
    for name in (
        "(m, d)",
        "error of P",
        "error of dP/da",
        "ms, decorr",
        "ms, d x d",
        "times faster",
        "MiB, decorr",
        "MiB, d x d",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for m, d in SHAPES:
        table.add_row(*row(m, d))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
