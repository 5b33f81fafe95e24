"""A table of results: rows of text, made once, and written as a page or the report needs them."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A head and rows of as many cells, in which `code` and **strong** words are marked. `note`:
    what is said of the whole: a caption, or a line below."""

    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """Return the table in Markdown, its note below."""
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (table.head, *table.rows)]
    lines.insert(1, "|" + "---|" * len(table.head))
    return "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")
