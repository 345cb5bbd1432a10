"""Helpers for tests of pages: they run the Python of pages, and import scripts that are in no package."""

import importlib.util
import re
from pathlib import Path


def python_of(page):
    """Runs the Python of a page from top to bottom, and returns the names that it defines."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(code, str(page), "exec"), names)
    return names


def make_targets():
    """Returns the targets of the Makefile."""
    makefile = Path(__file__).parent.parent / "Makefile"
    return set(re.findall(r"^(\w+):", makefile.read_text(), re.MULTILINE))


def script(path):
    """Imports a script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
