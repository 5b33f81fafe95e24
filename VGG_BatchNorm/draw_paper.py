"""The pictures of the paper and of the handout, each from the runs of a preset.

A function's docstring is its picture's caption.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from VGG_BatchNorm import findings
from VGG_BatchNorm.findings import PAPER, NotRun, Runs, find
from VGG_BatchNorm.ground.style import BATCH_NORM, PLAIN, plt
from VGG_BatchNorm.recorded import GRID

OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
PAIR = {"none": ("VGG-A", PLAIN), "batch": ("VGG-A with batch norm", BATCH_NORM)}


def pair(runs: Runs, lr: float = 0.1) -> list[tuple[str, str, list[dict]]]:
    """(label, colour, runs by seed) of the two nets at one learning rate."""
    group = "pair" if lr == 0.1 else "rates"
    return [(*look, find(runs, group, norm=norm, lr=lr)) for norm, look in PAIR.items()]


def scale(drawn: list[dict], *extra: str) -> str:
    """The scale of a picture of the runs `drawn`, for its face."""
    r = drawn[0]["run"]
    width = "" if r["width"] == 1 else f", width ×{r['width']:g}"
    lengths = sorted({run["run"]["steps"] for run in drawn})
    steps = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    alike = Counter(tuple((run["run"] | {"seed": None}).items()) for run in drawn).values()
    seeds = [" or ".join(map(str, sorted(set(alike)))) + " seeds"] if max(alike) > 1 else []
    images = f"{r['batch_size']} images out of {r['n_items']:,}"
    return "; ".join([f"VGG-A{width}, {steps} steps of {images}", *extra, *seeds])


def entitled(figure: plt.Figure, drawn: list[dict], *extra: str) -> plt.Figure:
    """The figure, with the scale of the runs `drawn` on its face."""
    figure.suptitle(scale(drawn, *extra), fontsize=11)
    return figure


def same_rates(sets: Iterable[list[dict]]) -> None:
    """Sets of runs are set against each other only where all are there.

    Raises:
        NotRun: their learning rates differ.
    """
    if len({tuple(run["run"]["lr"] for run in some) for some in sets}) > 1:
        raise NotRun


def running_mean(values: np.ndarray, window: int = 25) -> np.ndarray:
    """Mean of the last `window` values; of as many as there are at the start."""
    total = np.cumsum(np.insert(values.astype(float), 0, 0.0))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (total[1:] - total[first]) / (np.arange(1, len(values) + 1) - first)


def draw_training(runs: Runs):
    """Training with batch norm (blue) and without, at the paper's two learning rates. Lines are
    means over the last 25 batches, one for each seed; the pale ones behind are single batches of
    the first. The loss is on a logarithmic axis, since at large rates batch norm's first steps go
    far up before it comes down. It does not show why, nor where longer training would end."""
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
                axes[2].plot(run["validation_steps"], 100 * run["validation_accuracy"], style,
                             marker="o", markerfacecolor=face, color=colour, label=name)
            drawn += found
    axes[0].set(xlabel="step", ylabel="training accuracy (%)", ylim=(0, 100))
    axes[1].set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log")
    axes[2].set(xlabel="step", ylabel="validation accuracy (%)", xlim=(0, None), ylim=(0, 100))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  fontsize=9, handlelength=3)
    return entitled(figure, drawn, "plain SGD")


def draw_envelope(runs: Runs):
    """The handout's picture: at each step, the band between the lowest and the highest loss over
    four training runs that differ in learning rate alone. A narrow band low down means that the
    choice matters less. It mixes the rates' speeds with the landscape: a rate of 1e-4 is slow in
    any landscape. The next picture measures the landscape itself."""
    found = {(optimizer, norm): find(runs, "envelope", norm=norm, optimizer=optimizer)
             for optimizer in OPTIMIZERS for norm in PAIR}
    same_rates(found.values())
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    top = 0.0
    for (optimizer, norm), some in found.items():
        axis, (label, colour) = axes[list(OPTIMIZERS).index(optimizer)], PAIR[norm]
        losses = np.full((len(some), some[0]["run"]["steps"]), np.inf)  # off the scale: diverged
        for row, run in zip(losses, some, strict=True):
            row[: len(run["loss"])] = np.nan_to_num(run["loss"], nan=np.inf)
        top = max(top, losses[np.isfinite(losses)].max())
        min_curve, max_curve = losses.min(0), np.minimum(losses.max(0), 1e9)
        steps = np.arange(1, len(min_curve) + 1)
        axis.fill_between(steps, min_curve, max_curve, color=colour, alpha=0.35, linewidth=0,
                          label=label)
        for curve in (min_curve, max_curve):
            axis.plot(steps, curve, color=colour, linewidth=0.8)
        rates = ", ".join(f"{run['run']['lr']:g}" for run in some)
        axis.set(xlabel="step", title=f"{OPTIMIZERS[optimizer]}, LR {rates}")
    axes[0].set(ylabel="cross-entropy of the batch (nats)", yscale="log", ylim=(None, 1.1 * top))
    axes[1].legend(loc="lower left")
    return entitled(figure, some)


def draw_three_panels(runs: Runs):
    """The paper's figure 4: at each step, the loss and the gradient are measured ½, 1, 2 and 4
    learning rates along the gradient, on the same batch. Left: range of the loss. Middle: range of
    the distance between the gradient there and here; both of the first seed. Right: the largest
    distance divided by the length of the way, a line for each seed. Crosses: the shortest step
    gives the largest value, and the gradient has changed there by its own size already, give or
    take a tenth; then β is about 1 over that step (dotted), set by the grid and not by the
    landscape (07). The values belong to this net and rate; the paper's net is deeper. Smoothness in
    parameter space depends on the scale of the weights: see 08."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.9))
    drawn = []
    for label, colour, found in pair(runs):
        steps = found[0]["probe_steps"]
        for axis, name in zip(axes, ("losses", "distances"), strict=False):
            band = found[0][name][:, PAPER]
            axis.fill_between(steps, band.min(1), band.max(1), color=colour, alpha=0.35,
                              label=label)
        for run in found:
            beta, limited = run["smoothness"][:, PAPER].max(1), findings.grid_limited(run)
            axes[2].plot(run["probe_steps"], beta, color=colour, linewidth=1.2)
            axes[2].plot(run["probe_steps"][limited], beta[limited], "x", color=colour,
                         markersize=5)
        drawn += found
    axes[0].set(xlabel="step", ylabel="loss along the gradient (nats)", yscale="log",
                title="variation of the loss")
    axes[1].set(xlabel="step", ylabel="‖change of the gradient‖", ylim=(0, None),
                title="gradient predictiveness")
    axes[2].set(xlabel="step", ylabel="effective β", ylim=(0, None), title="effective β-smoothness")
    floor = 1 / (GRID[0] * drawn[0]["run"]["lr"])
    axes[2].axhline(floor, color="black", linestyle=":", linewidth=1.2, label="1 / shortest step")
    axes[2].plot([], [], "kx", markersize=5, label="set by the grid")
    axes[2].set_ylim(0, 1.25 * axes[2].get_ylim()[1])
    axes[2].legend(fontsize=9, loc="upper right")
    axes[0].legend(fontsize=9)
    return entitled(figure, drawn, f"SGD, LR {drawn[0]['run']['lr']:g}")


def draw_covariate_shift(runs: Runs):
    """Internal covariate shift by the paper's definition 2.1: how far each layer's gradient turns
    and moves when the layers before it take their step. Lines are medians over training and seeds,
    bands the middle half. Layer 1 has nothing before it. If batch norm worked by reducing this
    shift, blue would have to lie nearer to 0 (left) and to 1 (right)."""
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
    about = f"SGD, LR {drawn[0]['run']['lr']:g}", f"{len(moments)} moments in all"
    return entitled(figure, drawn, *about)


RESCUES = {  # (norm, warm-up?, only γ and β?): label and style
    ("none", False, False): ("no normalisation", PLAIN, "o-"),
    ("none", True, False): ("no normalisation, warm-up", PLAIN, "s--"),
    ("batch", False, False): ("batch norm", BATCH_NORM, "o-"),
    ("batch", False, True): ("batch norm, only γ and β trained", BATCH_NORM, "s--"),
    ("noisy_batch", False, False): ("noisy batch norm", "#56B4E9", "^-"),
    ("group", False, False): ("group norm", "#009E73", "D-"),
}


def draw_rescues(runs: Runs):
    """What else lets a net train at large rates? Accuracy after as many steps against learning
    rate: left over the last 50 training batches, as in the paper, right on held-out images. Warm-up
    is over the first third. A diverged run (cross) is at chance, the dotted line. Noisy batch norm
    is the paper's test of covariate shift: its activations jump at every step. Held-out images pass
    it without the noise, and so in another distribution than its running averages know. One run a
    point, and few steps: which net is best after long training is another question."""
    found = {key: [run for run in find(runs, "rescue", norm=key[0], only_norm=key[2])
                   if bool(run["run"]["warmup"]) == key[1]] for key in RESCUES}
    same_rates(found.values())
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True)
    for key, (label, colour, style) in RESCUES.items():
        rates = [run["run"]["lr"] for run in found[key]]
        lost = [run for run in found[key] if not np.isfinite(run["loss"][-1])]
        measures = findings.training_accuracy, findings.accuracy
        for axis, measure in zip(axes, measures, strict=True):
            axis.plot(rates, [measure(run) for run in found[key]], style, color=colour,
                      label=label, markersize=5)
            axis.plot([run["run"]["lr"] for run in lost], list(map(measure, lost)), "kx", zorder=3)
    for axis, name in zip(axes, ("training", "validation"), strict=True):
        axis.axhline(10, color="grey", linewidth=1, linestyle=":")
        axis.set(xlabel="learning rate", ylabel=f"{name} accuracy (%)", xscale="log",
                 ylim=(0, None))
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  fontsize=9, handlelength=3)
    return entitled(figure, sum(found.values(), []), "plain SGD")


def draw_activations(runs: Runs):
    """What the ReLUs of three layers are given, as training goes on: histograms of the values as
    their median, middle half and middle 90 %, each panel on its own scale; first seed. Batch norm
    holds the spread near γ; without it the spread drifts with the weights. That the distributions
    are steadier does not make them the cause: see 04."""
    layers = (0, 3, 7)
    figure, axes = plt.subplots(2, len(layers), figsize=(10, 5.2), sharex=True)
    for row, (label, colour, (run, *_)) in zip(axes, pair(runs), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            q = run["activation_quantiles"][:, layer]
            steps, bands = run["probe_steps"], ((q[:, 0], q[:, 4], 0.2), (q[:, 1], q[:, 3], 0.4))
            for low, high, alpha in bands:
                axis.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0)
            axis.plot(steps, q[:, 2], color=colour)
            axis.set_title(f"{label}, convolution {layer + 1}", fontsize=10)
        row[0].set_ylabel("input of the ReLU")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}")
