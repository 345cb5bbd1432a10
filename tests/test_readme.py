"""The READMEs: short, their Python runs, their links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.pages import python_of

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/README.md")]
PAGES += [ROOT / "experiments" / "paper" / "README.md", ROOT / "docs" / "weights.md"]


def test_the_readme_is_two_screens():
    assert len((ROOT / "README.md").read_bytes()) < 7000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_runs(page):
    names = python_of(page)
    assert page.name != "README.md" or page.parent != ROOT or names["params"]["hidden"].shape == (64, 128)
