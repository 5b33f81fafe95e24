"""Draw the comparisons: `make compare` does, or

    python codes/plot_compare.py reports/results/compare/quick

Reads the files that compare.py left; writes five pictures, and README.md, which shows them with
captions, every study's table, and what did not help, to reports/figures/compare/<base>/. Trains nothing.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from matplotlib.ticker import LogLocator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.compare_results import Results, by_study, clear, judged, sorted_by_effect, table, with_spread
from codes.studies import STUDIES, Variant, variants
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, atomic_write
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import PALETTE, plt, save_figure

PANELS = ("optimizers", "whole_images", "activations", "components", "augmentation", "widths", "depth")
SIZES = ("widths", "depth")  # what changes the network's cost

VARIANT_OF = {"DampedMuon, not annealed": "DampedMuon (ours)", "SGD, Nesterov, on filters": "SGD, Nesterov",
              "Adam on filters": "Adam"}


class Comparisons(Results):
    """The runs of a base, and summary.csv by study."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.studies = by_study(folder)
        if not self.studies:
            raise UserError(f"no finished study in {folder}; `make compare` makes one")

    def tries(self, study: str, row: dict) -> tuple[list[tuple[float, float]], tuple[float, float]]:
        """(learning rate, accuracy in percent on seed 0) of a row's tries, and of the one that was kept."""
        kept = json.loads(row["changes"]).get("lr", self.base["lr"])
        variant = next((v for v in variants(study, self.base, {}) if v.name == row["variant"]), Variant(""))
        found = [(one["lr"], self.find(variant.changes | one, 0)) for one in variant.tries]
        found = [(lr, judged(run)) for lr, run in found if run and not run["failure"]]
        return found, next((one for one in found if one[0] == kept), (float("nan"), float("nan")))


def scale(runs: Comparisons) -> str:
    """What the pictures are of, for their faces."""
    base = runs.base
    n = sorted({int(row["n"]) for rows in runs.studies.values() for row in rows})
    seeds = " to ".join(str(number) for number in dict.fromkeys((n[0], n[-1])))
    return (f"CifarNet {', '.join(map(str, base['widths']))}; {base['epochs']} epochs, batches of "
            f"{base['batch_size']}; {seeds} seeds; {runs.rows[0]['device'].partition(',')[0]}")


def style(name: str, names: list[str]) -> dict:
    """A colour for each; what is another's variant has its colour, dashed."""
    mine = VARIANT_OF.get(name, name)
    whole = [one for one in names if one not in VARIANT_OF][:len(PALETTE)]
    return dict(color=PALETTE[whole.index(mine)] if mine in whole else "#777777",
                linestyle="-" if mine == name else "--")


def draw_effects(runs: Comparisons):
    """What one change does to the base. The difference in validation accuracy from the study's first variant
    (dashed line), seed by seed (dots; the same first weights and batches where the net is the same) and in
    the mean, with two standard errors over seeds (from its own deviation or the study's pooled one, whichever
    is larger); filled and coloured where that leaves zero out (blue: better, orange: worse). Each panel has
    its own scale. It says nothing of longer training, in which dropout, strong augmentation and depth are
    known to do better than in a few epochs. Nets without norm are held together by Muon, which keeps the norm
    of their filters."""
    studies = [name for name in PANELS if name in runs.studies]
    columns = min(2, len(studies))
    figure, axes = plt.subplots(-(-len(studies) // columns), columns, squeeze=False,
                                figsize=(max(8, 5.5 * columns), 2.9 * -(-len(studies) // columns)))
    for axis, study in zip(axes.flat, studies, strict=False):
        rows = [row for row in sorted_by_effect(runs.studies[study][1:]) if row["difference"] != ""]
        first = accuracies(runs, runs.studies[study][0])
        for y, row in enumerate(rows):
            seeds = [value - first[seed] for seed, value in accuracies(runs, row).items() if seed in first]
            mean, sure = float(row["difference"]), clear(row)
            color = PALETTE[0] if sure and mean > 0 else PALETTE[1] if sure else "#777777"
            axis.plot(seeds, [y] * len(seeds), ".", color=color, alpha=0.45)
            axis.errorbar(mean, y, xerr=float(row["uncertainty"] or 0), fmt="o", color=color, capsize=3,
                          markerfacecolor=color if sure else "white")
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
    """Accuracy in percent by seed, of the runs of a row that did not fail."""
    return {seed: judged(run) for seed, run in runs.seeds(row["changes"]).items() if not run["failure"]}


def draw_losses(runs: Comparisons):
    """Loss by regularisation: validation accuracy in percent, mean ± standard deviation over seeds, all
    under Adam, whose rate was tuned for each loss; the strength of a regulariser was tuned on
    cross-entropy. L2 enters the gradient and is rescaled by Adam, decoupled decay is not
    (Loshchilov & Hutter 2019). Outlined: the best."""
    rows = {row["variant"]: row for row in runs.studies["losses"]}
    losses = [name for name in rows if " + " not in name]
    added = ["none", *dict.fromkeys(name.partition(" + ")[2] for name in rows if " + " in name)]
    cells = [[rows.get(loss if reg == "none" else f"{loss} + {reg}") for reg in added] for loss in losses]
    values = [[float(cell["accuracy"] or "nan") if cell else float("nan") for cell in line] for line in cells]
    figure, axis = plt.subplots(figsize=(7.5, 4))
    picture = axis.imshow(values, cmap="cividis", aspect="auto")
    middle = statistics.mean(picture.get_clim())
    best = max(max(line) for line in values)
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            if cell:
                axis.text(x, y, with_spread(cell["accuracy"], cell["deviation"]), ha="center", va="center",
                          color="white" if values[y][x] < middle else "black", fontsize=10)
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
    """What accuracy costs: validation error against parameters and against the FLOPs of training, on
    logarithmic axes, for every net of the studies named in the legend; bars are standard deviations over
    seeds. The line is the front, of means: no net to the left of it is better. All train for as many
    epochs; it does not show what a net would reach if each had the epochs that suit it."""
    studies = [name for name in SIZES if name in runs.studies]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, column, label, unit in ((axes[0], "parameters", "parameters (thousands)", 1e3),
                                      (axes[1], "flops", "FLOPs to train (10¹²)", 1e12)):
        everything = []
        for study, color, marker in zip(studies, PALETTE, "osD^", strict=False):
            rows = [row for row in runs.studies[study] if row["changes"] != "{}" and row["accuracy"] != ""]
            x = [float(row[column]) / unit for row in rows]
            error = [100 - float(row["accuracy"]) for row in rows]
            axis.errorbar(x, error, [float(row["deviation"] or 0) for row in rows], fmt=marker, color=color,
                          linestyle="none", capsize=2, elinewidth=1, label=study)
            everything += zip(x, error, [row["variant"] for row in rows], strict=True)
        base = next(row for study in studies for row in runs.studies[study] if row["changes"] == "{}")
        point = float(base[column]) / unit, 100 - float(base["accuracy"])
        axis.plot(*point, "*", color="black", markersize=12, label="base", zorder=5)
        front = []
        for x, error, _ in sorted([*everything, (*point, "base")]):
            if not front or error < front[-1][1]:
                front.append((x, error))
        axis.step(*zip(*front, strict=True), where="post", color="black", linewidth=1, label="front",
                  zorder=0)
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
    """The optimizers, each at the rate that was best for it: the training loss over steps and over seconds,
    means over seeds, with the standard deviation as a band. The peak after three quarters is the change from
    small images to whole ones, whose steps take longer: an optimizer is judged here by how it bears that
    change too; compare the losses before and after it. The Muons and what is "on filters" leave biases
    and the head to SGD at rates of their own; the others have one rate for everything. Final
    validation accuracy is in the legend."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
    rows = runs.studies["optimizers"]
    names = [row["variant"] for row in rows]
    for row in reversed(sorted_by_effect(rows)):
        look = style(row["variant"], names)
        by_step: dict[int, list[dict]] = {}
        for point in runs.curves:
            if point["changes"] == row["changes"] and point["seed"] != "0":
                by_step.setdefault(int(point["step"]), []).append(point)
        if not by_step:
            continue
        loss = [[float(point["loss"]) for point in points] for points in by_step.values()]
        mean = [statistics.mean(values) for values in loss]
        spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in loss]
        seconds = [statistics.mean(float(p["seconds"]) for p in points) for points in by_step.values()]
        for axis, x in zip(axes, (list(by_step), seconds), strict=True):
            axis.plot(x, mean, **look, label=f"{row['variant']}: {with_spread(row['accuracy'], '')} %")
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
    """How much the learning rate matters: validation accuracy of one run (seed 0) for each rate that was
    tried, the optimizers on the left, the losses (under Adam) on the right; circled the one that was kept. A
    wide top means little tuning. An optimizer whose best rate is the first or last may have
    a better one outside."""
    studies = [name for name in ("optimizers", "losses") if name in runs.studies]
    figure, axes = plt.subplots(1, len(studies), figsize=(max(8, 5.5 * len(studies)), 5),
                                squeeze=False, sharey=True)
    for axis, study in zip(axes[0], studies, strict=True):
        tuned = [row for row in runs.studies[study] if int(row["tries"]) and " + " not in row["variant"]]
        names = [row["variant"] for row in tuned]
        for row in tuned:
            tries, kept = runs.tries(study, row)
            look = style(row["variant"], names)
            axis.plot(*zip(*tries, strict=True), marker=".", **look, label=row["variant"])
            axis.plot(*kept, "o", color=look["color"], markersize=11, fillstyle="none")
        axis.set(xscale="log", xlabel="learning rate", title=study)
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, handlelength=4)
    axes[0][0].set_ylabel("validation accuracy (%), seed 0")
    figure.suptitle(scale(runs), fontsize=10)
    return figure


FIGURES = {  # name: (studies of which it needs one, function); a function's docstring is the caption
    "01_effects": (PANELS, draw_effects),
    "02_losses": (("losses",), draw_losses),
    "03_cost": (SIZES, draw_cost),
    "04_optimizers": (("optimizers",), draw_optimizers),
    "05_learning_rates": (("optimizers",), draw_rates),
}


def without_effect(runs: Comparisons) -> str:
    """All that did not help, with numbers: worse than its study's first variant, or not clearly better."""
    lines = ["| study | variant | difference (points) | |", "|---|---|---|---|"]
    for study in (name for name in STUDIES if name in runs.studies):
        for row in reversed(sorted_by_effect(runs.studies[study][1:])):
            if not (clear(row) and float(row["difference"]) > 0):
                what = "worse" if clear(row) else "failed" if row["accuracy"] == "" else "no clear difference"
                lines.append(f"| {study} | {row['variant']} | "
                             f"{with_spread(row['difference'], row['uncertainty'], '+')} | {what} |")
    return "\n".join(lines)


def newest(results: Path) -> Path:
    found = sorted(results.glob("*/summary.csv"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"no finished study in {results}; `make compare` makes one")
    return found[-1].parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="folder of a base (default: the newest)")
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    args = parser.parse_args()
    folder = args.results or newest(RESULTS_DIR / "compare")
    runs = Comparisons(folder)
    out = args.out or FIGURES_DIR / "compare" / folder.resolve().name
    text = ["# What makes the network better: one factor at a time\n",
            f"Drawn by `codes/plot_compare.py`; the base: {scale(runs)}.\n"]
    for name, (studies, draw) in FIGURES.items():
        if set(studies) & set(runs.studies):
            save_figure(draw(runs), out / f"{name}.png")
            print(f"picture    {out / name}.png")
            text.append(f"![{name}]({name}.png)\n\n**{name[:2]}** {' '.join(draw.__doc__.split())}\n")
    for study in (name for name in STUDIES if name in runs.studies):
        text.append(f"## {study}\n\n{table(runs.studies[study])}\n")
    text.append(f"## What did not help\n\n{without_effect(runs)}\n")
    with atomic_write(out / "README.md") as file:
        file.write("\n".join(text).encode())
    print(f"page       {out / 'README.md'}")


if __name__ == "__main__":
    run_main(main)
