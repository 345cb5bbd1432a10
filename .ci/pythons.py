"""Tests the library's wheel under each given Python, with the newest dependencies that pip finds.

pythons.py VERSION ...: each version gets an environment of its own, .venv-VERSION. Fails if a test fails, or
if no test ran.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

PACKAGES = ("jax", "flax", "optax", "numpy")
VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


def interpreter(version):
    """Returns the command of this Python, from the PATH or from pyenv; None if there is none."""
    for command in (f"python{version}", *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
        try:
            said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        except OSError:
            continue
        if said.startswith(f"Python {version}."):  # pyenv's shim may have no Python behind it
            return command
    return None


def tested(version):
    """Runs the tests under one Python, and returns the outcome: passed, failed or skipped, and why."""
    if (command := interpreter(version)) is None:
        return "skipped: no such interpreter on the PATH or in ~/.pyenv"
    folder = Path(f".venv-{version}")
    python, report = folder / "bin/python", folder / "report.xml"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    newest = (*pip, "--only-binary=jaxlib", ".", "pytest", "pytest-xdist")
    # Like the Makefile, with a newer pip, which is faster.
    steps = (
        (command, "-m", "venv", "--clear", folder),
        (*pip, "--constraint", "constraints.txt", "pip"),
        newest,
    )
    for make in steps:
        made = subprocess.run(make, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode:
            reason = [made.args[2], *made.stdout.strip().splitlines()][-1]
            return f"{'skipped' if 'No matching distribution' in reason else 'failed'}: {reason}"
    asked = subprocess.run([python, "-c", VERSIONS, *PACKAGES], capture_output=True, text=True, check=True)
    found = ", ".join(map(" ".join, zip(PACKAGES, asked.stdout.split(), strict=True)))
    # Like in `make oldest`, -P keeps the checkout off sys.path.
    subprocess.run(
        [python, "-P", "-m", "pytest", "-n", "auto", f"--junit-xml={report}", "tests/decorr"],
        env=os.environ | {"DECORR_INSTALLED": "1"},
    )
    if not report.exists():
        return f"failed: pytest broke off, with {found}"
    suite = tree.parse(report).getroot().find("testsuite")
    tests, failures, errors, skipped = (
        int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")
    )
    outcome = "failed" if failures or errors or not tests else "passed"
    return f"{outcome}: {tests} tests, {failures + errors} failed, {skipped} skipped, with {found}"


results = {version: tested(version) for version in sys.argv[1:]}
for version, result in results.items():
    print(f"Python {version:5} {result}")
outcomes = {result.partition(":")[0] for result in results.values()}
sys.exit("failed" in outcomes or "passed" not in outcomes)
