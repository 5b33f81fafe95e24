"""Captions: the docstrings of functions that draw, with the settings of the numbers drawn."""

from collections.abc import Callable


class Unknown(dict):
    """Words of a caption, in which what is not there is written "…", whatever is asked of it."""

    def __missing__(self, _):
        return Unknown()

    def __format__(self, _) -> str:
        return "…"


def caption(draw: Callable, settings: dict) -> str:
    """Return the docstring of `draw` as one paragraph, in which a second one is marked as finding.

    A field in it, such as `{size}` or `{nets[vgg][width]}`, becomes that of the settings; "…" where
    it is not known."""
    text = draw.__doc__.replace("\n\n", " **Finding:** ")
    return " ".join(text.format_map(Unknown(settings)).split())
