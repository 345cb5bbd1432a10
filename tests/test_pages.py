"""Checks every page in Markdown: its Python runs, its commands are valid, and its links and paths exist."""

import dataclasses
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from experiments import command
from tests.pages import make_targets, python_of

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path
    for folder in ("", "docs/**/", "experiments/", "experiments/paper/")
    for path in sorted(ROOT.glob(f"{folder}*.md"))
}
TEXT = {name: path.read_text() for name, path in PAGES.items()}
RUN_ELSEWHERE = {
    "docs/start.md": "test_site.py",
    "docs/extending.md": "test_site.py",
    "docs/names.md": "test_site.py",
    "docs/optax.md": "test_optax.py",
}
"""Where more is asked of what a page's Python leaves; and docs/recipes, of which test_recipes.py has each."""
COMMANDS = ("sweep", "compare", "report", "reproduce", "benchmark")


def options_of(name):
    """Returns the class of a command's options."""
    main = f"experiments.{name}" + (".__main__" if name == "benchmark" else "")
    return getattr(importlib.import_module(main), name.capitalize())


def commands():
    """Yields (page, command, arguments) for each command that a page shows."""
    for page, text in TEXT.items():
        code = re.findall(r"`([^`]+)`|^    (.+)$", text, re.MULTILINE)
        for line in (" ".join("".join(each).split()) for each in code):
            python = re.match(r"(?:\.venv/bin/)?python -m experiments\.(\w+)\b *(.*)", line)
            made = re.match(r'make (sweep|reference) ARGS=(?:"([^"]*)"|(\S+))', line)
            if python:
                yield page, python[1], python[2]
            elif made:
                yield page, made[1].replace("reference", "reproduce"), made[2] or made[3]


def slug(heading):
    """Returns the anchor that GitHub and MyST give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_two_screens_and_has_two_commands():
    assert len(PAGES["README.md"].read_bytes()) < 6000
    assert re.findall(r"^    make (\w+)", TEXT["README.md"], re.MULTILINE) == ["sweep", "test"]


def test_no_python_is_left_out():
    for page, text in TEXT.items():
        if page == "docs/optax.md":
            continue  # it has examples in docstrings, which also run
        assert not re.search(r"^ *(>>>|```(py|python3|pycon|ipython|{code.*)$)", text, re.MULTILINE), page
    for page, test in RUN_ELSEWHERE.items():
        assert f'python_of(DOCS / "{PAGES[page].name}")' in (ROOT / "tests" / test).read_text()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page in ("docs/mathematics.md", "docs/weights.md")))
        for page, text in TEXT.items()
        if "```python" in text and page not in RUN_ELSEWHERE and not page.startswith("docs/recipes/")
    ],
)
def test_the_python_runs(page):
    names = python_of(PAGES[page])
    assert page != "README.md" or names["effective_units"](names["a"]) == pytest.approx(58.5, abs=0.5)


@pytest.mark.parametrize(("page", "name", "arguments"), [*commands()])
def test_commands_are_accepted(page, name, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(arguments)])
    try:
        command.parse(options_of(name), name)
    except SystemExit as stopped:
        assert "--help" in arguments and stopped.code == 0


def test_options_and_targets_exist():
    classes = [*map(options_of, COMMANDS), command.Machine]
    fields = {field.name for each in classes for field in dataclasses.fields(each)}
    options = {f"--{name.replace('_', '-')}" for name in fields} | {"--help"}
    targets = make_targets()
    for page, text in TEXT.items():
        if page != "CHANGELOG.md":  # which also names removed options
            assert set(re.findall(r"`(--[\w-]+)", text)) <= options, page
        assert set(re.findall(r"(?:`|^    )make (\w+)", text, re.MULTILINE)) <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    here = PAGES[page].parent
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", TEXT[page])
    links += re.findall(r"^\[\w+\]: (?!https?:)([^#\s]*)(?:#(\S*))?$", TEXT[page], re.MULTILINE)
    for target, anchor in links:
        path = here / target if target else PAGES[page]
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), f"{target}#{anchor}"
    for path in re.findall(r"`((?:decorr|docs|experiments|notebooks|tests)/[\w/.-]*)", TEXT[page]):
        assert (ROOT / path).exists(), path
