"""Drawings of what a network gets wrong, from `codes.insight.mistakes.measure`."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MultipleLocator

from codes.figures.readable import place_labels
from codes.results.measurements import VIEWS
from codes.results.words import minus
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.statistics import expected_calibration_error
from VGG_BatchNorm.ground.style import PALETTE, TEST, plt

FEW = 50  # images; the share of right ones among fewer is not drawn


def draw_confusion(data: dict) -> plt.Figure:
    """What is taken for what: test images by their class (row) and what the net says (column), one
    view. Colour is for the mistakes alone, on a square-root scale; right answers are the numbers on
    the grey diagonal, and an empty field is a zero. A count is known to about its square root: a
    few images are mostly chance."""
    matrix = data["confusion"]
    mistakes = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    figure, axis = plt.subplots(figsize=(5, 4.5))
    colours = plt.get_cmap("Blues").with_extremes(bad="#d9d9d9")
    picture = axis.imshow(mistakes, cmap=colours, aspect="auto",
                          norm=PowerNorm(0.5, vmin=0, vmax=max(1, np.nanmax(mistakes))))
    for row, column in zip(*matrix.nonzero(), strict=True):
        dark = row != column and picture.norm(mistakes[row, column]) > 0.6
        axis.text(column, row, matrix[row, column], ha="center", va="center",
                  color="white" if dark else "black")
    axis.set_xticks(range(len(CLASSES)), CLASSES, rotation=45, ha="right")
    axis.set_yticks(range(len(CLASSES)), CLASSES)
    axis.set(xlabel="what the net says", ylabel="class",
             title=f"{matrix.sum() - matrix.trace():,} mistakes in {matrix.sum():,} test images")
    axis.grid(visible=False)
    return figure


def draw_mistakes(data: dict) -> plt.Figure:
    """The mistakes that the net is surest of, in order: the test set's label, what the net says,
    and its probability, one view. Some may be no mistakes: CIFAR-10's test set has wrong labels
    (Northcutt et al. 2021, arXiv 2103.14749). They are not the typical mistakes, of which the net
    is less sure."""
    figure, axes = plt.subplots(4, -(-data["about"]["settings"]["mistakes"] // 4), figsize=(10, 8))
    for axis in axes.flat:
        axis.axis("off")
    columns = (data[name] for name in ("images", "labels", "said", "confidence"))
    for axis, image, label, said, sure in zip(axes.flat, *columns, strict=False):
        axis.imshow(image)
        title = f"label: {CLASSES[label]}\nnet: {CLASSES[said]}, {100 * sure:.0f} %"
        axis.set_title(title, fontsize=9)
    return figure


def draw_calibration(data: dict) -> plt.Figure:
    """How sure the net is against how often it is right. Above: the test images in {bins} equal
    bins of confidence (the probability of what it says); bars and dots are the share that is right,
    with one standard error, each dot at the mean confidence of its bin, where this has 50
    images or more. On the dashed line a net
    would be right as often as it claims; above it, it is too modest, below it too sure. Below: how
    many images are in each bin. ECE, the expected calibration error (Guo et al. 2017), is the mean
    distance from the dashed line, weighted by images. A net that was trained with label smoothing
    is modest on purpose."""
    figure, axes = plt.subplots(2, 2, figsize=(7.1, 4.5), sharex=True, sharey="row",
                                height_ratios=(3, 1))
    bins = data["about"]["settings"]["bins"]
    edges, width = 100 * np.arange(bins) / bins, 100 / bins
    for (upper, lower), name, table in zip(axes.T, VIEWS, data["reliability"], strict=True):
        filled = table[0] >= FEW
        images, confidence, accuracy = table[:, filled]
        upper.bar(edges[filled], 100 * accuracy, width, align="edge", color=TEST, alpha=0.35,
                  edgecolor="white")
        upper.errorbar(100 * confidence, 100 * accuracy,
                       100 * np.sqrt(accuracy * (1 - accuracy) / images), fmt="o", color=TEST,
                       markersize=5, capsize=2, label="right answers")
        upper.plot([0, 100], [0, 100], "--", color="black", linewidth=1,
                   label="as often as claimed")
        upper.set(title=f"{name}: ECE {100 * expected_calibration_error(table):.1f} %",
                  ylim=(0, 102))
        lower.bar(edges, 100 * table[0] / table[0].sum(), width, align="edge", color="#777777",
                  edgecolor="white")
        lower.yaxis.set_major_locator(MultipleLocator(10))
        lower.set(xlabel="confidence (%)", xlim=(0, 100))
    axes[0][0].set_ylabel("accuracy (%)")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    axes[1][0].set_ylabel("images (%)")
    return figure


def draw_look_alikes(data: dict) -> plt.Figure:
    """Accuracy by class against its look-alikes: test images whose nearest training image, by the
    cosine of what the last layer is given, is of another class. On the dashed line the net would be
    wrong as often as this nearest neighbour; above it, the last layer does better. Both come from
    the same features: near the line, the last layer does about as well as a nearest neighbour. It
    does not say that they look alike to people."""
    images = data["confusion"].sum(1)
    accuracy, alike = 100 * data["confusion"].diagonal() / images, data["look_alikes"]
    figure, axis = plt.subplots(figsize=(7.2, 4.8))
    axis.plot(alike, accuracy, "o", color=PALETTE[0], markersize=7, clip_on=False, zorder=3)
    line = np.linspace(0, 1.08 * max(1, alike.max()), 60)
    dashes = np.stack([line, 100 * (1 - line / images.mean())], axis=1)
    axis.plot(*dashes.T, "--", color="black", linewidth=1, label="as the nearest neighbour")
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(alike, accuracy)[0, 1]
    axis.set(xlabel=f"look-alikes among the {images.mean():,.0f} test images of a class",
             xlim=(0, line[-1]), ylabel="accuracy (%)",
             title=minus(f"correlation over the {len(CLASSES)} classes: {correlation:.2f}"))
    axis.legend(loc="lower left")
    figure.canvas.draw()  # settles the layout, in which names are placed
    marks = [(CLASSES[i], "black", alike[i], [accuracy[i]])
             for i in accuracy.argsort(kind="stable")]
    place_labels(axis, marks, list(zip(dashes, dashes[1:], strict=False)))
    return figure
