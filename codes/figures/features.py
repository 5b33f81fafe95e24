"""Drawings of a network's features, and of how alike nets are, from `codes.insight.features`."""

import numpy as np

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import plt

COLOURS = ("#56B4E9", "#D55E00", "#0072B2", "#E69F00", "#8C6D00",  # in the order of CLASSES;
           "#CC79A7", "#009E73", "#000000", "#6A3D9A", "#999999")  # of one marker: in lightness too
VEHICLES = ("airplane", "automobile", "ship", "truck")
CALLED = {"batch_norm": "batch norm", "plain": "no norm"}


def boxes_apart(centres: np.ndarray, width: float, height: float) -> np.ndarray:
    """Return the centres (K, 2), some moved up, so that labels of this size do not overlap."""
    places, order = centres.copy(), centres[:, 1].argsort()
    for n, i in enumerate(order):
        while (abs(places[order[:n]] - places[i]) < (width, height)).all(1).any():
            places[i, 1] += height / 8
    return places


def draw_classes(axis, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw points (N, 2) by class, and the classes' names at their medians."""
    present = np.unique(labels)
    for label in present:
        axis.plot(*points[labels == label].T, "^" if CLASSES[label] in VEHICLES else "o",
                  markersize=2.5, color=COLOURS[label], alpha=0.5, markeredgewidth=0)
    centres = np.stack([np.median(points[labels == label], axis=0) for label in present])
    width, height = np.ptp(points, axis=0) * (0.2, 0.06)
    places = boxes_apart(centres, width, height)
    for label, centre, place in zip(present, centres, places, strict=True):
        axis.plot(*np.stack([centre, place]).T, color="black", linewidth=0.8)
        axis.text(*place, CLASSES[label], ha="center", va="center", fontsize=10,
                  bbox=dict(boxstyle="round,pad=0.2", facecolor="white", edgecolor=COLOURS[label],
                            linewidth=2, alpha=0.85))


def draw_features(plane: dict, neighbours: dict | None) -> plt.Figure:
    """Test images as the last, linear layer sees them; dots are animals, triangles vehicles, names
    stand at the median of their class (or on a line up from it). Left: along the two directions in
    which the features vary most; the shares on the axes say how much of the variance that is, and
    classes that overlap here may well be apart in the directions left out. Right: t-SNE keeps near
    images near; what its clusters hold means something, but their sizes, the distances between
    them, and the axes do not."""
    panels = 1 + bool(neighbours)
    figure, axes = plt.subplots(1, panels, figsize=(5.8 * panels, 5.4), squeeze=False)
    draw_classes(axes[0, 0], plane["points"], plane["labels"])
    first, second = (f"{100 * share:.0f} % of the variance" for share in plane["shares"])
    axes[0, 0].set(xlabel=f"first principal component ({first})",
                   ylabel=f"second principal component ({second})",
                   title=f"principal components, {len(plane['points']):,} test images")
    if neighbours:
        draw_classes(axes[0, 1], neighbours["points"], neighbours["labels"])
        axes[0, 1].set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[],
                       title=f"t-SNE, {len(neighbours['points']):,} of them")
    return figure


def draw_similarity(data: dict) -> plt.Figure:
    """Which blocks of two nets hold the same images to be alike: linear CKA from 0 (unrelated) to 1
    (the same but for a rotation and a factor), between all convolution blocks of small nets,
    trained alike but for the seed, or for batch norm (at a learning rate of {nets[0][lr]}, without
    it {nets[2][lr]}). A bright diagonal means that the nets find the same stages in the same order.
    Block 1 is a fixed whitening: there, nets differ by the bias alone, which starts alike for a
    seed. A net's validation accuracy is beside its name; that of the nets without norm is lower,
    and part of the last panel's difference is that. Filters start as the identity, and nets at low
    rates stay nearer to it. CKA is dominated by the few directions of large variance, is above 0
    even for unrelated features where these have many dimensions, says nothing of how well a net
    classifies, and is one pair of nets a panel here."""
    settings = data["about"]["settings"]
    first, pairs = settings["nets"][0], settings["pairs"]
    figure, axes = plt.subplots(1, len(pairs), figsize=(11.5, 4.2))
    blocks = range(data["cka"].shape[1])
    for axis, pair, matrix, right in zip(axes, pairs, data["cka"], data["accuracy"], strict=True):
        picture = axis.imshow(matrix, vmin=0, vmax=1, cmap="cividis", origin="lower")
        down, across = (f"block of: {CALLED[name]}, seed {seed} ({100 * share:.0f} %)"
                        for (name, seed), share in zip(pair, right, strict=True))
        axis.set_xlabel(across, fontsize=10)
        axis.set_ylabel(down, fontsize=10)
        axis.set_xticks(blocks, [f"{block + 1}" for block in blocks])
        axis.set_yticks(blocks, [f"{block + 1}" for block in blocks])
        axis.grid(visible=False)
    figure.colorbar(picture, ax=list(axes), label="linear CKA", shrink=0.8)
    figure.suptitle(f"CifarNet {', '.join(map(str, first['widths']))}, {first['epochs']} epochs; "
                    f"{settings['images']:,} test images", fontsize=11)
    return figure
