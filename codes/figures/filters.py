"""Drawings of first filters, also before and after training, and of what they make of an image."""

import numpy as np

from codes.figures.readable import layer_name
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import contact_sheet, plt

COLUMNS, SHEET_COLUMNS = 12, 8
TITLES = {"vgg": "VGG-A", "vgg_batch_norm": "VGG-A with batch norm",
          "trained_stem": "CifarNet without whitening"}


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


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return how far each filter (K, 3, h, w) has moved, over its length before."""
    change, length = (np.linalg.norm(x.reshape(len(x), -1), axis=1)
                      for x in (after - before, before))
    return change / length


def draw_learned_filters(data: dict) -> plt.Figure:
    """The 3×3 filters of the first convolution of three small nets, before training (left) and
    after it (right): the same filter in the same place, each in its own range, grey is 0, sorted by
    their contrast at first. Named are the accuracy on the validation images, and by which share of
    its length the median filter has moved. VGG-A (at {nets[vgg][width]} of its width,
    {nets[vgg][epochs]} epochs of Adam) with and without batch norm starts from the same noise.
    Of the filters of CifarNet ({nets[trained_stem][epochs]} epochs of Muon, a share of
    {nets[trained_stem][small_share]} of it on small images) three start as the identity of a
    colour. The optimizers differ, and so do the nets: which of the two makes filters move cannot
    be told from here. One seed."""
    names = [name for name in TITLES if name in data]
    heights = [-(-data[name].shape[1] // SHEET_COLUMNS) for name in names]
    figure, axes = plt.subplots(len(names), 2, squeeze=False, height_ratios=heights,
                                figsize=(6.9, 0.43 * sum(heights) + 0.32 * len(names)))
    rights = dict(zip(data["about"]["settings"]["nets"], data["accuracy"], strict=True))
    for row, name in zip(axes, names, strict=True):
        before, after = data[name]
        order = before.std((1, 2, 3)).argsort()[::-1]
        median = np.median(moved(before, after))
        titles = (f"{TITLES[name]}, before",
                  f"after: {100 * rights[name]:.0f} % right, moved by {100 * median:.0f} %")
        for axis, filters, title in zip(row, (before, after), titles, strict=True):
            axis.imshow(contact_sheet(as_pictures(filters[order]), SHEET_COLUMNS, factor=8),
                        interpolation="nearest")
            axis.set_title(title, fontsize=11, loc="left")
            axis.axis("off")
    return figure
