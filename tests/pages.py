"""What tests of pages share: their Python is run, their scripts are imported, which are in no package."""

import importlib.util
import re
from pathlib import Path


def python_of(page):
    """The names that a page's Python leaves, run from top to bottom."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(code, str(page), "exec"), names)
    return names


def make_targets():
    """What the Makefile can be asked for."""
    makefile = Path(__file__).parent.parent / "Makefile"
    return set(re.findall(r"^(\w+):", makefile.read_text(), re.MULTILINE))


def script(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
