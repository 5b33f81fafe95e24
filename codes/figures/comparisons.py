"""What the comparisons found: drawings, by name, of what codes/documents/comparisons.py loads.

A function's docstring is the caption of its figure.
"""

import statistics
from collections.abc import Callable

from matplotlib.ticker import LogLocator

from codes.compare_results import judged, outcome, sorted_by_effect
from codes.documents.comparisons import ORDER, Comparisons
from codes.documents.words import with_spread
from VGG_BatchNorm.ground.style import PALETTE, plt

PANELS = tuple(name for name in ORDER if name not in ("losses", "final"))
SIZES = ("widths", "depth")  # what changes the network's cost
UNCLEAR = "#777777"

VARIANT_OF = {"DampedMuon, not annealed": "DampedMuon (ours)",
              "SGD, Nesterov, on filters": "SGD, Nesterov", "Adam on filters": "Adam"}


def scale(runs: Comparisons) -> str:
    """Return what the pictures are of, for their faces."""
    base = runs.base
    n = sorted({row["n"] for rows in runs.studies.values() for row in rows})
    seeds = " to ".join(str(number) for number in dict.fromkeys((n[0], n[-1])))
    return (f"CifarNet {', '.join(map(str, base['widths']))}; {base['epochs']} epochs, batches of "
            f"{base['batch_size']}; {seeds} seeds; {runs.rows[0]['device'].partition(',')[0]}")


def style(name: str, names: list[str]) -> dict:
    """Return a colour for each; what is another's variant has its colour, dashed."""
    mine = VARIANT_OF.get(name, name)
    whole = [one for one in names if one not in VARIANT_OF][:len(PALETTE)]
    return dict(color=PALETTE[whole.index(mine)] if mine in whole else UNCLEAR,
                linestyle="-" if mine == name else "--")


def draw_effects(runs: Comparisons):
    """What one change does to the base. The difference in validation accuracy from the study's
    first variant (dashed line), seed by seed (dots; the same first weights and batches where the
    net is the same) and in the mean, with its 95 % interval over seeds (Student's t, from its own
    pairs); filled and coloured where Holm's rule over the study's variants calls it clear (blue:
    better, orange: worse), so that an interval may leave zero out and the difference still not be
    clear. Each panel has its own scale. It says nothing of longer training, in which dropout,
    strong augmentation and depth are known to do better than in a few epochs. Nets without norm are
    held together by Muon, which keeps the norm of their filters."""
    studies = [name for name in PANELS if name in runs.studies]
    columns = min(2, len(studies))
    figure, axes = plt.subplots(-(-len(studies) // columns), columns, squeeze=False,
                                figsize=(max(8, 5.5 * columns), 2.9 * -(-len(studies) // columns)))
    for axis, study in zip(axes.flat, studies, strict=False):
        rows = [row for row in sorted_by_effect(runs.studies[study][1:])
                if row["difference"] is not None]
        first = accuracies(runs, runs.studies[study][0])
        for y, row in enumerate(rows):
            mine = accuracies(runs, row)
            seeds = [value - first[seed] for seed, value in mine.items() if seed in first]
            unclear = outcome(row) == "unclear"
            color = UNCLEAR if unclear else PALETTE[0 if outcome(row) == "better" else 1]
            axis.plot(seeds, [y] * len(seeds), ".", color=color, alpha=0.45)
            axis.errorbar(row["difference"], y, xerr=row["uncertainty"] or 0, fmt="o", color=color,
                          capsize=3, markerfacecolor="white" if unclear else color)
        axis.axvline(0, color="black", linestyle="--", linewidth=1)
        axis.set_yticks(range(len(rows)), [row["variant"] for row in rows])
        axis.set(title=f"{study.replace('_', ' ')}, against\n{runs.studies[study][0]['variant']}",
                 ylim=(-0.6, len(rows) - 0.4))
        axis.grid(axis="y", visible=False)
    for axis in axes.flat[len(studies):]:
        axis.axis("off")
    for axis in axes.flat[max(0, len(studies) - columns):len(studies)]:  # the lowest of each column
        axis.set_xlabel("difference in accuracy (points)")
    figure.suptitle(scale(runs), fontsize=10)
    return figure


def accuracies(runs: Comparisons, row: dict) -> dict[int, float]:
    """Return accuracy in percent by seed, of the runs of a row that did not fail."""
    return {seed: judged(run) for seed, run in runs.seeds(row["changes"]).items()
            if not run["failure"]}


def draw_losses(runs: Comparisons):
    """Loss by regularisation: validation accuracy in percent, mean ± standard deviation over seeds,
    all under Adam, whose rate was tuned for each loss; the strength of a regulariser was tuned on
    cross-entropy. L2 enters the gradient and is rescaled by Adam, decoupled decay is not
    (Loshchilov & Hutter 2019). Outlined: the best."""
    rows = {row["variant"]: row for row in runs.studies["losses"]}
    losses = [name for name in rows if " + " not in name]
    added = ["none", *dict.fromkeys(name.partition(" + ")[2] for name in rows if " + " in name)]
    cells = [[rows.get(loss if reg == "none" else f"{loss} + {reg}") for reg in added]
             for loss in losses]
    values = [[cell["accuracy"] if cell and cell["accuracy"] is not None else float("nan")
               for cell in line] for line in cells]
    figure, axis = plt.subplots(figsize=(7.5, 4))
    picture = axis.imshow(values, cmap="cividis", aspect="auto")
    middle = statistics.mean(picture.get_clim())
    best = max(max(line) for line in values)
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            if cell:
                axis.text(x, y, with_spread(cell["accuracy"], cell["deviation"]), ha="center",
                          va="center", color="white" if values[y][x] < middle else "black",
                          fontsize=10)
                if values[y][x] == best:
                    axis.add_patch(plt.Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False,
                                                 edgecolor=PALETTE[1], linewidth=3))
    axis.set_xticks(range(len(added)), [name.replace(" ", "\n") for name in added])
    axis.set_yticks(range(len(losses)), losses)
    axis.set(xlabel="regularisation", ylabel="loss")
    axis.grid(visible=False)
    figure.colorbar(picture, label="validation accuracy (%)")
    figure.suptitle(scale(runs), fontsize=10)
    return figure


def draw_cost(runs: Comparisons):
    """What accuracy costs: validation error against parameters and against the FLOPs of training,
    on logarithmic axes, for every net of the studies named in the legend; bars are standard
    deviations over seeds. The line is the front, of means: no net to the left of it is better. All
    train for as many epochs; it does not show what a net would reach if each had the epochs that
    suit it."""
    studies = [name for name in SIZES if name in runs.studies]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, column, label, unit in ((axes[0], "parameters", "parameters (thousands)", 1e3),
                                      (axes[1], "flops", "FLOPs to train (10¹²)", 1e12)):
        everything = []
        for study, color, marker in zip(studies, PALETTE, "osD^", strict=False):
            rows = [row for row in runs.studies[study]
                    if row["changes"] != "{}" and row["accuracy"] is not None]
            x = [row[column] / unit for row in rows]
            error = [100 - row["accuracy"] for row in rows]
            axis.errorbar(x, error, [row["deviation"] or 0 for row in rows], fmt=marker,
                          color=color, linestyle="none", capsize=2, elinewidth=1, label=study)
            everything += zip(x, error, [row["variant"] for row in rows], strict=True)
        base = next(row for study in studies for row in runs.studies[study]
                    if row["changes"] == "{}")
        point = base[column] / unit, 100 - base["accuracy"]
        axis.plot(*point, "*", color="black", markersize=12, label="base", zorder=5)
        front = []
        for x, error, _ in sorted([*everything, (*point, "base")]):
            if not front or error < front[-1][1]:
                front.append((x, error))
        axis.step(*zip(*front, strict=True), where="post", color="black", linewidth=1,
                  label="front", zorder=0)
        for x, error, name in everything:
            if (x, error) in front:
                axis.annotate(name, (x, error), xytext=(-5, -11), textcoords="offset points",
                              fontsize=8, ha="right")
        axis.set(xlabel=label, xscale="log")
        axis.margins(x=0.32, y=0.1)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    axes[0].set_ylabel("validation error (%)")
    axes[0].legend(fontsize=9)
    figure.suptitle(scale(runs), fontsize=10)
    return figure


def draw_optimizers(runs: Comparisons):
    """The optimizers, each at the rate that was best for it: the training loss over steps and over
    seconds, means over seeds, with the standard deviation as a band. The peak after three quarters
    is the change from small images to whole ones, whose steps take longer: an optimizer is judged
    here by how it bears that change too; compare the losses before and after it. The Muons and what
    is "on filters" leave biases and the head to SGD at rates of their own; the others have one rate
    for everything. Final validation accuracy is in the legend."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
    rows = runs.studies["optimizers"]
    names = [row["variant"] for row in rows]
    for row in reversed(sorted_by_effect(rows)):
        look = style(row["variant"], names)
        by_step: dict[int, list[dict]] = {}
        for point in runs.curves:
            if point["changes"] == row["changes"] and point["seed"]:
                by_step.setdefault(point["step"], []).append(point)
        if not by_step:
            continue
        loss = [[point["loss"] for point in points] for points in by_step.values()]
        mean = [statistics.mean(values) for values in loss]
        spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in loss]
        seconds = [statistics.mean(point["seconds"] for point in points)
                   for points in by_step.values()]
        label = f"{row['variant']}: {with_spread(row['accuracy'], None)} %"
        for axis, x in zip(axes, (list(by_step), seconds), strict=True):
            axis.plot(x, mean, **look, label=label)
            axis.fill_between(x, [m - s for m, s in zip(mean, spread, strict=True)],
                              [m + s for m, s in zip(mean, spread, strict=True)],
                              color=look["color"], alpha=0.2, linewidth=0)
    axes[0].set(xlabel=f"steps of {runs.base['batch_size']} images",
                ylabel="training loss (label-smoothed\ncross-entropy, nats)")
    axes[1].set_xlabel("seconds of training")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    figure.suptitle(scale(runs), fontsize=10)
    return figure


def draw_rates(runs: Comparisons):
    """How much the learning rate matters: validation accuracy of one run (seed 0) for each rate
    that was tried, the optimizers on the left, the losses (under Adam) on the right; circled the
    one that was kept. A wide top means little tuning. An optimizer whose best rate is the first or
    last may have a better one outside."""
    studies = [name for name in ("optimizers", "losses") if name in runs.studies]
    figure, axes = plt.subplots(1, len(studies), figsize=(max(8, 5.5 * len(studies)), 5),
                                squeeze=False, sharey=True)
    for axis, study in zip(axes[0], studies, strict=True):
        tuned = [row for row in runs.studies[study] if row["tries"] and " + " not in row["variant"]]
        names = [row["variant"] for row in tuned]
        for row in tuned:
            tries, kept = runs.tries(row)
            look = style(row["variant"], names)
            axis.plot(*zip(*tries, strict=True), marker=".", **look, label=row["variant"])
            axis.plot(*kept, "o", color=look["color"], markersize=11, fillstyle="none")
        axis.set(xscale="log", xlabel="learning rate", title=study)
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3,
                    handlelength=4)
    axes[0][0].set_ylabel("validation accuracy (%), seed 0")
    figure.suptitle(scale(runs), fontsize=10)
    return figure


FIGURES: dict[str, Callable] = {
    "01_effects": draw_effects, "02_losses": draw_losses, "03_cost": draw_cost,
    "04_optimizers": draw_optimizers, "05_learning_rates": draw_rates}
STUDIES_OF = {  # a figure needs one of these studies
    "01_effects": PANELS, "02_losses": ("losses",), "03_cost": SIZES,
    "04_optimizers": ("optimizers",), "05_learning_rates": ("optimizers",)}
