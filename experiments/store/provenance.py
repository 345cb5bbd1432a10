"""What results were made with: the code, the machine, the versions, the time."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")

NAMES = ("commit", "created", "machine", "versions")
"""What `current` tells, by name."""


def current() -> Mapping[str, str]:
    """Of this process, now."""
    return {
        "commit": _commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": json.dumps(
            {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
        ),
    }


def _commit() -> str:
    # The reference run writes beside the code, which it does not change.
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", ":/", ":(top,exclude)experiments/paper/reference"
    )
    return (_git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    """What git says of this code; nothing if it is not in a checkout."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
