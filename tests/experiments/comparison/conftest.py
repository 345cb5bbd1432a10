"""Networks that compile fast, for the tests that train."""

import dataclasses

import pytest

from experiments.comparison.methods import Setting
from experiments.grid.networks import Recipe

SMALL = dataclasses.replace(Recipe().architecture("tiny"), widths=(6,))


@pytest.fixture
def small_networks(monkeypatch):
    """Of one layer of six units, whatever the setting."""
    monkeypatch.setattr(Setting, "widths", SMALL.widths)
    monkeypatch.setattr(
        Setting,
        "architecture",
        lambda _, method: dataclasses.replace(SMALL, normalisation=method.normalisation),
    )
    return SMALL
