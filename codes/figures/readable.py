"""Text that can be read in print, and names beside marks where nothing else is."""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.transforms import Bbox

from VGG_BatchNorm.ground.style import plt

POINTS = 14  # 7 or more in print, where a figure is no wider than twice what is printed of it
MARK = 5  # half the width of a mark, in pixels of the figure
LABELS = [(x, y, across, up) for y, up in ((0, "center"), (7, "bottom"), (-7, "top"))
          for x, across in ((7, "left"), (-7, "right"), (0, "center"))
          if x or y]  # places beside a mark, in points and alignments, the best first


def large(draw: Callable[..., plt.Figure]) -> Callable[..., plt.Figure]:
    """Return `draw` changed so that all text whose size it does not set is POINTS points large."""
    @functools.wraps(draw)
    def drawn(*given) -> plt.Figure:
        with plt.rc_context({"font.size": POINTS, "axes.titlesize": POINTS,
                             "figure.titlesize": POINTS}):
            figure = draw(*given)
            figure.canvas.draw()  # ticks take their size from the settings when first drawn
        return figure
    return drawn


def place_labels(axis: plt.Axes, points: Sequence[tuple[str, str, float, Sequence[float]]],
                 lines: Sequence[tuple] = (), size: float = 9) -> None:
    """Write each name beside its marks, where no mark, line or other name is, if there is room.

    The layout must be settled: draw the figure first.

    Args:
        points: (name, colour, x, the y of each mark, the best to stand beside first), in data's
            units.
        lines: the two ends (x, y) of each, level or upright, in data's units.
        size: of the names, in points.
    """
    taken = []
    for _, _, x, ys in points:
        corners = axis.transData.transform([(x, min(ys)), (x, max(ys))])
        taken.append(Bbox(corners).padded(MARK))
    taken += [Bbox(np.sort(axis.transData.transform(ends), axis=0)).padded(1) for ends in lines]
    for name, color, x, ys in points:
        for y, (right, up, across, along) in itertools.product(ys, LABELS):
            label = axis.annotate(name, (x, y), xytext=(right, up), textcoords="offset points",
                                  ha=across, va=along, fontsize=size, color=color)
            label.set_in_layout(False)
            box = label.get_window_extent().padded(2)
            inside = axis.bbox.contains(box.x0, box.y0) and axis.bbox.contains(box.x1, box.y1)
            if inside and not box.count_overlaps(taken):
                break
            label.remove()
        else:
            label = axis.annotate(name, (x, ys[0]), xytext=(7, 0), textcoords="offset points",
                                  va="center", fontsize=size, color=color)
            box = label.get_window_extent()
        taken.append(box)
