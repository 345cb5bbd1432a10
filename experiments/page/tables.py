"""Tables of a page, in HTML and in Markdown."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A page's table."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def markdown(*tables: Table) -> str:
    """Returns tables in Markdown, one below the other. Tables without rows are left out."""
    return "\n".join(_markdown(table) for table in tables if table.rows)


def _markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
