"""Drawings of a network's features, and of how alike nets are, from `codes.insight.features`."""

import numpy as np

from codes.figures.readable import place_labels
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import plt

COLOURS = ("#56B4E9", "#D55E00", "#0072B2", "#E69F00", "#8C6D00",  # in the order of CLASSES;
           "#CC79A7", "#009E73", "#000000", "#6A3D9A", "#999999")  # of one marker: in lightness too
VEHICLES = ("airplane", "automobile", "ship", "truck")
SHOWN = 200  # points of a class
CALLED = {"batch_norm": "batch norm", "plain": "no norm"}


def draw_classes(axis, points: np.ndarray, labels: np.ndarray) -> list[tuple]:
    """Draw points (N, 2) by class, and a larger mark at its median; return what `place_labels`
    needs to name these."""
    medians = []
    for label in np.unique(labels):
        mine, color = points[labels == label], COLOURS[label]
        look = dict(marker="^" if CLASSES[label] in VEHICLES else "o", color=color, linestyle="")
        axis.plot(*mine[:SHOWN].T, markersize=4, alpha=0.5, markeredgewidth=0, **look)
        x, y = np.median(mine, axis=0)
        axis.plot(x, y, markersize=9, markeredgecolor="white", zorder=3, **look)
        medians.append((CLASSES[label], "black", x, [y]))
    return medians


def draw_features(plane: dict, neighbours: dict | None) -> plt.Figure:
    """Test images as the last, linear layer sees them; dots are animals, triangles vehicles, at
    most 200 of a class, and a large mark at the median of all of them, beside which its name
    stands. Left: along the two directions in which the features vary most; the shares on the axes
    say how much of the variance that is, and classes that overlap here may well be apart in the
    directions left out. Right: t-SNE keeps near images near; what its clusters hold means
    something, but their sizes, the distances between them, and the axes do not."""
    panels = 1 + bool(neighbours)
    figure, axes = plt.subplots(1, panels, figsize=(4.9 * panels, 4.6), squeeze=False)
    names = [draw_classes(axes[0, 0], plane["points"], plane["labels"])]
    first, second = (f"{100 * share:.0f} % of the variance" for share in plane["shares"])
    axes[0, 0].set(xlabel=f"first principal component ({first})",
                   ylabel=f"second principal component ({second})",
                   title=f"principal components, ≤ {SHOWN} images a class")
    if neighbours:
        names.append(draw_classes(axes[0, 1], neighbours["points"], neighbours["labels"]))
        axes[0, 1].set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[],
                       title=f"t-SNE of {len(neighbours['points']):,} images, ≤ {SHOWN} a class")
    figure.canvas.draw()  # settles the layout, in which names are placed
    for axis, medians in zip(axes[0], names, strict=True):
        place_labels(axis, medians, bbox=dict(boxstyle="round,pad=0.1", facecolor="white",
                                              edgecolor="none", alpha=0.8))
    return figure


def draw_similarity(data: dict) -> plt.Figure:
    """Which blocks of two nets hold the same images to be alike: linear CKA from 0 (unrelated) to 1
    (the same but for a rotation and a factor), between all convolution blocks of small nets,
    trained alike but for the seed, or for batch norm (at a learning rate of {nets[0][lr]}, without
    it {nets[2][lr]}). A bright diagonal means that the nets find the same stages in the same order.
    Block 1 is a fixed whitening: there, nets differ by the bias alone, which starts alike for a
    seed. Beside a net's name is how much of the held-out images it gets right; where
    these shares differ, part of a panel's difference is that. Filters start as the
    identity, and nets at low rates stay nearer to it. CKA is dominated by the few directions of
    large variance, is above 0 even for unrelated features where these have many dimensions, says
    nothing of how well a net classifies, and is one pair of nets a panel here."""
    settings = data["about"]["settings"]
    first, pairs = settings["nets"][0], settings["pairs"]
    figure, axes = plt.subplots(1, len(pairs), figsize=(10.4, 3.75))
    blocks = range(data["cka"].shape[1])
    for axis, pair, matrix, right in zip(axes, pairs, data["cka"], data["accuracy"], strict=True):
        image = axis.imshow(matrix, vmin=0, vmax=1, cmap="cividis", origin="lower")
        for (row, column), value in np.ndenumerate(matrix):
            axis.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center",
                      color="white" if value < 0.5 else "black")
        down, across = (f"{CALLED[name]}, seed {seed} ({100 * share:.0f} % right)"
                        for (name, seed), share in zip(pair, right, strict=True))
        one, other = (CALLED[name] for name, _ in pair)
        axis.set(xlabel=across, ylabel=down,
                 title=f"two seeds, {one}" if one == other else f"{one} beside {other}")
        axis.set_xticks(blocks, [f"{block + 1}" for block in blocks])
        axis.set_yticks(blocks, [f"{block + 1}" for block in blocks])
        axis.grid(visible=False)
    figure.colorbar(image, ax=axes, label="linear CKA", pad=0.01)
    figure.suptitle(f"blocks of CifarNet {', '.join(map(str, first['widths']))}, "
                    f"{first['epochs']} epochs; {settings['images']:,} test images", fontsize=11)
    return figure
