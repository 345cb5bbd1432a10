"""Docstrings as reStructuredText: sections as fields, Markdown's backticks, formulas as mathematics.

Sphinx's own reader of Google style does not know `Numerics:` and `Call:`, nor sections whose text begins on
the header's line, like `Source:`. It also takes the stars, bars and underscores of a formula for markup.
"""

import re
from collections.abc import Mapping

import decorr
from decorr import diagnostics, penalties

PUBLIC = {
    name: f"{module.__name__}.{name}"
    for module in (penalties, diagnostics, decorr)
    for name in module.__all__
}
"""Maps each public name to the address of its documentation. If `decorr.__all__` has the name, the address is
in `decorr` itself."""
SECTIONS = ("Args", "Attributes", "Call", "Returns", "Raises", "Numerics", "Source")
OF_NAMES = ("Args", "Attributes", "Call", "Raises")
"""Sections whose entries begin with a name, or with several names."""

_HEADER = re.compile(rf"({'|'.join(SECTIONS)}):\s*(.*)")
_NAMES = re.compile(r"(\w+(?:, \w+)*): (.*)")


def as_rst(lines: list[str], public: Mapping[str, str], formulas: Mapping[str, str]) -> list[str]:
    """Converts a docstring's lines to reStructuredText.

    Args:
      lines: the docstring's lines, without indentation.
      public: the address of each public name. Public names in backticks become links.
      formulas: maps each formula, as docstrings write it, to its TeX.
    """
    rst: list[str] = []
    for section, body in _sections(_with_mathematics(lines, formulas)):
        if section is None:
            rst += _blocks(body, public)
            continue
        rst += [f":{section}:"]
        if section in OF_NAMES:
            entries = [f"- {_bold(names)}: {_inline(text, public)}" for names, text in _entries(body)]
            rst += [f"  {line}" for line in entries]
        else:
            rst += [f"  {line}".rstrip() for line in _blocks(body, public)]
    return [*rst, ""]


def _with_mathematics(lines: list[str], formulas: Mapping[str, str]) -> list[str]:
    """Replaces each formula by `$TeX` in backticks. A formula may span several lines."""
    longest_first = sorted(formulas, key=len, reverse=True)  # a short formula may be part of a long one
    pattern = "|".join(r"\s+".join(map(re.escape, text.split())) for text in longest_first)

    def tex(formula: re.Match) -> str:
        return f"`${formulas[' '.join(formula[0].split())]}`"

    return re.sub(pattern, tex, "\n".join(lines)).split("\n") if formulas else lines


def _sections(lines: list[str]) -> list[tuple[str | None, list[str]]]:
    """Returns each section's name and lines, unindented. Lines before any section have the name None."""
    found: list[tuple[str | None, list[str]]] = [(None, [])]
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header:
            found.append((header[1], [header[2]] if header[2] else []))
        elif found[-1][0] is None:
            found[-1][1].append(line)
        else:
            found[-1][1].append(line.removeprefix("  "))
    return found


def _entries(body: list[str]) -> list[tuple[str, str]]:
    """Returns the entries of a section in `OF_NAMES`, as pairs of names and text."""
    found: list[tuple[str, str]] = []
    for line in filter(None, body):
        names = _NAMES.fullmatch(line)
        if names:
            found.append((names[1], names[2]))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def _blocks(body: list[str], public: Mapping[str, str]) -> list[str]:
    """Converts paragraphs and lists. Indented formulas and code stay as they are."""
    rst: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(body).strip("\n")):
        lines = block.split("\n")
        if all(line.startswith("  ") for line in lines):
            rst += ["::", "", *lines, ""]
        elif lines[0].startswith("- "):
            items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
            rst += [*(f"- {_inline(' '.join(item.split()), public)}" for item in items), ""]
        else:
            rst += [_inline(" ".join(line.strip() for line in lines), public), ""]
    return rst


def _bold(names: str) -> str:
    return ", ".join(f"**{name}**" for name in names.split(", "))


def _inline(text: str, public: Mapping[str, str]) -> str:
    """Converts one line: code and mathematics in backticks, and links for the library's names and arXiv."""
    rst = ""
    for i, part in enumerate(text.split("`")):
        if i % 2 and part.startswith("$"):
            rst += f":math:`{part[1:]}`"
        elif i % 2:
            name = part.removeprefix("decorr.").removeprefix("diagnostics.")
            rst += f":py:obj:`{name} <{public[name]}>`" if name in public else f"``{part}``"
        else:
            plain = re.sub(r"([\\*|_])", r"\\\1", part)
            rst += re.sub(r"arXiv:(\d{4}\.\d{5})", r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", plain)
    return rst
