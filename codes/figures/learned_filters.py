"""The picture of first filters before and after training, from `codes.insight.filters.learned`."""

import numpy as np

from codes.figures.filters import as_pictures
from VGG_BatchNorm.ground.style import contact_sheet, plt

COLUMNS = 8  # of filters; a row holds as many
TITLES = {"vgg": "VGG-A", "vgg_batch_norm": "VGG-A with batch norm",
          "trained_stem": "CifarNet without whitening"}


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
    heights = [-(-data[name].shape[1] // COLUMNS) for name in names]
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
            axis.imshow(contact_sheet(as_pictures(filters[order]), COLUMNS, factor=8),
                        interpolation="nearest")
            axis.set_title(title, fontsize=11, loc="left")
            axis.axis("off")
    return figure
