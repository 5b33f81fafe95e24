"""Drawings of what excites a network's layers, from `codes.insight.patches.measure`."""

from collections import Counter

import numpy as np

from codes.figures.readable import layer_name
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import contact_sheet, plt


def mosaic(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Return one picture of (N, s, s, 3) uint8 pictures, row by row, each about 64 pixels wide."""
    return contact_sheet(pictures, columns, factor=max(1, 64 // pictures.shape[1]), border=4)


def draw_patches(data: dict) -> plt.Figure:
    """What excites a channel: the {patches} test images in which its highest response is the
    largest, cut to what that one unit sees. A row a layer, the last of each group (of other nets:
    one at each resolution); the {channels} channels whose {patches} peaks exceed their mean
    response by the largest factor. Below a channel's number stands the commonest class of the
    images, and of how many it is. Grey lies beyond the edge of an image. A unit's receptive field
    is an upper limit: what its edge adds is small (Luo et al. 2016, arXiv 1701.04128), the more so
    where it exceeds the image. The picture shows peaks alone; a channel may answer to other things
    as well."""
    figure, axes = plt.subplots(len(data["layers"]), data["about"]["settings"]["channels"],
                                squeeze=False, figsize=(7.9, 0.45 + 1.6 * len(data["layers"])))
    for axis in axes.flat:
        axis.axis("off")
    for i, (row, name, size) in enumerate(zip(axes, data["layers"], data["sizes"], strict=True)):
        for axis, channel, patches, labels in zip(row, data[f"channels_{i}"], data[f"patches_{i}"],
                                                  data[f"labels_{i}"], strict=False):
            axis.imshow(mosaic(patches, columns=3))
            (label, count), = Counter(labels.tolist()).most_common(1)
            axis.set_title(f"channel {channel}\n{CLASSES[label]}: {count}", fontsize=11)
        seen = f"{size}×{size}" if size < data["image"].shape[0] else "all"
        row[0].text(-0.06, 0.5, f"{layer_name(name)}\nsees {seen} pixels".replace(", ", ",\n"),
                    transform=row[0].transAxes, rotation=90, ha="right", va="center")
    return figure


def draw_feature_maps(data: dict) -> plt.Figure:
    """A test image on its way through the net: the output of each convolution after norm,
    activation and pooling, as the next one gets it; the {maps} channels of the highest peak, dark
    is low, bright is high, one scale a row. Left: the layer, how many channels it has, and the
    pixels of each. The other channels, and what the next layer makes of their sum, are not shown.
    """
    rows = [data["image"][None],
            *(data[f"maps_{i}"][..., None].repeat(3, axis=3) for i in range(len(data["stages"])))]
    settings = data["about"]["settings"]
    names = [f"test image {settings['image']}\n({CLASSES[data['label']]})", *data["stages"]]
    figure, axes = plt.subplots(len(rows), 1, figsize=(6.9, 0.62 + 0.47 * len(rows)))
    for axis, pictures, name in zip(axes, rows, names, strict=True):
        layer, _, size = name.partition("\n")
        axis.imshow(mosaic(pictures, columns=settings["maps"]))
        size = size.replace(" of ", " channels, ")
        axis.set_yticks([axis.get_ylim()[0] / 2], [f"{layer_name(layer)}\n{size}"])
        axis.set_anchor("W")  # else the layout takes the names to reach less far
        axis.tick_params(length=0, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.grid(visible=False)
    return figure
