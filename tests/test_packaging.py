"""Checks what is published. The wheel holds only the library, and requires only what the library needs. The
source archive also holds the library's tests."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import decorr
from tests.pages import make_targets

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")

# Compares P of three units with NumPy, and its gradient with finite differences.
PENALTY = """
import decorr, jax, numpy as np
from jax.test_util import check_grads

assert "site-packages" in decorr.__file__, decorr.__file__
with jax.enable_x64(True):
    a = np.random.default_rng(0).standard_normal((7, 3))
    rho = np.corrcoef(a, rowvar=False)
    np.testing.assert_allclose(decorr.correlation_penalty(a), (rho**2).sum() / 6, rtol=1e-12)
    check_grads(decorr.correlation_penalty, (a,), order=1, modes=("rev",))
"""


def imported():
    """Returns the packages that importing the library needs, without those that only functions import."""
    found = {"jaxlib"}  # jax imports jaxlib
    for path in (ROOT / "decorr").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"decorr"}


def normal(requirement):
    """Returns the name of the distribution that is required."""
    return re.sub("[-_.]+", "-", Requirement(requirement).name).lower()


def installed_and_needed(folder, *requirements):
    """Returns the names of all distributions in a folder, and the names of those that requirements need."""
    here = {normal(found.name): found for found in distributions(path=[str(folder)])}
    needed, waiting = set(), [Requirement(name) for name in requirements]
    while waiting:
        asked = waiting.pop()
        for extra in {"", *asked.extras}:
            if (normal(asked.name), extra) not in needed:
                needed.add((normal(asked.name), extra))
                below = map(Requirement, here[normal(asked.name)].requires or ())
                waiting += [x for x in below if not x.marker or x.marker.evaluate({"extra": extra})]
    return {*here}, {name for name, _ in needed}


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds the source archive, and the wheel from it, in a folder. Builds from a copy, because leftovers of
    earlier builds in the checkout would be packed too."""
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "build", "dist", "results", "reference", "*.egg-info")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    run(sys.executable, "-m", "build", "--outdir", folder, "source", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_all_of_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {str(path.relative_to(ROOT)) for path in (ROOT / "decorr").rglob("*.py")} | {
        "decorr/py.typed"
    }


@pytest.mark.slow
def test_the_source_archive_holds_the_library_and_its_tests(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        files = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    paths = [path for folder in ("decorr", "tests/decorr") for path in (ROOT / folder).rglob("*.py")]
    held = {str(path.relative_to(ROOT)) for path in paths} | {"decorr/py.typed", "tests/conftest.py"}
    held |= {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    made_of = {"setup.cfg", "pyproject.toml", "MANIFEST.in", "PKG-INFO"}
    assert {name for name in files if ".egg-info/" not in name} == held | made_of


@pytest.mark.slow
def test_the_wheel_requires_what_the_library_imports(metadata):
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {normal(line) for line in plain} == imported()
    assert metadata["Version"] == decorr.__version__


@pytest.mark.slow
def test_the_wheel_alone_brings_what_the_library_needs_and_no_more(wheel, metadata, tmp_path):
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    run(python, "-I", "-W", "error", "-c", PENALTY, cwd=tmp_path)
    (packages,) = tmp_path.glob("env/lib/python*/site-packages")
    installed, needed = installed_and_needed(packages, *imported())
    assert installed == needed | {"decorr-jax"}

    extras = metadata.get_all("Requires-Dist")
    experiments = {normal(line) for line in extras if 'extra == "experiments"' in line}
    assert {"tensorflow-datasets", "matplotlib", "xarray", "scikit-learn", "tyro"} <= experiments - installed


def test_the_oldest_versions_that_are_tested_are_those_that_setup_cfg_allows():
    bounds = SETUP["options"]["install_requires"].split()
    assert {normal(bound) for bound in bounds} == imported()
    pinned = (ROOT / "constraints-oldest.txt").read_text().split()
    assert {bound.replace(">=", "==") for bound in bounds} <= set(pinned)


def test_the_workflows_run_targets_that_there_are_on_the_pythons_that_are_promised():
    makefile = (ROOT / "Makefile").read_text()
    targets = make_targets()
    workflows = {path.stem: path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")}
    for text in workflows.values():
        assert set(re.findall(r"\bmake ([a-z]+)", text)) <= targets
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert all(
            re.fullmatch(r"\./.*|.*@v\d+|.*@release/v\d+", each) for each in re.findall(r"uses: (\S+)", text)
        )
    jobs = yaml.safe_load(workflows["ci"])["jobs"]
    # The jobs are those of .ci/run, except for `real`, which needs data sets.
    check = re.search(r"^check: (.*?) +##", makefile, re.MULTILINE)[1].split()
    assert sorted(jobs["make"]["strategy"]["matrix"]["target"]) == sorted(["test", *check])
    promised = re.findall(r"Python :: (\d\.\d+)", SETUP["metadata"]["classifiers"])
    assert jobs["newest"]["strategy"]["matrix"]["python"] == promised
    assert set(promised) <= set(re.search(r"^PYTHONS \?= (.*)", makefile, re.MULTILINE)[1].split())


def test_the_citation_and_the_changelog_are_of_this_version():
    assert f"\nversion: {decorr.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == decorr.__version__
