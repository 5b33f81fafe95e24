"""Drawings of a network's first filters and feature maps, from `codes.insight.filters.measure`."""

import numpy as np

from codes.figures.readable import layer_name
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import plt

COLUMNS = 12


def as_pictures(filters: np.ndarray) -> np.ndarray:
    """Return (K, 3, h, w) filters as pictures (K, h, w, 3), each of full range; 0 is grey."""
    largest = abs(filters).max((1, 2, 3), keepdims=True).clip(1e-12)
    return (filters / largest / 2 + 0.5).transpose(0, 2, 3, 1)


def draw_rows(figure, pictures: np.ndarray, title: str) -> None:
    """Draw small pictures, COLUMNS a row, in a subfigure; (K, h, w) are shown in grey."""
    rows = -(-len(pictures) // COLUMNS)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, picture in zip(axes, pictures, strict=False):
        axis.imshow(picture, cmap="gray")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")


def draw_filters(data: dict) -> plt.Figure:
    """The filters of the first convolution, each in its own range, grey is 0, sorted by contrast,
    and what they make of one test image. Where that layer is a fixed whitening, feature maps of the
    first trained convolution follow; its filters have more than three input channels and cannot be
    shown as colours. What a filter looks like does not say what the layers behind it make of it."""
    blocks = [(data["image"][None], f"test image: {CLASSES[data['label']]}"),
              (as_pictures(data["filters"]), "filters of the first layer, grey is 0"),
              (data["maps_0"], "its feature maps, dark is low, bright is high")]
    blocks += [(data["maps_1"], f"the {len(data['maps_1'])} feature maps of most contrast in "
                f"{layer_name(name)}") for name in data["layers"][1:]]
    rows = [-(-len(pictures) // COLUMNS) for pictures, _ in blocks]
    figure = plt.figure(figsize=(6.2, 0.54 * sum(rows) + 0.3 * len(rows)))
    parts = figure.subfigures(len(blocks), 1, height_ratios=[count + 0.5 for count in rows])
    for part, (pictures, title) in zip(parts, blocks, strict=True):
        draw_rows(part, pictures, title)
    return figure
