"""Tables as HTML for the page, and as cells for Typst; as Markdown: ground/tables.py."""

import re
from html import escape

from codes.results.words import minus
from VGG_BatchNorm.ground.tables import Code, Strong, Table


def cells(table: Table) -> list[list[str]]:
    """Return the rows for report.typ, the head first, with true minus signs."""
    return [[minus(cell) for cell in row] for row in (table.head, *table.rows)]


def html(table: Table) -> str:
    """Return the table as an element that scrolls where it is too wide; its note is the caption."""
    columns = "".join(f'<th scope="col">{_element(cell)}</th>' for cell in table.head)
    lines = ("".join(f"<td>{_element(cell)}</td>" for cell in row) for row in table.rows)
    return (f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.note)}">\n'
            f"<table><caption>{marked_up(table.note)}</caption>\n"
            f"<thead><tr>{columns}</tr></thead>\n<tbody>\n"
            + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</tbody></table></div>\n")


def marked_up(text: str) -> str:
    """Return text with `code` and **strong** words as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)


def _element(cell: str) -> str:
    if isinstance(cell, Code):
        return f"<code>{escape(cell)}</code>"
    return f"<strong>{escape(cell)}</strong>" if isinstance(cell, Strong) else marked_up(cell)
