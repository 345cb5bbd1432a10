"""The documentation's pages: their code runs as it stands."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def executed(page):
    names = {}
    text = (DOCS / f"{page}.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, f"{page}.md", "exec"), names)
    return names


# -- pages --------------------------------------------------------------------------------------------------


def test_the_formulas_of_the_mathematics_are_those_of_the_code():
    """The page asserts them itself."""
    executed("mathematics")
