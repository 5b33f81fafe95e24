"""What the comparisons found: drawings, by name, of what codes/results/comparisons.py loads.

A function's docstring is the caption of its figure."""

import statistics
import textwrap
from collections.abc import Callable

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from codes.figures.readable import POINTS, large, place_labels
from codes.results import advice
from codes.results.compare_results import by_effect, judged
from codes.results.comparisons import Comparisons
from codes.results.words import with_spread
from VGG_BatchNorm.ground.style import INDIGO, PALETTE, TEAL, TRAIN, VALIDATION, plt

DODGE = 1.07  # by which a net with residual connections stands beside the same one without
SIZES = ("widths", "depth")  # what changes the network's cost
OWN_SCALE = "whole_images"  # whose differences are several times as large
UNCLEAR = "#777777"
OUTCOMES = {"better": ("clearly better", PALETTE[0], PALETTE[0]),  # label, line, face of the mark
            "worse": ("clearly worse", PALETTE[1], PALETTE[1]),
            "unclear": ("not clear", UNCLEAR, "white")}


def what_was_trained(runs: Comparisons, seeds: str = "") -> str:
    """Return what the pictures are of, for their faces."""
    of_all = [row for rows in runs.studies.values() for row in rows]
    compared = [row for row in of_all if row["study"] != "final"]
    seeds = seeds or advice.seeds(compared or of_all)
    return f"{advice.what_was_trained(runs.base)}; {seeds}"


def effect_panels(rows: dict[str, list[dict]],
                  pitch: float = 0.32) -> tuple[plt.Figure, dict[str, plt.Axes]]:
    """Return a figure with a panel for each study, and a line in it for each of the rows.

    The panels fill two columns, the largest first, with lines equally far apart.

    Args:
        rows: {study: its rows, the lowest line first}.
        pitch: of the lines, in inches."""
    columns = [[] for _ in range(min(2, len(rows)))]
    for study in sorted(rows, key=lambda study: -len(rows[study])):
        min(columns, key=lambda mine: sum(len(rows[one]) + 3 for one in mine)).append(study)
    height = max(sum(pitch * max(1, len(rows[study])) + 0.85 for study in mine)
                 for mine in columns)
    figure = plt.figure(figsize=((7.4, 13.3)[len(columns) - 1], height + 1))
    figure.get_layout_engine().set(h_pad=0.08)
    panels = {}
    for part, mine in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns,
                          strict=True):
        axes = part.subplots(len(mine), squeeze=False,
                             height_ratios=[max(1, len(rows[study])) for study in mine])[:, 0]
        for study, axis in zip(mine, axes, strict=True):
            axis.axvline(0, color="black", linestyle="--", linewidth=1)
            axis.set_yticks(range(len(rows[study])), [label(row) for row in rows[study]])
            axis.set_ylim(-0.6, len(rows[study]) - 0.4)
            axis.grid(axis="y", visible=False)
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axes[-1].set_xlabel("difference in accuracy (points)")
        panels |= zip(mine, axes, strict=True)
    return figure, panels


def label(row: dict) -> str:
    """Return a variant's name for an axis: a long one without its numbers."""
    return row["variant"] if len(row["variant"]) < 28 else advice.short(row)


@large
def draw_effects(runs: Comparisons):
    """What one change does to the base. The difference in validation accuracy from the study's
    first variant (dashed line), seed by seed (ticks; the same first weights and batches where the
    net is the same) and in the mean, with its 95 % interval over seeds (Student's t, from its own
    pairs); filled and coloured where Holm's rule over the study's variants calls it clear (blue:
    better, orange: worse), so that an interval may leave zero out and the difference still not be
    clear. A cross is of one seed, which has no interval. All panels have the same limits, but one
    whose title says otherwise. It is true of this length of training; dropout, strong augmentation
    and depth are known to need more than a few epochs. Components are compared under AdamW, each
    net at the best of its own rates, with dropout at that without it: Muon rescales filters."""
    rows = {name: [row for row in by_effect(runs.studies[name][1:])
                   if row["difference"] is not None]
            for name in studies_of("01_effects", runs.studies)}
    figure, panels = effect_panels(rows)
    for study, axis in panels.items():
        start = runs.studies[study][0]
        first = accuracies(runs, start)
        for y, row in enumerate(rows[study]):
            seeds = [value - first[seed] for seed, value in accuracies(runs, row).items()
                     if seed in first]
            _, color, face = OUTCOMES[advice.better_worse_or_unclear(row)]
            axis.plot(seeds, [y - 0.3] * len(seeds), "|", color=color, markersize=6)
            axis.errorbar(row["difference"], y, xerr=row["uncertainty"], color=color, capsize=3,
                          fmt="x" if row["uncertainty"] is None else "o", markerfacecolor=face)
        own = " (own scale)" if study == OWN_SCALE else ""
        axis.set_title(f"{study.replace('_', ' ')}, against\n{start['variant']}{own}")
    alike = [axis for study, axis in panels.items() if study != OWN_SCALE]
    limits = [end for axis in alike for end in axis.get_xlim()]
    for axis in alike:
        axis.set_xlim(min(limits), max(limits))
    figure.legend(handles=[plt.Line2D([], [], marker="o", color=color, markerfacecolor=face,
                                      label=label) for label, color, face in OUTCOMES.values()],
                  loc="outside lower center", ncols=3)
    figure.suptitle(what_was_trained(runs))
    return figure


def accuracies(runs: Comparisons, row: dict) -> dict[int, float]:
    """Return accuracy in percent by seed, of the runs of a row that did not fail."""
    return {seed: judged(run) for seed, run in runs.seeds(row["changes"]).items()
            if not run["failure"]}


@large
def draw_losses(runs: Comparisons):
    """Loss by regularisation: validation accuracy in percent, mean ± standard deviation over seeds,
    all under Adam, whose rate was tuned for each loss; the strength of a regulariser was tuned on
    cross-entropy. L2 enters the gradient and is rescaled by Adam, decoupled decay is not
    (Loshchilov & Hutter 2019). Bright is accurate, outlined the highest mean. The table on
    losses says which differ clearly from the first, top left."""
    rows = {row["variant"]: row for row in runs.studies["losses"]}
    losses = [name for name in rows if " + " not in name]
    added = ["none", *dict.fromkeys(name.partition(" + ")[2] for name in rows if " + " in name)]
    cells = [[rows.get(loss if reg == "none" else f"{loss} + {reg}") for reg in added]
             for loss in losses]
    values = [[cell["accuracy"] if cell and cell["accuracy"] is not None else float("nan")
               for cell in line] for line in cells]
    figure, axis = plt.subplots(figsize=(8.8, 4.7))
    picture = axis.imshow(values, cmap="cividis", aspect="auto")
    middle = statistics.mean(picture.get_clim())
    best = max((value for line in values for value in line if value == value), default=None)
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            if cell:
                axis.text(x, y, with_spread(cell["accuracy"], cell["deviation"]), ha="center",
                          va="center", color="white" if values[y][x] < middle else "black")
                if values[y][x] == best:
                    axis.add_patch(plt.Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False,
                                                 edgecolor=PALETTE[1], linewidth=3))
    axis.set_xticks(range(len(added)), [name.replace(" ", "\n") for name in added])
    axis.set_yticks(range(len(losses)), [name.replace("binary ", "binary\n") for name in losses])
    axis.set(xlabel="regularisation", ylabel="loss",
             title="validation accuracy (%); outlined: the highest mean")
    axis.grid(visible=False)
    figure.suptitle(what_was_trained(runs, advice.seeds(runs.studies["losses"])))
    return figure


@large
def draw_cost(runs: Comparisons):
    """What accuracy costs: validation error against parameters and against the FLOPs of training
    (logarithmic axes), for every net of the studies named in the legend; bars are standard
    deviations over seeds. Nets with residual connections are open marks, drawn a little to the
    right of their place, which is that of the same net without. The grey line joins the best so
    far, of means: no net to the left of it is better. All train for as many epochs; it does not
    show what a net would reach if each had the epochs that suit it."""
    studies = [name for name in SIZES if name in runs.studies]
    rows = [(study, color, marker, row)
            for study, color, marker in zip(studies, (INDIGO, TEAL), "os", strict=False)
            for row in runs.studies[study]
            if row["changes"] != "{}" and row["accuracy"] is not None]
    base = next(row for study in studies for row in runs.studies[study] if row["changes"] == "{}")
    rows.append(("base", "black", "*", base))
    figure, axes = plt.subplots(1, 2, figsize=(11.7, 5.8), sharey=True)
    names = {}
    for axis, column, label, unit in ((axes[0], "parameters", "parameters (thousands)", 1e3),
                                      (axes[1], "flops", "FLOPs to train (10¹²)", 1e12)):
        front, marks, places = [], [], []
        for study, color, marker, row in rows:
            x, error, bar = row[column] / unit, 100 - row["accuracy"], row["deviation"] or 0
            beside = "residual" in row["variant"]
            shown = x * DODGE if beside else x
            axis.errorbar(shown, error, bar, fmt=marker, color=color, capsize=3, elinewidth=1,
                          markersize=14 if study == "base" else 7, label="" if beside else study,
                          markerfacecolor="white" if beside else color)
            name = "base" if study == "base" else advice.short(row)
            marks.append((name, color, shown, [error, error - bar, error + bar]))
            places.append((x, error))
        for x, error in sorted(places):
            if not front or error < front[-1][1]:
                front += [(x, front[-1][1]), (x, error)] if front else [(x, error)]
        axis.plot(*zip(*front, strict=True), color="#999999", linewidth=1, label="best so far",
                  zorder=0)
        names[axis] = marks, list(zip(front, front[1:], strict=False))
        axis.set(xlabel=label, xscale="log")
        axis.margins(x=0.2, y=0.1)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    axes[0].set_ylabel("validation error (%)")
    handles = dict(zip(*axes[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    figure.suptitle(what_was_trained(runs, advice.seeds([row for *_, row in rows])))
    figure.canvas.draw()  # settles the layout, in which names are placed
    for axis, (marks, lines) in names.items():
        place_labels(axis, marks, lines, fontsize=POINTS)
    return figure


def small_multiples(figure, lines: int, columns: int, names: list[str], curves: list[tuple],
                    colour: str) -> np.ndarray:
    """Return axes (lines, columns), with a named curve each, in which those of the others are grey.

    Args:
        figure: or a part of one.
        curves: (x, y) of each."""
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axis, name, curve in zip(axes.flat, names, curves, strict=False):
        for other in curves:
            axis.plot(*other, color="#c4c4c4", linewidth=0.8)
        axis.plot(*curve, color=colour, linewidth=2.5)
        axis.set_title(name, loc="left")
        axis.yaxis.set_major_locator(MaxNLocator(4))
    for axis in axes.flat[len(curves):]:  # their scale along x is for those above
        axis.spines.left.set_visible(False)
        axis.tick_params("y", length=0)
        axis.grid(visible=False)
    return axes


@large
def draw_optimizers(runs: Comparisons):
    """The optimizers, each at the rate that was best for it, by their difference from the first
    over the same seeds: the training loss over steps, mean over seeds; the others' are grey. Beside
    its name: the validation accuracy in the end. Dotted, where images are small at first: the
    change to whole ones, whose steps take longer; an optimizer is judged here by how it bears that
    change too, so compare the losses before and after it. The Muons and what is "on filters" leave
    biases and the head to SGD at rates of their own; the others have one rate for everything."""
    found = [(row, curve) for row in reversed(by_effect(runs.studies["optimizers"]))
             if (curve := loss_curve(runs, row["changes"]))]
    columns = max(1, min(4, len(found)))
    lines = max(1, -(-len(found) // columns))
    figure = plt.figure(figsize=(max(8, 3.32 * columns), 2 * lines + 0.8))
    names = [f"{row['variant']}\n{with_spread(row['accuracy'], None)} %" for row, _ in found]
    axes = small_multiples(figure, lines, columns, names, [curve for _, curve in found], TRAIN)
    for axis, (_, (steps, _)) in zip(axes.flat, found, strict=False):
        if 0 < runs.base["small_share"] < 1:
            axis.axvline(runs.base["small_share"] * steps[-1], color="black", linestyle=":",
                         linewidth=1)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel(f"steps of {runs.base['batch_size']} images", fontsize=POINTS)
    figure.supylabel("training loss (label-smoothed cross-entropy, nats)", fontsize=POINTS)
    figure.suptitle(what_was_trained(runs, advice.seeds(runs.studies["optimizers"])))
    return figure


def loss_curve(runs: Comparisons, changes: str) -> tuple[list, list] | None:
    """Return steps, and the loss's mean over seeds; None without a run."""
    by_step: dict[int, list[float]] = {}
    for point in runs.curves:
        if point["changes"] == changes and point["seed"]:
            by_step.setdefault(point["step"], []).append(point["loss"])
    return (list(by_step), list(map(statistics.mean, by_step.values()))) if by_step else None


@large
def draw_rates(runs: Comparisons):
    """How much the learning rate matters: validation accuracy of one run (seed 0) for each rate
    that was tried, of the optimizers on the left and of the losses (under Adam) on the right; in
    grey the others of its side, circled the rate that was kept. Those that end best, over
    seeds, come first. A wide top means little tuning. An optimizer whose best rate is the first or
    last may have a better one outside."""
    columns = {name: n for name, n in (("optimizers", 4), ("losses", 2)) if name in runs.studies}
    tuned = {study: [row for row in reversed(by_effect(runs.studies[study]))
                     if row["tries"] and " + " not in row["variant"] and runs.tries(row)[0]]
             for study in columns}
    lines = max(1, *(-(-len(rows) // columns[study]) for study, rows in tuned.items()))
    figure = plt.figure(figsize=(2.22 * sum(columns.values()), 2.3 * lines + 1.2))
    parts = figure.subfigures(1, len(columns), squeeze=False, width_ratios=list(columns.values()))
    grids = []
    for part, (study, rows) in zip(parts[0], tuned.items(), strict=True):
        found = [runs.tries(row) for row in rows]
        names = [textwrap.fill(row["variant"], 14, break_on_hyphens=False) for row in rows]
        axes = small_multiples(part, lines, columns[study], names,
                               [tuple(zip(*tries, strict=True)) for tries, _ in found], VALIDATION)
        for axis, (tries, kept) in zip(axes.flat, found, strict=False):
            axis.plot(*zip(*tries, strict=True), "o", color=VALIDATION)
            axis.plot(*kept, "o", color="black", markersize=13, fillstyle="none",
                      clip_on=False)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(numticks=3))
            axis.minorticks_off()
        part.suptitle(study)
        part.supxlabel("learning rate", fontsize=POINTS)
        grids.append(axes)
    parts[0, 0].supylabel("validation accuracy (%), seed 0", fontsize=POINTS)
    lows, highs = zip(*(axes[0, 0].get_ylim() for axes in grids), strict=True)
    for axes in grids:
        axes[0, 0].set_ylim(min(lows), max(highs))
    figure.suptitle(what_was_trained(runs, "\none run a point; circled: the rate that was kept"))
    return figure


FIGURES: dict[str, Callable] = {
    "01_effects": draw_effects, "02_losses": draw_losses, "03_cost": draw_cost,
    "04_optimizers": draw_optimizers, "05_learning_rates": draw_rates}
STUDIES_OF = {  # a figure needs one of these studies; the first draws all others
    "02_losses": ("losses",), "03_cost": SIZES, "04_optimizers": ("optimizers",),
    "05_learning_rates": ("optimizers",)}


def studies_of(name: str, studies: dict[str, list[dict]]) -> list[str]:
    """Return the studies that figure `name` draws, of those that compare something."""
    elsewhere = {"losses", "losses_muon", "damped_muon", "final"}
    wanted = STUDIES_OF.get(name, studies.keys() - elsewhere)
    return [study for study, rows in studies.items() if study in wanted and len(rows) > 1]


def shows(name: str, runs: Comparisons) -> bool:
    """Return whether the runs have what figure `name` draws; of losses, more than one column; of
    costs, a base that did not fail."""
    there = [row for study in studies_of(name, runs.studies) for row in runs.studies[study]]
    if name == "02_losses":
        return any(" + " in row["variant"] for row in there)
    if name == "03_cost":
        return any(row["changes"] == "{}" and row["accuracy"] is not None for row in there)
    return bool(there)
