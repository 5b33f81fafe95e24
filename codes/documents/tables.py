"""Tables as cells for Typst, and marked text as HTML; tables as Markdown: ground/tables.py."""

import re
from html import escape

from codes.results.words import minus
from VGG_BatchNorm.ground.tables import Table


def cells(table: Table) -> list[list[str]]:
    """Return the rows for report.typ, the head first, unmarked and with true minus signs."""
    return [[minus(re.sub("[`*]", "", cell)) for cell in row] for row in (table.head, *table.rows)]


def marked_up(text: str) -> str:
    """Return text with `code` and **strong** words as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
