"""Draw the batch-norm study: `make bn-landscape` does, or

    python VGG_BatchNorm/plot_landscape.py reports/results/bn/quick      # default: the newest preset

Reads the runs of one preset; writes ten pictures, and README.md, which shows them with captions and
sets the paper's claims against the numbers, to reports/figures/bn/<preset>/. Trains nothing; a
picture whose runs are missing is left out.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.figures import BATCH_NORM, PLAIN, plt, save_figure
from VGG_BatchNorm.findings import PAPER, NotRun, Runs, accuracy, find, grid_limited, read_runs, table
from VGG_BatchNorm.probes import FINE_GRID, GRID
from VGG_BatchNorm.runs import FIGURES_DIR, RESULTS_DIR, UserError, atomic_write, run_main

PAIR = {"none": ("VGG-A", PLAIN), "batch": ("VGG-A with batch norm", BATCH_NORM)}


def pair(runs: Runs, lr: float = 0.1) -> list[tuple[str, str, list[dict]]]:
    """(label, colour, runs by seed) of the two nets at one learning rate."""
    group = "pair" if lr == 0.1 else "rates"
    return [(label, colour, find(runs, group, norm=norm, lr=lr)) for norm, (label, colour) in PAIR.items()]


def scale(drawn: list[dict], *extra: str) -> str:
    """The scale of a picture of the runs `drawn`, for its face."""
    r = drawn[0]["run"]
    width = "" if r["width"] == 1 else f", width ×{r['width']:g}"
    lengths = sorted({run["run"]["steps"] for run in drawn})
    steps = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    seeds = len({run["run"]["seed"] for run in drawn})
    return "; ".join([f"VGG-A{width}, {steps} steps of {r['batch_size']} images out of {r['n_items']:,}",
                      *extra, *[f"{seeds} seeds"] * (seeds > 1)])


def running_mean(values: np.ndarray, window: int = 25) -> np.ndarray:
    """Mean of the last `window` values; of as many as there are at the start."""
    total = np.cumsum(np.insert(values.astype(float), 0, 0.0))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (total[1:] - total[first]) / (np.arange(1, len(values) + 1) - first)


def draw_training(runs: Runs):
    """With batch norm (blue) training is faster at the same learning rate, and at 0.5, where the plain
    net learns nothing, it still learns. Lines are means over the last 25 batches, one for each seed;
    the pale ones behind are single batches of the first. It does not show why, nor that batch norm
    ends higher: the runs are short."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8))
    drawn = []
    for lr, style, face in ((0.1, "-", None), (0.5, "--", "white")):
        for label, colour, found in pair(runs, lr):
            for i, run in enumerate(found):
                steps = np.arange(1, len(run["loss"]) + 1)
                accuracy = 100 * run["correct"] / run["run"]["batch_size"]
                for axis, values in zip(axes, (accuracy, run["loss"]), strict=False):
                    axis.plot(steps, values, color=colour, alpha=0.12 * (i == 0), linewidth=0.6)
                    axis.plot(steps, running_mean(values), style, color=colour, linewidth=1.4)
                name = f"{label}, LR {lr:g}" if i == 0 else None
                axes[2].plot(run["validation_steps"], 100 * run["validation_accuracy"], style, marker="o",
                             markerfacecolor=face, color=colour, label=name)
            drawn += found
    axes[0].set(xlabel="step", ylabel="training accuracy (%)", ylim=(0, 100))
    axes[1].set(xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, 3.5))
    axes[2].set(xlabel="step", ylabel="validation accuracy (%)", xlim=(0, None), ylim=(0, 100))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9,
                  handlelength=3)
    figure.suptitle(scale(drawn, "plain SGD"), fontsize=11)
    return figure


def draw_envelope(runs: Runs):
    """The handout's picture: at each step, the band between the lowest and the highest loss over
    four training runs that differ in learning rate alone. A narrow band low down means that the
    choice matters less. It mixes the rates' speeds with the landscape: a rate of 1e-4 is slow in
    any landscape. The next picture measures the landscape itself."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, optimizer in zip(axes, ("adam", "sgd"), strict=True):
        for norm, (label, colour) in PAIR.items():
            found = find(runs, "envelope", norm=norm, optimizer=optimizer)
            losses = np.full((len(found), found[0]["run"]["steps"]), 1e9)  # a diverged run is off the scale
            for row, run in zip(losses, found, strict=True):
                row[: len(run["loss"])] = np.nan_to_num(run["loss"], nan=1e9, posinf=1e9)
            min_curve, max_curve = losses.min(0), losses.max(0)
            steps = np.arange(1, len(min_curve) + 1)
            axis.fill_between(steps, min_curve, max_curve, color=colour, alpha=0.35, linewidth=0, label=label)
            axis.plot(steps, min_curve, color=colour, linewidth=0.8)
            axis.plot(steps, max_curve, color=colour, linewidth=0.8)
        rates = ", ".join(f"{run['run']['lr']:g}" for run in found)
        axis.set(xlabel="step", title=f"{optimizer.upper() if optimizer == 'sgd' else 'Adam'}, LR {rates}")
    axes[0].set(ylabel="cross-entropy of the batch (nats)", ylim=(0, 4))
    axes[1].legend(loc="lower left")
    figure.suptitle(scale(found), fontsize=11)
    return figure


def draw_three_panels(runs: Runs):
    """The paper's figure 4: at each step, the loss and the gradient are measured ½, 1, 2 and 4
    learning rates along the gradient, on the same batch. Left: range of the loss. Middle: range of
    the distance between the gradient there and here; both of the first seed. Right: the largest
    distance divided by the length of the way, a line for each seed. Crosses: the gradient has changed by
    as much as its own size at the shortest step already; then β is about 1 over that step, set by
    the grid and not by the landscape (07). The values belong to this net and rate; the paper's net is
    deeper. Smoothness in parameter space depends on the scale of the weights: see 08."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.9))
    drawn = []
    for label, colour, found in pair(runs):
        steps = found[0]["probe_steps"]
        for axis, name in zip(axes, ("losses", "distances"), strict=False):
            band = found[0][name][:, PAPER]
            axis.fill_between(steps, band.min(1), band.max(1), color=colour, alpha=0.35, label=label)
        for run in found:
            beta, limited = run["smoothness"][:, PAPER].max(1), grid_limited(run)
            axes[2].plot(run["probe_steps"], beta, color=colour, linewidth=1.4)
            axes[2].plot(run["probe_steps"][limited], beta[limited], "x", color=colour, markersize=5)
        drawn += found
    axes[0].set(xlabel="step", ylabel="loss along the gradient (nats)", yscale="log",
                title="variation of the loss")
    axes[1].set(xlabel="step", ylabel="‖change of the gradient‖", ylim=(0, None),
                title="gradient predictiveness")
    axes[2].set(xlabel="step", ylabel="effective β", ylim=(0, None), title="effective β-smoothness")
    axes[2].plot([], [], "kx", markersize=5, label="set by the grid")
    axes[2].set_ylim(0, 1.15 * axes[2].get_ylim()[1])
    axes[2].legend(fontsize=9, loc="upper right")
    axes[0].legend(fontsize=9)
    figure.suptitle(scale(drawn, f"SGD, LR {drawn[0]['run']['lr']:g}"), fontsize=11)
    return figure


def draw_covariate_shift(runs: Runs):
    """Internal covariate shift by the paper's definition 2.1: how far each layer's gradient turns and
    moves when the layers before it take their step. Lines are medians over training and seeds, bands
    the middle half. Layer 1 has nothing before it. If batch norm worked by reducing this shift, blue
    would have to lie nearer to 0 (left) and to 1 (right)."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    drawn = []
    for label, colour, found in pair(runs):
        for axis, name in zip(axes, ("shift_relative", "shift_cosine"), strict=True):
            moments = np.concatenate([run[name] for run in found])
            layers = np.arange(1, moments.shape[1] + 1)
            low, middle, high = np.nanpercentile(moments, (25, 50, 75), axis=0)
            axis.fill_between(layers, low, high, color=colour, alpha=0.25, linewidth=0)
            axis.plot(layers, middle, "o-", color=colour, label=label)
        drawn += found
    axes[0].set(xlabel="layer", ylabel="‖G − G′‖ / ‖G‖", ylim=(0, None))
    axes[1].set(xlabel="layer", ylabel="cosine of G and G′")
    axes[0].legend(fontsize=9)
    about = f"SGD, LR {drawn[0]['run']['lr']:g}", f"{len(moments)} moments"
    figure.suptitle(scale(drawn, *about), fontsize=11)
    return figure


RESCUES = {  # (norm, warm-up?, only γ and β?): label and style
    ("none", False, False): ("no normalisation", PLAIN, "o-"),
    ("none", True, False): ("no normalisation, warm-up", PLAIN, "s--"),
    ("batch", False, False): ("batch norm", BATCH_NORM, "o-"),
    ("batch", False, True): ("batch norm, only γ and β trained", BATCH_NORM, "s--"),
    ("noisy_batch", False, False): ("noisy batch norm", "#56B4E9", "^-"),
    ("group", False, False): ("group norm", "#009E73", "D-"),
}


def draw_rescues(runs: Runs):
    """Accuracy after the same number of steps against the learning rate. Batch norm widens the range of
    rates that work; the other curves ask what else does. Each point is one short run: which curve
    ends highest after long training is another question."""
    figure, axis = plt.subplots(figsize=(7.5, 4.4))
    drawn = []
    for (norm, warmup, only_norm), (label, colour, style) in RESCUES.items():
        found = find(runs, "rescue", norm=norm, only_norm=only_norm)
        found = [r for r in found if bool(r["run"]["warmup"]) == warmup]
        axis.plot([r["run"]["lr"] for r in found], [accuracy(r) for r in found], style,
                  color=colour, label=label)
        drawn += found
    axis.axhline(10, color="grey", linewidth=1, linestyle=":")
    axis.set(xlabel="learning rate", ylabel="validation accuracy (%)", xscale="log", ylim=(0, 100))
    axis.legend(fontsize=9, ncols=2, loc="upper left")
    figure.suptitle(scale(drawn, "plain SGD"), fontsize=11)
    return figure


def draw_activations(runs: Runs):
    """What the ReLUs of three layers are given, as training goes on: median, middle half and middle
    90 % of the values. Batch norm holds the spread near γ; without it the spread drifts with the
    weights. That the distributions are steadier does not make them the cause: see 04."""
    layers = (0, 3, 7)
    figure, axes = plt.subplots(2, len(layers), figsize=(10, 5.2), sharex=True)
    for row, (label, colour, (run, *_)) in zip(axes, pair(runs), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            q = run["activation_quantiles"][:, layer]
            axis.fill_between(run["probe_steps"], q[:, 0], q[:, 4], color=colour, alpha=0.2, linewidth=0)
            axis.fill_between(run["probe_steps"], q[:, 1], q[:, 3], color=colour, alpha=0.4, linewidth=0)
            axis.plot(run["probe_steps"], q[:, 2], color=colour)
            axis.set_title(f"{label}, convolution {layer + 1}", fontsize=10)
        row[0].set_ylabel("input of the ReLU")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    figure.suptitle(scale([run], f"SGD, LR {run['run']['lr']:g}"), fontsize=11)
    return figure


def draw_edge(runs: Runs):
    """Is the plateau of β the grid's floor or the edge of stability? Mean secant ‖Δg‖/(α‖g‖) over the
    second half of training, for steps α from 2⁻⁸ to 4 learning rates. Dashed: 2/LR, where gradient
    descent on a quadratic becomes unstable; on the paper's grid, from ½ LR on, that is also the largest
    value a vanishing gradient could give. Left of ½ LR the two part."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    drawn = []
    for lr, style, marker in ((0.05, ":", "v"), (0.1, "-", "o"), (0.2, "--", "^")):
        for axis, (label, colour, (run, *_)) in zip(axes, pair(runs, lr), strict=True):
            drawn.append(run)
            fine = ~np.isnan(run["smoothness"]).any(1)
            late = run["probe_steps"] >= len(run["loss"]) / 2
            secants = run["smoothness"][fine & late if (fine & late).any() else fine]
            axis.plot(lr * np.array(FINE_GRID), secants.mean(0), style, marker=marker, markersize=4,
                      color=colour, label=f"LR {lr:g}")
            axis.axhline(2 / lr, color="grey", linewidth=1, linestyle=style)
            axis.text(lr * FINE_GRID[0], 2 / lr, f"2/{lr:g}", fontsize=8, color="grey", va="bottom")
            axis.axvspan(lr * GRID[0], lr * GRID[-1], ymax=0.02, color="black", alpha=0.15)
            axis.set(xscale="log", yscale="log", xlabel="length of the step α", title=label)
    axes[0].set(ylabel="secant β(α)")
    for axis in axes:
        axis.legend(fontsize=9)
    figure.suptitle(scale(drawn, "plain SGD", "grey bars at the foot: the paper's grid"), fontsize=11)
    return figure


def draw_scaling(runs: Runs):
    """All filters of the trained nets multiplied by c. With batch norm the loss stays, yet β falls as c⁻²:
    the same function, another smoothness. A smaller β is thus no property of the function alone,
    and comparing two nets' β says little unless their weights' scales are compared too. Without batch norm
    the function itself changes."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
    for label, colour, (run, *_) in pair(runs):
        c = run["scale"]
        axes[0].plot(c, run["scale_loss"], "o-", color=colour, label=label)
        axes[1].plot(c, np.abs(run["scale_rayleigh"]), "o-", color=colour, label=label)
    axes[1].plot(c, np.abs(run["scale_rayleigh"][c == 1]) / c**2, ":", color="grey", label="c⁻²")
    axes[0].set(xlabel="factor c of the filters", ylabel="loss (nats)", xscale="log", yscale="log")
    axes[1].set(xlabel="factor c of the filters", ylabel="|gᵀHg| / ‖g‖²", xscale="log", yscale="log")
    for axis in axes:
        axis.set_xticks(c, [f"{value:g}" for value in c])
        axis.minorticks_off()
        axis.legend(fontsize=9)
    figure.suptitle(scale([run], f"SGD, LR {run['run']['lr']:g}", "after the last step"), fontsize=11)
    return figure


def draw_start(runs: Runs):
    """The first steps, densely. Left: β. Right: size of the gradient by the input of each ReLU, at the
    first step and a hundred later. At the start batch norm can be the rougher of the two, and its gradients
    grow towards the input; the advantage comes with training."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    for label, colour, (run, *_) in pair(runs):
        early = run["probe_steps"] <= run["run"]["dense"]
        beta = run["smoothness"][early, PAPER].max(1)
        axes[0].plot(run["probe_steps"][early], beta, "o-", markersize=3, color=colour, label=label)
        for step, style in ((0, "o-"), (100, "s--")):
            at = np.flatnonzero(run["probe_steps"] == step)
            if len(at):
                norms = run["activation_gradient_norms"][at[0]]
                axes[1].plot(np.arange(1, len(norms) + 1), norms, style, markersize=4, color=colour,
                             label=f"{label}, step {step}")
    axes[0].set(xlabel="step", ylabel="effective β", ylim=(0, None))
    axes[1].set(xlabel="ReLU, from the input on", ylabel="‖∂L/∂input‖", yscale="log")
    axes[0].legend(fontsize=9)
    axes[1].legend(fontsize=8)
    figure.suptitle(scale([run], f"SGD, LR {run['run']['lr']:g}"), fontsize=11)
    return figure


def draw_map(runs: Runs):
    """How long the gradient stays good: change of the gradient relative to its size (above) and its cosine
    with itself (below), over the length of the step (upwards) and training (to the right). Dark below:
    a step of that length ends where the gradient no longer points the same way."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, sharey=True)
    for column, (label, _, (run, *_)) in zip(axes.T, pair(runs), strict=True):
        fine = ~np.isnan(run["distances"]).any(1)
        steps, alphas = run["probe_steps"][fine], run["run"]["lr"] * np.array(FINE_GRID)
        change = run["distances"][fine] / run["gradient_norm"][fine, None]
        cosines = run["cosines"][fine]
        images = (column[0].pcolormesh(steps, alphas, np.log10(change).T, cmap="cividis", vmin=-2, vmax=1),
                  column[1].pcolormesh(steps, alphas, cosines.T, cmap="cividis", vmin=-1, vmax=1))
        column[0].set(title=label, yscale="log")
        column[1].set(xlabel="step")
        for axis in column:
            axis.grid(False)
            axis.set_ylabel("length of the step α") if column[0] is axes[0, 0] else None
    figure.colorbar(images[0], ax=axes[0], label="log₁₀ ‖Δg‖ / ‖g‖")
    figure.colorbar(images[1], ax=axes[1], label="cosine")
    figure.suptitle(scale([run], f"SGD, LR {run['run']['lr']:g}"), fontsize=11)
    return figure


FIGURES: dict[str, Callable] = {
    "01_training": draw_training, "02_learning_rate_envelope": draw_envelope,
    "03_loss_landscape": draw_three_panels, "04_internal_covariate_shift": draw_covariate_shift,
    "05_rescues": draw_rescues, "06_activations": draw_activations,
    "07_edge_of_stability": draw_edge, "08_rescaled_filters": draw_scaling,
    "09_first_steps": draw_start, "10_gradient_map": draw_map,
}


def newest(results: Path) -> Path:
    folders = sorted((path.parent for path in results.glob("*/summary.csv")), key=lambda p: p.stat().st_mtime)
    if not folders:
        raise UserError(f"no finished study in {results}; `make bn-landscape` makes one")
    return folders[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="folder of a preset")
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    args = parser.parse_args()
    folder = (args.results or newest(RESULTS_DIR / "bn")).resolve()
    args.out = args.out or FIGURES_DIR / "bn" / folder.name
    runs = read_runs(folder)
    text = ["# Why batch normalisation helps: the pictures\n",
            f"Drawn by `VGG_BatchNorm/plot_landscape.py` from the preset `{folder.name}`.\n",
            table(runs) + "\n"]
    for name, draw in FIGURES.items():
        try:
            save_figure(draw(runs), args.out / f"{name}.png")
        except NotRun:
            print(f"{name}: its runs are not there", file=sys.stderr)
            continue
        caption = " ".join(draw.__doc__.split())
        text.append(f"![{name}]({name}.png)\n\n**{name[:2]}** {caption}\n")
        print(f"picture    {args.out / name}.png")
    if len(text) == 3:
        raise UserError(f"{folder} holds none of the runs that the pictures need")
    with atomic_write(args.out / "README.md") as file:
        file.write("\n".join(text).encode())


if __name__ == "__main__":
    run_main(main)
