"""Tests the documentation site, as far as possible without the tools of `make docs`."""

import ast
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

import decorr
from decorr.config import Architecture
from experiments.grid.networks import VARIANT_KINDS
from tests.pages import python_of, script

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = {path.name: path.read_text() for path in sorted((DOCS / "reference").glob("*.md"))}
DOCSTRINGS = script(DOCS / "docstrings.py")
PUBLIC = DOCSTRINGS.PUBLIC
FORMULAS = script(DOCS / "formulas.py").FORMULAS
WORDS = re.compile(r"[^\s`:,*\\_|-]+")


def example(name):
    """Returns the code in a docstring. Other indented lines are formulas."""
    for block in re.findall(r"\n\n((?:    .*\n)+)", inspect.getdoc(getattr(decorr, name))):
        try:
            found = ast.parse(textwrap.dedent(block))
        except SyntaxError:
            continue
        if any(isinstance(node, ast.Assign) for node in found.body):
            return compile(found, name, "exec")
    return None


# -- pages --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_start_shows_what_it_says(capsys):
    python_of(DOCS / "start.md")
    page = (DOCS / "start.md").read_text()
    said = "\n".join(re.findall(r"^(?:print.*#|\| (?=\d))(.*)$", page, re.MULTILINE))
    said, printed = (re.findall(r"\d+\.\d+", text) for text in (said, capsys.readouterr().out))
    np.testing.assert_allclose(np.float64(printed), np.float64(said), rtol=0.1)
    _, errors, *units = np.float64(printed[5:]).reshape(4, 4).T
    assert (np.diff(units) > 0).all() and errors.argmax() == 3


@pytest.mark.slow
def test_one_name_stands_for_the_numbers_of_the_page(capsys):
    page = (DOCS / "names.md").read_text()
    rows = re.findall(r"^\|.*\| `([^`]+)`[^|]*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == len(re.findall(r"\| [\d.]+ \|$", page, re.MULTILINE)) == 18
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # the defaults of JAX
        names = python_of(DOCS / "names.md")
        found = [float(eval(call, names)) for call, _ in rows]
    np.testing.assert_allclose(found, [float(number) for _, number in rows], rtol=0.02)
    (said,) = re.findall(r"^print.*# (.*)$", page, re.MULTILINE)
    np.testing.assert_allclose(
        np.float64(capsys.readouterr().out.split()), np.float64(said.split()), rtol=0.05
    )


@pytest.mark.slow
def test_what_extending_adds_is_used():
    before = dict(VARIANT_KINDS)
    try:
        names = python_of(DOCS / "extending.md")
        assert names["variant"].regulariser(names["Recipe"]()) == names["Regulariser"](0.002, 0.3)
    finally:
        VARIANT_KINDS.clear()
        VARIANT_KINDS.update(before)
    nll = names["metrics"].nll
    assert nll.shape == (20,) and nll[-1] < 0.8 * nll[0]


def test_every_committed_figure_is_shown():
    folders = (DOCS.parent / "experiments" / name / "reference/figures" for name in ("paper", "comparison"))
    committed = {path for folder in folders for path in folder.glob("*.svg")}
    shown = re.findall(r"\]\((\.\./experiments/\S+\.svg)\)", (DOCS / "figures.md").read_text())
    assert {(DOCS / path).resolve() for path in shown} == committed


def test_outputs_of_notebooks_are_compared_by_their_words():
    stale = script(DOCS.parent / ".ci/stale.py")

    def words(text):
        return stale.words({"cells": [{"outputs": [{"text": [text]}]}, {}]})

    assert words("error 1.5e-3\n") == words("error  -20") == ["error", ""]
    assert words("error") != words("errors")


# -- the reference ------------------------------------------------------------------------------------------


def documented(page):
    """Returns the public names that a page documents. Types that only functions return are not public."""
    found = re.findall(r"^\.\. auto(?:function|class):: ([\w.]+)$", REFERENCE[page], re.MULTILINE)
    return [address for address in found if address in PUBLIC.values()]


def test_every_public_name_is_in_the_reference_once():
    named = [address for page in REFERENCE for address in documented(page)]
    assert sorted(named) == sorted(PUBLIC.values())


def test_the_index_of_the_reference_names_them_where_they_are():
    rows = re.findall(r"^\| \[[^]]+\]\((\w+\.md)\) \| (.*) \|$", REFERENCE["README.md"], re.MULTILINE)
    assert sorted(page for page, _ in rows) == sorted(set(REFERENCE) - {"README.md"})
    for page, names in rows:
        assert [PUBLIC[name] for name in re.findall(r"`(\w+)`", names)] == documented(page)


# -- docstrings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_of_a_docstring_is_lost(name):
    text = inspect.getdoc(getattr(decorr, name))
    found = "\n".join(DOCSTRINGS.as_rst(text.split("\n"), {}, {}))
    found = re.sub(r"`(arXiv:[\d.]+) <\S+>`__", r"\1", found)
    assert WORDS.findall(found) == WORDS.findall(text)
    for header in re.findall(r"^([A-Z]\w+):(?: |$)", text, re.MULTILINE):
        assert f":{header}:" in found


@pytest.mark.parametrize("name", [*filter(example, PUBLIC)])
def test_the_code_of_a_docstring_runs(name):
    def run(key, x, a):
        model = decorr.MLP(architecture, classes=10)
        params = model.init(key, x)["params"]
        activations, nll, batches, d, b = {"relu": a}, 0.0, a, 8, a
        layers = [params[name] for name in ("hidden_1", "hidden_2", "hidden_3", "logits")]
        public = {each: getattr(decorr, each) for each in PUBLIC}
        names = public | {
            "Architecture": Architecture,
            "dataclasses": dataclasses,
            "architecture": architecture,
        }
        exec(example(name), names | locals())

    architecture, key = Architecture((40, 20, 10)), jax.random.key(0)
    x, a = jax.random.normal(key, (10, 784)), jax.random.normal(key, (4, 3, 3, 8))
    if name in ("merge_network", "merge_units"):  # it needs numbers, not only shapes
        run(key, x, a)
    else:
        jax.eval_shape(run, key, x, a)


def test_every_formula_of_the_reference_stands_in_a_docstring():
    texts = [" ".join(inspect.getdoc(getattr(decorr, name)).split()) for name in PUBLIC]
    assert [formula for formula in FORMULAS if not any(formula in text for text in texts)] == []


def test_sections_fields_and_formulas():
    text = """What is *not* markup: a_ |rho|, but y = sum_i
x_i is mathematics.

    x = a_i * b_i

Args:
  a: one,
    and more.
  where, weights: as `zscore`.

Returns:
  A number: see `x`.

Source: somebody (arXiv:1234.56789), and
  another."""
    assert DOCSTRINGS.as_rst(
        text.split("\n"), {"zscore": "decorr.zscore"}, {"y = sum_i x_i": r"y = \sum_i x_i"}
    ) == [
        r"What is \*not\* markup: a\_ \|rho\|, but :math:`y = \sum_i x_i` is mathematics.",
        "",
        "::",
        "",
        "    x = a_i * b_i",
        "",
        ":Args:",
        "  - **a**: one, and more.",
        "  - **where**, **weights**: as :py:obj:`zscore <decorr.zscore>`.",
        ":Returns:",
        "  A number: see ``x``.",
        "",
        ":Source:",
        "  somebody (`arXiv:1234.56789 <https://arxiv.org/abs/1234.56789>`__), and another.",
        "",
        "",
    ]
