"""Our presets beside published nets: `draw_front(*read_front([runs.csv, published.csv]))`."""

import textwrap
from pathlib import Path

from matplotlib.ticker import FixedLocator, NullLocator

from codes.figures.readable import place_labels
from codes.results.presets import PRESET_RUN, PUBLISHED, by_preset, errors_in_percent
from VGG_BatchNorm.ground.files import read_csv
from VGG_BatchNorm.ground.style import PLAIN, TRAIN, plt

PALE = ("airbench95", "WRN-40-2, AutoAugment", "HCGNet-A1", "DARTS",
        "WRN-28-10, AutoAugment", "HCGNet-A2")  # drawn without a name, by falling error


def read_front(paths: list[Path]) -> tuple[list[dict], list[dict]]:
    """Return the presets, means over seeds, and published nets: {name, parameters, flops, errors}.

    Errors are in percent, by the number of views; a number that is not known is None."""
    runs, published = map(read_csv, paths, (PRESET_RUN, PUBLISHED))
    ours = []
    for preset, mine in by_preset(runs).items():
        one, six = (sum(errors) / len(mine) for errors in errors_in_percent(mine))
        ours.append({"name": preset, "parameters": mine[0]["parameters"],
                     "flops": mine[0]["flops"], "errors": {1: one, 6: six}})
    return ours, [{"name": row["net"], "parameters": row["parameters"], "flops": row["flops"],
                   "errors": {row["views"]: 100 * (1 - row["test_accuracy"])}} for row in published]


def draw_front(ours: list[dict], published: list[dict]):
    """Test error against parameters, and against FLOPs of training where they are known, all axes
    logarithmic. Filled marks are errors of one view of an image, open ones those of six views,
    averaged; a line joins the two of a net. Of ours, a mark is the mean over runs, of which some
    have one alone; nets of the same number stand a little apart, and one of which a number is
    not known on one side alone. PJ2 are public repositories of this course project; the epoch of
    spoil-ed's was chosen on the test images. Pale, from above: airbench95, WRN-40-2 with
    AutoAugment, HCGNet-A1, DARTS, WRN-28-10 with AutoAugment, HCGNet-A2. The published numbers are
    their authors', from other machines and mostly of 200 to 1270 epochs; the table
    reports/results/published.csv has the epochs and sources."""
    figure, axes = plt.subplots(1, 2, figsize=(10.4, 5), sharey=True, width_ratios=(5, 4))
    marks = {}
    for axis, column, unit in ((axes[0], "parameters", 1e6), (axes[1], "flops", 1e15)):
        points = []
        for nets, color, marker, size in ((published, PLAIN, "s", 7), (ours, TRAIN, "o", 5)):
            for net in (net for net in nets if net[column]):
                x, errors = net[column] / unit, net["errors"]
                alike = [one["name"] for one in ours + published if one[column] == net[column]]
                x *= 1.06 ** (alike.index(net["name"]) - (len(alike) - 1) / 2)
                shade = "#F0BC99" if net["name"] in PALE else color
                axis.plot([x] * len(errors), errors.values(), color=color, linewidth=1)
                for views, error in errors.items():
                    axis.plot(x, error, marker, color=shade, zorder=3, markersize=size,
                              markerfacecolor=shade if views == 1 else "white")
                name = "" if net["name"] in PALE else textwrap.fill(
                    net["name"], 14, break_long_words=False)
                points.append((name, color, x, sorted(errors.values())))
        places = [x for _, _, x, _ in points]
        axis.set(xscale="log", yscale="log", xlim=(0.3 * min(places), 2.5 * max(places)))
        axis.margins(y=0.1)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_locator(FixedLocator([2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10]))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        marks[axis] = points
    axes[0].set(xlabel="parameters (millions)", ylabel="test error (%)")
    axes[1].set_xlabel("FLOPs of the training (10¹⁵)")
    handles = [plt.Line2D([], [], color=color, marker=marker, linestyle="none", label=label,
                          markerfacecolor="white" if "six" in label else color)
               for name, color, marker in (("ours", TRAIN, "o"), ("published", PLAIN, "s"))
               for label in (f"{name}, one view", f"{name}, six views")]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    figure.canvas.draw()  # settles the layout, in which labels are placed
    for axis, points in marks.items():
        place_labels(axis, points)
    return figure
