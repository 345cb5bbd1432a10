"""Folders for a set and for its cache. Each test has its own."""

import pytest


@pytest.fixture
def folders(tmp_path):
    return {"data_dir": tmp_path / "tfds", "cache_dir": tmp_path / "cache"}
