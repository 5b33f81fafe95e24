"""The pictures of the loss around weights, each from planes of losses.

A docstring is its picture's caption. A plane is what `codes.insight.loss_landscape.fill` wrote."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from codes.results.measurements import eigenvalue_in_words
from VGG_BatchNorm.ground.style import PALETTE, plt

CEILING = 10.0  # nats; higher losses are shown as this
FRAME = 0.06  # of a picture's side: nearer to its edge, a number would be cut
DIRECTIONS = PALETTE[6], PALETTE[5]  # the first, the second; not the colours of nets
COMPARED = {  # nets of codes/insight/small_nets.py, and what a picture calls them
    "plain": "neither", "residual": "residual connections", "batch_norm": "batch norm",
    "batch_norm_residual": "both"}


def caption_words(*planes: dict) -> dict[str, str]:
    """Return what is true of some planes only: sentences, empty where there is nothing to say."""
    second = ("The middle plane (dashed on the right) keeps the batch-norm statistics of the "
              "trained weights: part of what rises there is not the weights' doing but that of "
              "statistics which are not theirs.")
    above = any(plane["loss"].max() > CEILING for plane in planes)
    return {"second_plane": second if len(planes) > 1 else "",
            "ceiling": f"Losses above {CEILING:g} nats are shown as {CEILING:g}." if above else ""}


def network_title(plane: dict) -> str:
    return plane["about"]["network"].replace("cifarnet", "CifarNet")


def what_the_loss_is(plane: dict, more: str = "", width: int = 70) -> str:
    """Return what the loss is, for the picture's face, in lines of `width` characters."""
    images = plane["about"]["settings"]["n_items"]
    anew = ", batch-norm statistics recomputed at each point" + more
    return textwrap.fill(f"{network_title(plane)}: cross-entropy of {images} training images of "
                         "32×32, evaluation mode"
                         + anew * plane["about"].get("running_statistics", True), width)


def loss_levels(planes: Sequence[dict], steps: int = 15) -> np.ndarray:
    """Return steps + 1 levels for all planes alike, evenly spaced in the logarithm of the loss."""
    low = max(min(plane["loss"].min() for plane in planes), 1e-3)
    high = min(max(plane["loss"].max() for plane in planes), CEILING)
    return np.geomspace(low, max(high, 1.01 * low), steps + 1)


def draw_plane(axis, plane: dict, levels: np.ndarray, path: np.ndarray = ()):
    """Draw filled contours, lines at the colour bar's ticks, and the lines' levels, but none near
    the frame or the points of a path (N, 2); return what the bar needs."""
    where = plane["xs"], plane["ys"], np.clip(plane["loss"], levels[0], levels[-1])
    filled = axis.contourf(*where, levels, norm=LogNorm(levels[0], levels[-1]), cmap="cividis")
    labelled = levels[3:-1:3]
    colours = ["white" if level < (levels[0] * levels[-1]) ** 0.5 else "black"
               for level in labelled]
    lines = axis.contour(*where, labelled, colors=colours, linewidths=0.8)
    kept, step_places = [], [axis.transLimits.transform(step) for step in path]
    for name in axis.clabel(lines, inline=False):
        place = axis.transLimits.transform(name.get_position())
        if min(*place, *(1 - place), *(np.hypot(*(place - one)) for one in step_places)) > FRAME:
            kept.append(name.get_position())
        name.remove()
    axis.clabel(lines, manual=kept, fmt="%.2g", fontsize=plt.rcParams["font.size"])
    axis.grid(visible=False)
    return filled


def draw_around(axis, plane: dict, levels: np.ndarray, title: str):
    """Draw the plane of two random directions: square, a cross on the weights, the eigenvalue."""
    filled = draw_plane(axis, plane, levels)
    axis.plot(0, 0, "+", color="white", markersize=11, markeredgewidth=2)
    axis.set(title=f"{title}top eigenvalue {eigenvalue_in_words(plane)}", aspect="equal")
    return filled


def add_colour_bar(figure, filled, axes, levels: np.ndarray) -> None:
    figure.colorbar(filled, ax=axes, label="cross-entropy (nats)", ticks=levels[::3],
                    format="%.2g").minorticks_off()


def draw_surface(plane: dict, *_):
    """The loss around trained weights (in the middle), along two random directions in which every
    filter is as long as the net's own: at 1, as much noise as signal. Colour repeats the height, on
    a logarithmic scale. It is a cut along two of very many dimensions, and a random cut is flatter
    than the steepest: see the eigenvalue above the contours. {ceiling}"""
    levels = loss_levels([plane])
    figure = plt.figure(figsize=(6.4, 5.4))
    axis = figure.add_subplot(projection="3d")
    x, y = np.meshgrid(plane["xs"], plane["ys"])
    axis.plot_surface(x, y, np.clip(plane["loss"], levels[0], levels[-1]), rstride=1, cstride=1,
                      cmap="cividis", norm=LogNorm(levels[0], levels[-1]), edgecolor="black",
                      linewidth=0.2)
    for along, label in ((axis.xaxis, "first direction"), (axis.yaxis, "second direction"),
                         (axis.zaxis, "cross-entropy (nats)")):
        along.set_label_text(label)
        along.labelpad = 9
        along.set_major_locator(MaxNLocator(4, steps=[1, 5, 10]))
    axis.view_init(elev=32, azim=-58)
    figure.suptitle(what_the_loss_is(plane), fontsize=11)
    return figure


def draw_contours(*planes: dict):
    """The same loss from above, lines at equal ratios, a cross on the trained weights; on the
    right, its two cuts through them, between the same levels. The filters of both directions are as
    long as the net's own, so that distances mean something though batch norm leaves the filters'
    scale free. {second_plane} The eigenvalue, of the same loss on the first {hessian_images}
    images, is the curvature along the steepest direction, which a random plane does not show; it
    depends on the weights' scale. Training may have minimised another loss (smoothed labels,
    augmented images), whose minimum need not be this one's. {ceiling}"""
    levels = loss_levels(planes)
    figure, axes = plt.subplots(1, len(planes) + 1, figsize=(3.65 * (len(planes) + 1), 3.8))
    cuts = axes[-1]
    for axis, plane, style in zip(axes, planes, ("-", "--"), strict=False):
        filled = draw_around(axis, plane, levels, "")
        axis.set(xlabel="first direction", ylabel="second direction")
        middle = len(plane["xs"]) // 2
        suffix = ", frozen" if plane["about"]["settings"]["frozen"] else ""
        for loss, colour, which in zip((plane["loss"][middle], plane["loss"][:, middle]),
                                       DIRECTIONS, ("first", "second"), strict=True):
            cuts.plot(plane["xs"], loss, style, color=colour, label=f"{which} direction{suffix}")
    add_colour_bar(figure, filled, axes[:-1], levels)
    cuts.set(xlabel="distance (1: filters' length)", yscale="log", title="cross-entropy (nats)")
    cuts.set_yticks(levels[::3], [f"{level:.2g}" for level in levels[::3]])
    cuts.minorticks_off()
    cuts.legend()
    middle_panel = " (middle: those of the cross)" if len(planes) > 1 else ""
    figure.suptitle(what_the_loss_is(planes[0], middle_panel), fontsize=11)
    return figure


def draw_compare(*planes: dict):
    """Four small nets, trained alike but for batch norm and residual connections (and at rates that
    the net bears where there is no batch norm: a ninth, and with residual connections an 81st, the
    lowest tried): the loss in filter-normalised random planes, all with the same levels and
    colours. The nets end at different losses, and part of what is seen is that. Above each: its
    loss at the cross, and the top eigenvalue of the Hessian on {hessian_images} images, which
    depends on the scale of the weights; Muon holds each bank of filters at one norm in all four.
    Rates are confounded with norm here: low rates alone leave sharper minima. The nets have seven
    convolutions: what Li et al. saw residual connections do needs depth. One net and one pair of
    directions each. {ceiling}"""
    levels = loss_levels(planes)
    figure, axes = plt.subplots(1, 4, figsize=(10.4, 3.5), sharey=True)
    for axis, name, plane in zip(axes, COMPARED.values(), planes, strict=True):
        middle = len(plane["xs"]) // 2
        filled = draw_around(axis, plane, levels,
                             f"{name}\nloss {plane['loss'][middle, middle]:.2f}\n")
        axis.set_xlabel("first direction")
    axes[0].set_ylabel("second direction")
    add_colour_bar(figure, filled, axes, levels)
    figure.suptitle(what_the_loss_is(plane), fontsize=11)
    return figure


def draw_path(plane: dict):
    """The weights of a small net during training (dots), projected on the plane in which they vary
    most, moved so that it holds the last of them; behind, the loss in that plane. Only the last
    weights lie in it: under the other dots the loss is the plane's, not that of training, and the
    two axes have scales of their own. A share of {small_share} of the training ran on images of
    {small_size}×{small_size}; then comes the change to whole ones. A smooth
    bend in few dimensions is no finding: of a long random walk in many dimensions, too, the first
    two components explain 61 % and 15 % (Antognini & Sohl-Dickstein 2018, arXiv 1806.08805).
    {ceiling}"""
    levels = loss_levels([plane])
    figure, axis = plt.subplots(figsize=(5.4, 4.2))
    add_colour_bar(figure, draw_plane(axis, plane, levels, plane["coordinates"]), axis,
                   levels)
    x, y = plane["coordinates"].T
    look = dict(color=PALETTE[1], markeredgecolor="white")
    every = plane["about"]["net"]["every"]
    axis.plot(x, y, "o-", markersize=5, label=f"weights, every {every} steps", **look)
    axis.plot(x[0], y[0], "s", markersize=10, label="first", **look)
    axis.plot(x[-1], y[-1], "*", markersize=16, label="last", **look)
    first, second = 100 * plane["explained"]
    axis.set(xlabel=f"first principal direction ({first:.0f} % of the variance)",
             ylabel=f"second principal direction ({second:.0f} %)")
    axis.legend(frameon=True, framealpha=0.9)
    figure.suptitle(what_the_loss_is(plane, width=55), fontsize=11)
    return figure
