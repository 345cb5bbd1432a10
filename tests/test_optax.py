"""The tests in docs/optax.md pass, and its functions agree with the library's."""

import doctest
import functools
import unittest
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import decorr
from tests.pages import python_of

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def proposal():
    return python_of(DOCS / "optax.md")


@pytest.mark.slow
def test_its_tests_pass(proposal):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(proposal["DecorrelationTest"]).run(result)
    assert result.testsRun
    assert not result.errors + result.failures


def test_its_examples_show_what_they_say(proposal, monkeypatch):
    for name in ("barlow_twins_loss", "vicreg_loss", "correlation_penalty"):
        monkeypatch.setattr(optax, name, proposal[name], raising=False)
        (example,) = doctest.DocTestFinder().find(proposal[name], name, module=False)
        found = doctest.DocTestRunner().run(example)
        assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("name", "constants", "shape"),
    [
        ("barlow_twins_loss", {"eps": 0.0}, (32, 5)),
        ("vicreg_loss", {}, (6, 40)),
        ("correlation_penalty", {"eps": 0.0}, (32, 5)),
        ("correlation_penalty", {"eps": 0.0}, (6, 40)),
    ],
)
def test_its_functions_are_the_librarys(proposal, float64, name, constants, shape):
    rng = np.random.default_rng(0)
    views = rng.normal(size=(1 if name == "correlation_penalty" else 2, *shape))
    keep = np.arange(shape[0]) != 1
    found, wanted = (
        jax.jit(jax.value_and_grad(functools.partial(loss, where=keep)))(*views)
        for loss in (functools.partial(proposal[name], **constants), getattr(decorr, name))
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-9, atol=1e-12)
