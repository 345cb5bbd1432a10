"""Draws pages without PNGs."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def drawn(no_png):
    """Applies `no_png` to all tests in this folder."""
