"""What tests of pages share: their Python is run, and their scripts are imported, which are in no package."""

import importlib.util
import re


def python_of(page):
    """The names that a page's Python leaves, run from top to bottom."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(code, str(page), "exec"), names)
    return names


def script(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
