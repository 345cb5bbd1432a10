"""Rules of the house: who may import what, what importing may cost, and what is documented."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import decorr

ROOT = Path(__file__).parent.parent


def imports(path):
    """All modules that a file imports, wherever it does; `from a import b` as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def packages(path):
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sorted(ROOT.glob("decorr/*.py")), ids=lambda path: path.name)
def test_the_library_does_not_know_the_experiments(path):
    assert "experiments" not in packages(path)


READERS = (
    *("grid", "results", "summary", "progress", "compact", "published", "intervals", "verdicts", "claims"),
    *("agreement", "ablation", "markdown", "style", "figures", "further_figures", "report"),
)


@pytest.mark.parametrize("name", READERS)
def test_what_reads_results_does_not_need_jax(name):
    found = imports(ROOT / "experiments" / f"{name}.py")
    assert found
    for module in found:
        assert not re.match(r"(jax|jaxlib|flax|optax)(\.|$)", module)
        # independent_penalty is plain Python.
        assert not re.match(r"decorr(?!\.config\.|\.penalty\.independent_penalty$)", module)


def test_the_configuration_needs_the_standard_library_only():
    assert packages(ROOT / "decorr" / "config.py") <= sys.stdlib_module_names


def test_importing_starts_no_backend():
    code = "import decorr, decorr.training, decorr.data, experiments.sweep, experiments.reproduce"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "no_such"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["sweep", "test"])
def test_the_readmes_commands_exist(target):
    assert f"make {target}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", decorr.__all__)
def test_public_names_are_documented(name):
    value = getattr(decorr, name)
    text = inspect.getdoc(value)
    # A dataclass or NamedTuple without a docstring gets its signature for one.
    assert text and not text.startswith(f"{name}(")
    if inspect.isfunction(value):
        assert re.search(r"^Args:", text, re.MULTILINE) and re.search(r"^Returns:", text, re.MULTILINE)
