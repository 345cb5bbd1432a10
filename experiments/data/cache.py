"""Where what can be made again is kept."""

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/decorr, else ~/.cache/decorr."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decorr"
