"""The committed comparison has the plan's settings, and drawing its page again changes nothing."""

import json
from dataclasses import asdict

import pytest

from experiments.comparison import page, results
from experiments.comparison.planned import PLANNED
from experiments.disk import netcdf
from tests.experiments.test_reproduce import ROOT, assert_same_pictures


def planned(setting):
    """Returns the plan's methods for a stored setting, and checks the setting's recipe and budget."""
    same = ("pool", "title")
    parts = [
        part
        for of_part in PLANNED.values()
        for part in of_part()
        if [part.pool, part.title] == [setting[name] for name in same] and setting["rows"] <= part.rows
    ]
    wanted = min(part.rows for part in parts)
    of_rows = [part for part in parts if part.rows == wanted]
    for part in of_rows:
        assert setting["plain"] == json.loads(json.dumps(asdict(part.plain)))
        assert setting["budget"] == asdict(part.budget)
    return {method for part in of_rows for method in part.methods}


@pytest.mark.slow
def test_the_committed_networks_are_those_of_the_plan():
    settings = results.stored()
    assert settings and {each.name for each in settings} == {
        path.stem for path in results.REFERENCE.glob("*.nc")
    }
    for stored in settings:
        assert {row["method"] for row in stored.reported} <= planned(stored.setting)
        with netcdf.read(results.REFERENCE / f"{stored.name}.nc") as file:
            assert "dirty" not in file.attrs["commit"]


@pytest.mark.golden
@pytest.mark.slow
def test_the_committed_page_is_that_of_the_committed_networks(tmp_path, no_png):
    page.write(out=tmp_path)
    said = (ROOT / "experiments" / "README.md").read_text()
    for name in ("answers.md", "advice.md", "ladder.md", "rates.md", "statements.md", "without-labels.md"):
        drawn = (tmp_path / name).read_text()
        assert drawn == (results.REFERENCE / name).read_text()
        assert drawn in said
    assert_same_pictures(tmp_path, results.REFERENCE)
