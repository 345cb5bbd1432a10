"""Checks each row of docs/conversion.md: the call in decorr against reference code, and the factor to P."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import decorr
from tests.oracles.engines import DIFFERENTIABLE, cotangent
from tests.oracles.references import REFERENCES

PAGE = (Path(__file__).parents[2] / "docs" / "conversion.md").read_text()
SHAPES = [(24, 7), (6, 9)]  # with fewer units than samples, and with more
# How much the same arithmetic may differ on another processor or with another BLAS.
ROUNDING = 1e-14
KEY = jax.random.key(0)


def rows():
    """Returns the page's rows by name, joined over its tables. Code has no backticks, and "-" is None."""
    found = {}
    for table in re.findall(r"^\|.*\n\|[-|]+\|\n(?:\|.*\n)+", PAGE, re.MULTILINE):
        columns, _, *lines = (line[2:-2].split(" | ") for line in table.splitlines())
        for cells in lines:
            row = {
                name: None if cell == "-" else cell.strip("`")
                for name, cell in zip(columns, cells, strict=True)
            }
            found.setdefault(row["row"], {"factor to P": None}).update(row)
    return found


ROWS = rows()
# Penalties whose code adds a constant to variances, which matters less for larger units.
EPSILON = [name for name in ROWS if name.startswith(("barlow", "feddecorr-code"))]
FACTORS = [name for name, row in ROWS.items() if row["factor to P"]]


def inputs(m, d):
    """Returns two views of correlated units. Some units are above VICReg's hinge, and some below."""
    rng = np.random.default_rng(0)
    scale, shift = np.linspace(0.3, 1.7, d), rng.normal(size=d)
    maps = (rng.normal(size=(m, 3, d)) + 0.8 * rng.normal(size=(m, 3, 1))) * scale + shift
    others = maps + 0.4 * rng.normal(size=maps.shape)
    keep = np.arange(m) % 3 != 1
    directions = np.float64(jax.random.normal(KEY, (d, 1024), jnp.float32))  # as `sigreg_loss` draws them
    weights, counts = rng.uniform(0.5, 2, m), rng.integers(1, 4, m)
    return {
        "a": maps[:, 0],
        "b": others[:, 0],
        "maps": maps,
        "others": others,
        "keep": keep,
        "weights": weights,
        "counts": counts,
        "key": KEY,
        "directions": directions / np.linalg.norm(directions, axis=0),
    }


def evaluated(code, given):
    """Runs the code in a cell of the page, like a reader would."""
    m, d = given["a"].shape
    names = {name: getattr(decorr, name) for name in (*decorr.__all__, *decorr.diagnostics.__all__)} | {
        "jax": jax,
        "jnp": jnp,
    }
    return eval(code, names | given | {"m": m, "d": d})


def difference(got, wanted):
    """Returns the largest difference, divided by the largest wanted value."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    return np.abs(got - wanted).max() / np.abs(wanted).max()


def test_rows_and_references_are_the_same():
    assert set(ROWS) == set(REFERENCES)
    assert len(re.findall(r"^\| `", PAGE, re.MULTILINE)) == len(ROWS)


def measured(name, shape, scale=1):
    """Returns how much a row's call and its reference differ, in value and in gradients."""
    given = inputs(*shape)
    given |= {key: scale * given[key] for key in DIFFERENTIABLE}
    value, gradients = REFERENCES[name](given)
    arrays = {key: jnp.asarray(array) for key, array in given.items()}
    arrays["counts"] = arrays["counts"].astype(arrays["a"].dtype)
    weight = jnp.asarray(cotangent(value))

    def total(chosen):
        got = evaluated(ROWS[name]["call in decorr"], arrays | chosen)
        return jnp.sum(got * weight), got

    ours, got = jax.grad(total, has_aux=True)({key: arrays[key] for key in DIFFERENTIABLE})
    assert got.dtype == np.float64
    # The call does not use inputs that the reference does not take.
    assert all(np.all(np.asarray(ours[key]) == 0) for key in set(ours) - set(gradients))
    by = [difference(ours[key], wanted) for key, wanted in gradients.items()]  # a count has none
    return difference(got, value), max(by, default=0.0)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ROWS)
def test_value_and_gradient(float64, name):
    found = np.max([measured(name, shape) for shape in SHAPES], axis=0)
    agreement = np.array(ROWS[name]["agreement"].split(", "), float)
    print(name, ", ".join(f"{number:.0e}" if number else "0" for number in found))
    assert np.all(found <= np.maximum(10 * agreement, ROUNDING))


@pytest.mark.oracle
@pytest.mark.parametrize("name", EPSILON)
def test_what_differs_is_an_epsilon_added_to_variances(float64, name):
    assert np.max([measured(name, shape, scale=1e4) for shape in SHAPES]) < 1e-11


@pytest.mark.parametrize("name", FACTORS)
def test_factor_to_the_penalty(float64, name):
    row, given = ROWS[name], {key: jnp.asarray(array) for key, array in inputs(*SHAPES[0]).items()}

    def loss(a):
        activations = evaluated(row["holds for"], given | {"a": a})
        return evaluated(row["call in decorr"], given | {"a": activations})

    @jax.jit
    def gradients(a):
        factor = evaluated(row["factor to P"], given | {"P": decorr.correlation_penalty(a)})
        return jax.grad(loss)(a), factor * jax.grad(decorr.correlation_penalty)(a)

    assert difference(*gradients(given["a"])) < 1e-12
