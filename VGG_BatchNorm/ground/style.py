"""One look for all figures: sizes, fonts and a colour-blind safe palette (Okabe & Ito 2008)."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.files import atomic_write

TRAIN, VALIDATION, TEST = "#0072B2", "#E69F00", "#009E73"  # the same thing, the same colour
PLAIN, BATCH_NORM = "#D55E00", "#0072B2"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#8C6D00")
_, _, GREEN, AMBER, SKY, _, _, BROWN = PALETTE
TEAL, INDIGO = "#44AA99", "#332288"  # of Paul Tol's muted scheme, for more nets than PALETTE has

plt.rcdefaults()  # whatever a matplotlibrc says
plt.rcParams.update({
    "figure.dpi": 100, "savefig.dpi": 200, "font.size": 11, "axes.titlesize": 12,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.3, "lines.linewidth": 1.8, "legend.frameon": False,
    "figure.constrained_layout.use": True,
})


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Write a PNG in one piece, close the figure, and say where the picture is."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    plt.close(figure)
    print(f"picture    {path}", flush=True)


def apart(values: Sequence[float], gap: float) -> np.ndarray:
    """Return places for labels at `values`, in their order: each `gap` or more above the next lower
    one, and none below its value."""
    order, places = np.argsort(values, kind="stable"), np.array(values, float)
    for low, high in zip(order, order[1:], strict=False):
        places[high] = max(places[high], places[low] + gap)
    return places


def contact_sheet(pictures: np.ndarray, columns: int, factor: int = 1,
                  border: int = 2) -> np.ndarray:
    """Return (N, h, w, 3) pictures, uint8 or in [0, 1], as one, row by row, with white between.

    Args:
        columns: pictures in a row; the last one is filled up white.
        factor: by which each picture is enlarged.
        border: pixels right of each picture and below it."""
    white = 255 if pictures.dtype == np.uint8 else 1
    pictures = pictures.repeat(factor, 1).repeat(factor, 2)
    ends = (0, -len(pictures) % columns), (0, border), (0, border), (0, 0)
    cells = np.pad(pictures, ends, constant_values=white)
    _, height, width, _ = cells.shape
    sheet = cells.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
    return sheet.reshape(-1, columns * width, 3)


def draw_samples(images: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Write a grid of the first ten images of each class, a row a class. `images`, `labels`: uint8
    (N, 3, 32, 32) and (N,)."""
    figure, axes = plt.subplots(10, 10, figsize=(3.9, 3.2))
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    for label, row in enumerate(axes):
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, images[labels == label], strict=False):
            axis.imshow(image.transpose(1, 2, 0))
        row[0].text(-6, 16, CLASSES[label], ha="right", va="center")
    save_figure(figure, path)
