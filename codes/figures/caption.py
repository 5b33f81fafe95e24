"""Captions: the docstrings of functions that draw, with the settings of the numbers drawn."""

from collections import defaultdict
from collections.abc import Callable


def caption(draw: Callable, data: dict | None) -> str:
    """Return the docstring of `draw` as one paragraph.

    A field in it, such as `{size}`, becomes the setting of that name with which the numbers were
    measured; "…" where that is not known.

    Args:
        data: the numbers, as `read_npz` gives them; None if there are none.
    """
    settings = (data or {}).get("about", {}).get("settings", {})
    return " ".join(draw.__doc__.split()).format_map(defaultdict(lambda: "…", settings))
