"""Lets scripts that lie in this folder import from it by its name, as those outside do."""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]
