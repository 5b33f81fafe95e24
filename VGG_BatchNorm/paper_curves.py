"""The paper's own curves, read off its figures 1, 3 and 4, to lie beside ours.

    steps, values = curve(1, "accuracy", split="train", net="bn", lr="0.1")

Not the authors' raw data: reports/results/bn/paper/README.md says how they came about."""

from functools import cache

import numpy as np

from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv

FOLDER = RESULTS_DIR / "bn" / "paper"
NETS = {"none": "std", "batch": "bn"}  # our names and the paper's


@cache
def _figure(number: int) -> list[dict]:
    numbers = dict.fromkeys(("step", "accuracy", "value", "min", "max_or_value"), float)
    return read_csv(FOLDER / f"figure_{number}.csv", numbers)


def curve(number: int, column: str, **wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of one curve: the rows of figure `number` with cells as wanted."""
    rows = [row for row in _figure(number)
            if all(row[name] == value for name, value in wanted.items())]
    return tuple(np.array([row[name] for row in rows], float) for name in ("step", column))


def band_width(panel: str, net: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, and the upper less the lower edge of a band of figure 4."""
    steps, high = curve(4, "max_or_value", panel=panel, net=net)
    return steps, high - curve(4, "min", panel=panel, net=net)[1]


def median(steps: np.ndarray, values: np.ndarray, first: int = 200, last: int = 1500) -> float:
    """Return the median of a curve over a span of steps."""
    return float(np.nanmedian(values[(steps >= first) & (steps <= last)]))
