"""Pages are drawn without PNGs."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def drawn(no_png):
    """All of them are."""
