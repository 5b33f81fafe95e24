"""Drawings of which pixels made a network say what it says: codes/insight/attribution.py."""

import numpy as np

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import plt

DIVERGING = "RdBu_r"


def draw_row(axes, data: dict, i: int) -> None:
    """Draw image number `i` of the data and its three explanations."""
    image, cam, settings = data["images"][i], data["grad_cam"][i], data["about"]["settings"]
    size, stride = settings["size"], settings["stride"]
    edges = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes[0].imshow(image)
    axes[1].imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    axes[1].imshow(cam, cmap="inferno", alpha=0.6, interpolation="bilinear", extent=edges)
    for axis, name, share, first, step in ((axes[2], "integrated_gradients", 0.99, 0, 1),
            (axes[3], "occlusion", 1.0, (size - stride) / 2, stride)):
        values = data[name][i]
        limit = max(np.quantile(abs(values), share), 1e-12)
        low, high = first - 0.5, first - 0.5 + step * len(values)
        axis.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(low, high, high, low))
        axis.add_patch(plt.Rectangle((low, low), high - low, high - low, fill=False,
                                     edgecolor="#999999", linewidth=0.6, clip_on=False))
    for axis in axes:
        axis.set(xlim=edges[:2], ylim=edges[2:])
    label, said = CLASSES[data["labels"][i]], CLASSES[data["said"][i]]
    words = label if said == label else f"{label},\nsaid {said}"
    axes[0].text(-0.08, 0.5, f"{words}\n{100 * data['confidence'][i]:.0f} %",
                 transform=axes[0].transAxes, ha="right", va="center")


def draw_attribution(data: dict) -> plt.Figure:
    """Which pixels speak for the class that the net said. A row a class: left the test image of
    this class that it gets right with the most confidence, right its most confident mistake; the
    classes are those whose mistakes are the most confident. Beside the image: its class, what the
    net said if that is another, and its probability. All of this is chosen by that rule, one view
    an image. Grad-CAM (Selvaraju et al. 2017), bright: the maps behind the last convolution,
    weighted by what they add to the logit, negative sums cut off, and blurred, as they have few
    pixels. CifarNet ends in global max pooling and a linear layer: a map's weight is then its
    weight in the head whatever the image, and of all that is bright in a map, only its brightest
    pixel has entered the logit. Integrated gradients (Sundararajan et al. 2017): what each pixel
    adds to the logit, summed over the colours, on the way from the mean colour to the image.
    Occlusion (Zeiler & Fergus 2014): by how much the logit falls when the mean colour covers the
    {size}×{size} pixels around a point. Red speaks for the class, blue against it; each picture has
    its own scale, on which the largest hundredth of the integrated gradients is cut off. None of
    them says what the net would need to see to say something else, and a patch of the mean colour
    is not a natural image either."""
    rows = len(data["numbers"]) // 2
    figure = plt.figure(figsize=(9.4, 1.2 + 0.95 * rows))
    for side, half in enumerate(figure.subfigures(1, 2, wspace=0.04)):
        axes = half.subplots(rows, 4, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, title in zip(axes[0], ("image", "Grad-CAM", "integrated\ngradients", "occlusion"),
                               strict=True):
            axis.set_title(title, fontsize=11)
        for row, line in enumerate(axes):
            if data["numbers"][2 * row + side] >= 0:
                draw_row(line, data, 2 * row + side)
        colours = plt.cm.ScalarMappable(norm=plt.Normalize(-1, 1), cmap=DIVERGING)
        bar = half.colorbar(colours, ax=list(axes.flat), location="bottom", shrink=0.8, aspect=50)
        bar.set_ticks([-1, 0, 1], labels=["against what it said", "0", "for it"])
        titles = "the most confident right answer of a class", "its most confident mistake"
        half.suptitle(titles[side], fontsize=11)
    return figure
