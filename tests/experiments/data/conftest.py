"""Folders of a set and of its cache, for each test its own."""

import pytest


@pytest.fixture
def folders(tmp_path):
    return {"data_dir": tmp_path / "tfds", "cache_dir": tmp_path / "cache"}
