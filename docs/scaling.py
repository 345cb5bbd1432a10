"""How the penalty and its gradient depend on samples, units and normalisation: the tables of weights.md.

    python docs/scaling.py

prints the page's tables and draws scaling.svg beside this file. This takes 20 s on two cores.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from decorr import MLP, correlation_penalty, independent_penalty
from decorr.training.objective import negative_log_likelihood
from experiments.grid.networks import Recipe
from experiments.page import style
from experiments.page.drawing import grid, settings
from experiments.page.tables import Table, markdown

SHAPES = ((32, 64), (512, 64), (2048, 64), (512, 256), (512, 1024))
SEEDS = 5
CORRELATION = 0.25  # rho of any two units with a common cause
UNITS = {"a common cause": CORRELATION, "independent": 0.0}
WEIGHTS = (0.002, 0.02)
EPOCHS = (1, 3, 10)

# Each function computes a normalised penalty from P and d. All functions are affine in P, so their gradients
# are multiples of P's gradient.
NORMALISATIONS: Mapping[str, Callable[[float, int], float]] = {
    "P, 1/(2d) of the sum": lambda penalty, d: penalty,
    "mean over pairs": lambda penalty, d: (2 * penalty - 1) / (d - 1),
    "sum over pairs": lambda penalty, d: (2 * penalty - 1) * d,
}


@functools.cache
def measure(m: int, d: int, correlation: float) -> tuple[float, float]:
    """Returns P and sqrt(m) ||dP/da|| of Gaussian units, both as medians over seeds."""
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        own, cause = rng.normal(size=(m, d)), rng.normal(size=(m, 1))
        a = np.sqrt(correlation) * cause + np.sqrt(1 - correlation) * own
        penalty, gradient = _value_and_gradient(jnp.asarray(a, jnp.float32))
        found.append((float(penalty), m**0.5 * float(jnp.linalg.norm(gradient))))
    penalty, norm = np.median(found, axis=0)
    return float(penalty), float(norm)


_value_and_gradient = jax.jit(jax.value_and_grad(correlation_penalty))


def normalised(name: str, m: int, d: int, correlation: float) -> tuple[float, float]:
    """Returns value and gradient norm like `measure`, but for one of the `NORMALISATIONS`, at weight 1."""
    of, (penalty, norm) = NORMALISATIONS[name], measure(m, d, correlation)
    return of(penalty, d), norm * (of(1.0, d) - of(0.0, d))


def scaling() -> list[list[str]]:
    """Returns the rows of the table of gradient norms and values."""
    rows = [["units", "normalisation", *(f"m={m}, d={d}" for m, d in SHAPES)]]
    for units, correlation in UNITS.items():
        for name in NORMALISATIONS:
            found = [normalised(name, m, d, correlation) for m, d in SHAPES]
            rows.append([units, name, *(f"{norm:.3g} ({value:.3g})" for value, norm in found)])
    return [*rows, ["", "`independent_penalty(m, d)`", *(f"({independent_penalty(*s):.3g})" for s in SHAPES)]]


def ratios() -> list[list[str]]:
    """Returns the rows of the table of gradient ratios, for the paper's largest network on the digits."""
    rows = [["weight", "at first", *(f"epoch {epoch}" for epoch in EPOCHS)]]
    for weight in WEIGHTS:
        found = _train(weight)
        per_epoch = len(found) // max(EPOCHS)
        ends = [found[(epoch - 1) * per_epoch : epoch * per_epoch] for epoch in EPOCHS]
        rows.append([f"{weight:g}", *(f"{np.median(each):.2g}" for each in (found[:1], *ends))])
    return rows


def _train(weight: float) -> np.ndarray:
    """Trains a network; returns ||gradient of weighted penalties|| / ||gradient of loss|| [minibatch]."""
    protocol = Recipe()
    digits = load_digits()
    x, labels = np.asarray(digits.data / 16, np.float32), digits.target.astype(np.int32)
    model = MLP(protocol.architecture("huge"), classes=10)

    def loss(params, x, labels):
        return negative_log_likelihood(model.apply({"params": params}, x)[0], labels)

    def penalty(params, x):
        return weight * sum(correlation_penalty(a) for a in model.apply({"params": params}, x)[1])

    @jax.jit
    def step(params, batch):
        of_loss = jax.grad(loss)(params, x[batch], labels[batch])
        of_penalty = jax.grad(penalty)(params, x[batch])
        rate = protocol.optimisation.learning_rate
        params = jax.tree.map(lambda p, g, h: p - rate * (g + h), params, of_loss, of_penalty)
        return params, optax.tree.norm(of_penalty) / optax.tree.norm(of_loss)

    x, labels = jnp.asarray(x), jnp.asarray(labels)
    params, rng, found = model.init(jax.random.key(0), x)["params"], np.random.default_rng(0), []
    size = protocol.optimisation.batch_size
    for _ in range(max(EPOCHS)):
        order = rng.permutation(len(x))[: len(x) // size * size]
        for batch in order.reshape(-1, size):
            params, ratio = step(params, batch)
            found.append(float(ratio))
    return np.asarray(found)


@settings()
def draw(path: Path) -> None:
    """Draws gradient norms against the numbers of units and of samples."""
    figure, axes = grid(1, 2, width=3.2, height=2.8, sharey=True)
    sides = (
        (axes[0, 0], "units d, of 512 samples", [(512, 2**k) for k in range(3, 12)], 1),
        (axes[0, 1], "samples m, of 64 units", [(2**k, 64) for k in range(3, 14)], 0),
    )
    for each, label, shapes, along in sides:
        for correlation in UNITS.values():
            for name, variant in zip(NORMALISATIONS, style.with_looks(), strict=False):
                norms = [normalised(name, m, d, correlation)[1] for m, d in shapes]
                look = style.line(variant) | {"label": name if correlation else None}
                if not correlation:
                    look |= {"linestyle": ":", "markerfacecolor": "white"}
                each.plot([shape[along] for shape in shapes], norms, **look)
        each.set_xscale("log", base=2)
        each.set_yscale("log")
        each.set_xlabel(label, size=9)
    axes[0, 0].set_ylabel("gradient norm at weight 1", size=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    print(markdown(*(Table(header, rows) for header, *rows in (scaling(), ratios()))))
    draw(Path(__file__).with_name("scaling.svg"))
