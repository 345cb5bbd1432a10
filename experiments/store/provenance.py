"""The origin of results: code, machine, versions, time."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")

NAMES = ("commit", "created", "machine", "versions")
"""Names of the notes that `current` returns."""


def current() -> Mapping[str, str]:
    """Returns the origin of results that this process computes now."""
    return {
        "commit": _commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": json.dumps(
            {"python": platform.python_version()} | {name: version_of(name) for name in _PACKAGES}
        ),
    }


def _commit() -> str:
    """Returns the commit of this checkout, marked if the code was changed; "unknown" without git or a
    checkout."""
    if _git("rev-parse", "--show-toplevel") != str(ROOT):  # this folder is within another repository
        return "unknown"
    commit = _git("rev-parse", "HEAD")
    # The reference run writes into these folders, which hold no code.
    excluded = [f":(top,exclude)experiments/{name}/reference" for name in ("paper", "comparison")]
    changed = _git("status", "--porcelain", "--untracked-files=no", ":/", *excluded)
    if commit is None or changed is None:
        return "unknown"
    return commit + ("-dirty" if changed else "")


def _git(*arguments: str) -> str | None:
    """Returns the output of git in this checkout; None if git fails or is missing."""
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def version_of(package: str) -> str:
    """Returns the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
