"""Numbers, lists and tables as the pages and the report write them."""

import math
import re
import statistics
from html import escape

from VGG_BatchNorm.ground.tables import Table


def mean_and_deviation(values: list[float], digits: int) -> str:
    """Return "mean ± standard deviation"; of one or two values, which say little of how far others
    would lie, the mean alone."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 2 else mean


def with_spread(value: float | None, spread: float | None, sign: str = "") -> str:
    """Return "−1.20 ± 0.30", or what there is of it."""
    if value is None:
        return "–"
    digits = minus(f"{value:{sign}.2f}")
    return digits if spread is None or math.isnan(spread) else f"{digits} ± {spread:.2f}"


def percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def minus(text: str) -> str:
    """Return the text with a sign as wide as a plus before negative numbers."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def listed(names: list[str]) -> str:
    """Return "a", "a and b", "a, b and c" (semicolons if one has a comma), or "none of them"."""
    comma = "; " if any("," in name for name in names) else ", "
    return " and ".join(filter(None, [comma.join(names[:-1]), *names[-1:]])) or "none of them"


def cells(table: Table) -> list[list[str]]:
    """Return the rows for report.typ, the head first, unmarked and with true minus signs."""
    return [[minus(re.sub("[`*]", "", cell)) for cell in row] for row in (table.head, *table.rows)]


def marked_up(text: str) -> str:
    """Return text with `code` and **strong** words as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
