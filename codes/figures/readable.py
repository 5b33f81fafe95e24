"""Text that can be read in print, and names beside marks where nothing else is."""

import functools
import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.transforms import Bbox

from VGG_BatchNorm.ground.style import plt

POINTS = 14  # 7 or more in print, where a figure is no wider than twice what is printed of it
MARK, NEAR = 6, 7  # half the width of a mark in pixels of the figure, a name's distance in points
LABELS = [(far * x, far * y, across, up) for far in (NEAR, 14, 24, 36)
          for y, up in zip((0, 0.5, -0.5, 1, -1), ("center",) * 3 + ("bottom", "top"), strict=True)
          for x, across in zip((1, -1, 0, 0.5, -0.5), ("left", "right", "center", "left", "right"),
                               strict=True)
          if 1 in (abs(x), abs(y))]  # beside a mark, in points and alignments, the best first


def layer_name(layer: str) -> str:
    """Return "group 2, convolution 1" for CifarNet's "groups.1.convs.0", else the name as it is."""
    if layer == "stem":
        return "first layer"
    found = re.fullmatch(r"groups\.(\d)\.convs\.(\d)", layer)
    return f"group {int(found[1]) + 1}, convolution {int(found[2]) + 1}" if found else layer


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
                 lines: Sequence[tuple] = (), **look) -> None:
    """Write each name beside its marks, where no mark, line or other name is, if there is room.

    A thin line leads from a mark to its name, where this is not close to the left or right.
    The layout must be settled: draw the figure first.

    Args:
        points: (name, colour, x, the y of each mark, the best to stand beside first), in data's
            units; a mark whose name is empty is left free.
        lines: the two ends (x, y) of each, level or upright, in data's units.
        look: of the names, as `annotate` has it, such as their `fontsize`."""
    taken = []
    for _, _, x, ys in points:
        corners = axis.transData.transform([(x, min(ys)), (x, max(ys))])
        taken.append(Bbox(corners).padded(MARK))
    taken += [Bbox(np.sort(axis.transData.transform(ends), axis=0)).padded(1) for ends in lines]
    for name, color, x, ys in (point for point in points if point[0]):
        for (right, up, across, along), y in itertools.product(LABELS, ys):
            label = axis.annotate(name, (x, y), xytext=(right, up), textcoords="offset points",
                                  ha=across, va=along, color=color, in_layout=False, **look)
            box = label.get_window_extent().padded(2)
            mark = axis.transData.transform((x, y))
            end = np.clip(mark, box.min, box.max)
            leader = [Bbox([p, p]).padded(2) for p in np.linspace(mark, end, 30)]
            far = [one for one in taken if not one.overlaps(leader[0])]
            if (axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
                    and not box.count_overlaps(taken)
                    and not any(one.count_overlaps(far) for one in leader)):
                break
            label.remove()
        else:
            label = axis.annotate(name, (x, ys[0]), xytext=(NEAR, 0), textcoords="offset points",
                                  va="center", color=color, in_layout=False, **look)
            box, leader, right, up = label.get_window_extent(), [], NEAR, 0
        if abs(up) >= NEAR or abs(right) > NEAR:
            ends = axis.transData.inverted().transform([mark, end])
            axis.plot(*ends.T, color=color, linewidth=0.6, scalex=False, scaley=False)
        taken += [box, *leader]
