"""Checks what scripts of docs/ make: the tables of weights.md have the measured numbers, its picture has no
date, and the animation shows what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decorr import correlation_matrix
from tests.pages import script

DOCS = Path(__file__).parent.parent / "docs"
NUMBER = re.compile(r"(?<![\w=])\d+\.?\d*(?:e[+-]\d+)?")


@pytest.fixture(scope="module")
def scaling():
    return script(DOCS / "scaling.py")


def tables():
    """Returns the tables of weights.md, each as rows of cells."""
    page = (DOCS / "weights.md").read_text()
    found = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    rows = [[row.strip("| ").split(" | ") for row in each.splitlines() if "---" not in row] for each in found]
    return [[[cell.strip() for cell in row] for row in each] for each in rows]


def compare(page, measured):
    assert [len(row) for row in page] == [len([cell for cell in row if cell]) for row in measured]
    for written, row in zip(page, measured, strict=True):
        for cell, wanted in zip(written, (cell for cell in row if cell), strict=True):
            assert NUMBER.sub("", cell) == NUMBER.sub("", wanted)
            found, right = ([float(each) for each in NUMBER.findall(text)] for text in (cell, wanted))
            np.testing.assert_allclose(found, right, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("table", "name"), [(0, "scaling"), (1, "ratios")])
def test_a_table_is_what_is_measured(scaling, table, name):
    compare(tables()[table], getattr(scaling, name)())


@pytest.mark.parametrize("correlation", [0.0, 0.25])
def test_normalisations_are_sums_over_pairs(scaling, correlation):
    """Computes the sums from correlations of the same units."""
    m, d = 50, 8
    sums = []
    for seed in range(scaling.SEEDS):
        rng = np.random.default_rng(seed)
        own, cause = rng.normal(size=(m, d)), rng.normal(size=(m, 1))
        a = np.sqrt(correlation) * cause + np.sqrt(1 - correlation) * own
        rho = np.asarray(correlation_matrix(a.astype(np.float32)))
        sums.append((rho**2)[~np.eye(d, dtype=bool)].sum())
    total = np.median(sums)
    wanted = [(d + total) / (2 * d), total / (d * (d - 1)), total]
    found = [scaling.normalised(name, m, d, correlation)[0] for name in scaling.NORMALISATIONS]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_the_picture_has_no_date():
    assert "<dc:date>" not in (DOCS / "scaling.svg").read_text()


@pytest.mark.slow
def test_the_animation_shows_networks_of_one_start_that_the_penalty_decorrelates(tmp_path, monkeypatch):
    animation = script(DOCS / "animation.py")
    moments = list(animation.watch(2))
    monkeypatch.setattr(animation, "watch", lambda epochs: moments)
    first, last = (moment.effective_units for moment in (moments[0], moments[-1]))
    np.testing.assert_allclose(first, first[0], rtol=1e-5)
    assert (np.diff(last) > 0).all()  # with a larger weight, there are more effective units
    animation.draw(tmp_path / "animation.gif", epochs=2)
    committed = DOCS / "animation.gif"
    with Image.open(tmp_path / "animation.gif") as drawn, Image.open(committed) as shown:
        assert (drawn.n_frames, drawn.size) == (3, shown.size)
        assert shown.n_frames == animation.EPOCHS + 1
    assert committed.stat().st_size < 1e6
    assert "(animation.gif)" in (DOCS / "start.md").read_text()
