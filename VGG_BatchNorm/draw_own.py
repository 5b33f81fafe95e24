"""Pictures that the paper does not have: what its measures hide; and FIGURES, all of the study's.

    FIGURES["01_training"](read_runs(folder))  # a figure; its caption: the function's docstring

Of a docstring, what follows the first paragraph is what the runs of the preset `full` show."""

import itertools
from collections.abc import Callable

import numpy as np

from VGG_BatchNorm import draw_paper, measures
from VGG_BatchNorm.draw_paper import MARKS, PAIR, entitled, pair, running_mean, running_median
from VGG_BatchNorm.ground.style import AMBER, BATCH_NORM, BROWN, INDIGO, PLAIN, SKY, TEAL, plt
from VGG_BatchNorm.measures import CONVOLUTIONS, PAPER, SHORTEST, NotRun, Runs, find
from VGG_BatchNorm.run_files import FINE_GRID


def draw_edge(runs: Runs):
    """Training near the edge of stability. κ is the curvature of the loss along the gradient, of
    one batch and on that batch, from the loss a sixteenth of a learning rate on; were there no
    kinks, it would be at most the largest eigenvalue of that batch's Hessian along the way. (In
    picture 08 it is by a Hessian-vector product, which sees no kinks.) On a quadratic, a step of
    gradient descent at rate η raises the loss where η·κ > 2 (above the black line), and gradient
    descent is unstable there (Cohen et al. 2021); η·κ < 2 does not exclude that it is. Left and
    middle: η·κ over training, a line for each learning rate, from dark to yellow (first seed,
    median over three probes, which are 25 or 100 steps apart). Right: its median from step 200 on,
    of shorter runs at the last probe, mean over seeds, against the learning rate, with the middle
    half of all probes; dashed: with a single linear layer. The points are moved sideways a little.
    Crosses: training has failed (training accuracy below 15 % at the last of these steps).

    With batch norm the first steps are off the scale from a rate of 0.1 on. From about step 750 on
    (not shown), at 0.1, η·κ rises with batch norm; without, it does so when its loss has fallen as
    far."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.3), sharey=True, width_ratios=(4, 4, 5))
    rates = sorted({lr for norm in PAIR for lr in measures.at_rates(runs, norm)})
    looks = {lr: dict(color=shade, marker=mark, markersize=4, linewidth=1.2) for lr, shade, mark in
             zip(rates, plt.get_cmap("viridis")(np.linspace(0, 0.95, len(rates))),
                 itertools.cycle("osD^v*P"), strict=False)}
    for lr, look in looks.items():
        axes[1].plot([], [], **look, label=f"{lr:g}")
    for axis, (norm, (label, colour)), moved in zip(axes, PAIR.items(), (0.97, 1.03), strict=False):
        by_rate = measures.at_rates(runs, norm)
        _edge_over_training(axis, by_rate, looks)
        axis.set(title=label, xlabel="step", ylim=(-0.5, 5))
        look = dict(color=colour, markersize=5, label=label, capsize=3)
        _edge_by_rate(axes[2], by_rate, moved, f"{MARKS[colour]}-", quartiles=True, **look)
        single = [run for run in runs.values() if run["run"]["head"] == "single"
                  and run["run"]["norm"] == norm]
        if single:
            look = dict(color=colour, markersize=4, linewidth=1)
            _edge_by_rate(axes[2], measures.by_rate(single), moved, f"{MARKS[colour]}--", **look)
    for axis in axes:
        axis.axhline(2, color="black", linewidth=1.2)
    axes[0].set_ylabel("η·κ")
    figure.legend(*axes[1].get_legend_handles_labels(), title="left and middle: learning rate η",
                  ncols=len(rates), loc="outside lower center")
    axes[2].plot([], [], "k--", linewidth=1, label="single linear layer")
    axes[2].plot([], [], "kx", markersize=8, label="failed")
    drawn = [run for norm in PAIR for some in measures.at_rates(runs, norm).values()
             for run in some]
    end = min(SHORTEST, *(run["run"]["steps"] for run in drawn))
    axes[2].set(title=f"medians, steps 200 to {end}" if end > 200 else "median or last probe",
                xlabel="learning rate η", xscale="log")
    names = axes[2].set_xticks(rates, [f"{rate:g}" for rate in rates])
    for (low, rate), (high, after) in itertools.pairwise(zip(names, rates, strict=True)):
        if after < 1.3 * rate:  # their labels would touch
            low.label1.set_ha("right")
            high.label1.set_ha("left")
    axes[2].minorticks_off()
    axes[2].legend(loc="upper left", ncols=2, columnspacing=1)
    return entitled(figure, drawn, "plain SGD", first=SHORTEST)


def _edge_over_training(axis, by_rate: dict[float, list[dict]], looks: dict[float, dict]) -> None:
    """Draw η·κ of the first run of each rate, a median over three probes, up to step SHORTEST."""
    for lr, some in by_rate.items():
        steps, values = measures.rate_times_curvature(some[0])
        order = np.argsort(steps)
        shown = (steps <= SHORTEST).sum()
        axis.plot(steps[order][:shown], running_median(values[order], 1)[:shown], **looks[lr])


def _edge_by_rate(axis, by_rate: dict[float, list[dict]], moved: float, style: str,
                  quartiles: bool = False, **look) -> None:
    """Draw the median of η·κ from step 200 to SHORTEST, a mean over the runs of each rate, with the
    middle half of all probes if `quartiles`; a cross where training failed."""
    finite = list(map(measures.finite, by_rate.values()))
    middle = np.array([np.mean([measures.edge_median(run, SHORTEST) for run in some])
                       for some in finite])
    bars = None
    if quartiles:
        probes = [np.concatenate([measures.late_edge(run, SHORTEST) for run in some])
                  for some in finite]
        low, high = np.transpose([np.percentile(some, (25, 75)) for some in probes])
        bars = np.maximum(0, (middle - low, high - middle))  # the mean may lie outside them
    at = moved * np.array(list(by_rate))
    axis.errorbar(at, middle, bars, fmt=style, **look)
    failed = [measures.failed(some, SHORTEST) for some in by_rate.values()]
    axis.plot(at[failed], middle[failed], "kx", markersize=8, zorder=3)


HEAD_RATES = (0.05, 0.1, 0.2, 0.5)  # at which each of these was run
HEAD_LOOKS = {  # norm of the convolutions, head, warm-up?: label, colour, style
    ("none", "plain", False): ("no norm", PLAIN, "s-"),
    ("none", "single", False): ("no norm, single linear layer", AMBER, "P--"),
    ("none", "plain", True): ("no norm, warm-up", BROWN, "^:"),
    ("batch", "plain", False): ("batch norm", BATCH_NORM, "o-"),
    ("batch", "single", False): ("batch norm, single linear layer", SKY, "X--"),
    ("batch", "batch", False): ("batch norm, in the linear layers too", INDIGO, "D-"),
    ("batch", "plain", True): ("batch norm, warm-up", TEAL, "v:"),
}


def draw_heads(runs: Runs):
    """Where is batch norm fragile at large rates? Left: training accuracy at one step against the
    learning rate, for VGG-A's three linear layers as they are, with batch norm in them too, for a
    single linear layer in their place, and with a warm-up over the first 100 steps. Middle: the
    largest loss of the first 50 steps. Right: the share of the units that are negative on a whole
    batch, by layer, at the largest rate and the last look: on that batch they learn nothing. Lines:
    means over seeds (of the loss, medians; of inactive units, over those that did not diverge);
    dots on the left: each seed, where there are several. Marks against the rate are moved sideways.

    With batch norm the first updates throw the loss up, and further at larger rates; the warm-up is
    then half way. Some inactive units are active on later batches."""
    found = {}
    for norm, head, warm in HEAD_LOOKS:
        if head == "plain" and not warm:
            some = sum(measures.at_rates(runs, norm).values(), [])
        else:
            some = [run for run in find(runs, "heads") if (run["run"]["norm"], run["run"]["head"],
                    bool(run["run"]["warmup"])) == (norm, head, warm)]
        found[norm, head, warm] = [run for run in some if run["run"]["lr"] in HEAD_RATES]
    found = {key: some for key, some in found.items() if some}
    rates = list(measures.by_rate(found["none", "plain", False]))
    top = rates[-1]
    step = min(500, *(run["run"]["steps"] for some in found.values() for run in some))
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.9), width_ratios=(5, 4, 4))
    for i, (key, some) in enumerate(found.items()):
        label, colour, style = HEAD_LOOKS[key]
        look = dict(color=colour, markersize=8, markerfacecolor="none", linewidth=1.2, zorder=3)
        moved = 1.03 ** (i - 3)
        seeds = measures.by_rate(some)
        right = {lr: [measures.training_percent(run, step) for run in each]
                 for lr, each in seeds.items()}
        thrown = [np.median([np.nanmax(run["loss"][:50]) for run in each])
                  for each in seeds.values()]
        for axis, values in zip(axes, (list(map(np.mean, right.values())), thrown), strict=False):
            axis.plot([moved * lr for lr in seeds], values, style, **look, label=label)
        for lr, values in right.items():
            if len(values) > 1:
                axes[0].plot([moved * lr] * len(values), values, ".", color=colour, markersize=6)
        if top not in seeds:
            continue
        _inactive_by_layer(axes[2], measures.finite(seeds[top]), style, **look)
    for axis, name, title in zip(axes, (f"training accuracy at step {step} (%)",
                                        "largest early loss (nats)"),
                                 ("accuracy", "spike of the loss"), strict=False):
        axis.set(xlabel="learning rate", ylabel=name, xscale="log", title=title)
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axis.minorticks_off()
    axes[0].set_ylim(0, None)
    axes[1].set_yscale("log")
    axes[1].set_yticks([2, 5, 10, 20, 50, 100, 200], ["2", "5", "10", "20", "50", "100", "200"])
    axes[2].set(xlabel="layer (9 and 10: linear)", ylabel="inactive units (%)",
                ylim=(-2, 102), title=f"inactive units in the end, LR {top:g}")
    axes[2].axvline(CONVOLUTIONS + 0.5, color="black", linewidth=0.8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return entitled(figure, sum(found.values(), []), "plain SGD", first=step)


def _inactive_by_layer(axis, runs: list[dict], style: str, **look) -> None:
    """Draw the share of inactive units at the last look, a mean over `runs`; convolutions and
    linear layers are not joined."""
    dead = 100 * np.mean([measures.dead_units(run)[1][-1] for run in runs], axis=0)
    at = np.arange(1, len(dead) + 1)
    for part in (slice(CONVOLUTIONS), slice(CONVOLUTIONS, None)):
        axis.plot(at[part], dead[part], style, **look)


NOISE_LOOKS = {  # norm: label, colour, style
    "none": ("no norm", PLAIN, "s-"), "noise": ("no norm, noise by channel", PLAIN, "s--"),
    "batch": ("batch norm", BATCH_NORM, "o-"),
    "noisy_batch_channel": ("batch norm, noise by channel", BATCH_NORM, "o--"),
    "noisy_batch": draw_paper.NOISE_BY_PIXEL,
}


def draw_noise(runs: Runs):
    """The paper's test of covariate shift: noise after batch norm that shifts and scales each unit
    anew at every step (its algorithm 1), which keeps distributions unsteady. Above: the mean of one
    channel of convolution 4, at the ReLU, over training. By our reading a unit of a convolution is
    a channel, all of whose pixels move together; drawn by pixel, the channel's mean hardly moves in
    the first layers, and little is tested there. Below, left: mean training accuracy over 25
    batches, a line for each seed. Then held-out accuracy in the end, a mark for each seed, a row
    for each panel above: hollow with the running averages of training, which are of noisy inputs,
    while the noise is off there; filled with statistics taken anew over batches without noise
    (without batch norm there are no statistics). Right: by how much the means and the standard
    deviations σ of four channels jump from one look to the next, over σ, by layer (median, first
    seed). If batch norm worked by steady first moments, noise by channel would have to undo what it
    does.

    With noise by channel means are less steady than in the plain net, in the convolutions, which
    are drawn. Spreads are less steady than there in the first three convolutions alone, and
    steadier from the fourth on. In the linear layers, which have no norm, means and spreads are
    both steadier. The noise in the net without batch norm, which is larger there against what it
    meets, stops training: no fair control."""
    found = {norm: find(runs, "noise", norm=norm) for norm in NOISE_LOOKS}
    figure = plt.figure(figsize=(9.6, 5.2))
    above, below = figure.add_gridspec(2, 1, hspace=0.08)
    moments = above.subgridspec(1, len(NOISE_LOOKS)).subplots(sharey=True)
    accuracy, held_out, *jumps = below.subgridspec(1, 4).subplots()
    for row, (axis, (norm, (label, colour, style))) in enumerate(
            zip(moments, NOISE_LOOKS.items(), strict=True)):
        for run in found[norm]:
            values = 100 * running_mean(run["correct"]) / run["run"]["batch_size"]
            accuracy.plot(np.arange(1, len(values) + 1), values, style[1:], color=colour,
                          linewidth=1.2)
            if "batch" in norm:
                held_out.plot(measures.validation_percent(run), row, style[0], color=colour,
                              markerfacecolor="white")
            held_out.plot(measures.anew_percent(run), row, style[0], color=colour)
        run = found[norm][0]
        layer, channel = 3, 0  # convolution 4
        axis.plot(run["watch_steps"], run["moment_mean"][:, layer, channel], color=colour,
                  linewidth=1)
        axis.set(xlabel="step", ylim=(-1, 1), title=f"{row + 1}: {label}".replace(", ", ",\n"))
        for panel, name in zip(jumps, ("mean", "std"), strict=True):
            jump = _jumps(run, name)
            panel.plot(np.arange(1, len(jump) + 1), jump, style, markersize=6, color=colour,
                       label=label)
    moments[0].set_ylabel("mean at the ReLU")
    accuracy.set(xlabel="step", ylabel="accuracy (%)", ylim=(0, None), title="training batches")
    held_out.set(xlabel="accuracy (%)", title="held-out images", xlim=(0, None),
                 ylim=(len(NOISE_LOOKS) - 0.5, -0.5), yticks=range(len(NOISE_LOOKS)),
                 yticklabels=range(1, len(NOISE_LOOKS) + 1))
    for panel, name, title in zip(jumps, ("|Δμ| / σ", "|Δσ| / σ"), (
            "jumps of the mean μ", "jumps of σ"), strict=True):
        panel.set(xlabel="convolution", ylabel=name, yscale="log", title=title)
        panel.set_xticks(range(2, CONVOLUTIONS + 1, 2))
        panel.yaxis.set_major_formatter("{x:g}")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return entitled(figure, sum(found.values(), []), "plain SGD, LR 0.1")


def _jumps(run: dict, moment: str) -> np.ndarray:
    """Return how far "mean" or "std" of a channel moves from one look to the next, over its
    standard deviation: the median over looks and channels, by convolution."""
    jumps = np.abs(np.diff(run[f"moment_{moment}"], axis=0)) / run["moment_std"][1:]
    return np.nanmedian(jumps, axis=(0, 2))[:CONVOLUTIONS]


def draw_kinks(runs: Runs):
    """What the effective β of very short steps measures. Secants ‖Δg‖/(α‖g‖) against the length of
    the step α, in the usual nets (left) and in the same nets with softplus for ReLU and average
    pooling for max pooling (right); dashed: ‖Hg‖/‖g‖, their limit if the function is smooth.
    Medians over the probes on the fine grid, first seed, up to the last step of the smooth nets.

    In the usual nets the secants rise as the step gets shorter, and lie far above the limit; in the
    smooth ones they meet it. The rise is thus of kinks that a step crosses, and a small or large
    value at short steps says nothing about the curvature between them. The smooth net without batch
    norm learns nothing in so few steps, so its curve is of the start."""
    usual, smooth = pair(runs), [(*look, find(runs, "smooth", norm=norm, smooth=True))
                                 for norm, look in PAIR.items()]
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.1), sharey=True)
    drawn = []
    end = smooth[0][2][0]["run"]["steps"]
    for axis, nets, title in zip(axes, (usual, smooth), (
            "ReLU and max pooling", "softplus and average pooling"), strict=True):
        for label, colour, (run, *_) in nets:
            alphas = run["run"]["lr"] * np.array(FINE_GRID)
            fine = np.isfinite(run["smoothness"]).all(1) & (run["probe_steps"] <= end)
            limit = np.median(run["hessian_norm"][run["fine_steps"] <= end])
            axis.plot(alphas, np.median(run["smoothness"][fine], axis=0), f"{MARKS[colour]}-",
                      markersize=4, color=colour, label=label)
            axis.axhline(limit, color=colour, linestyle="--", linewidth=1)
            drawn.append(run)
        axis.set(xscale="log", yscale="log", xlabel="step length α (step: −α · gradient)",
                 title=title)
    axes[0].plot([], [], "--", color="black", linewidth=1, label="‖Hg‖ / ‖g‖")
    axes[0].set_ylabel("secant ‖Δg‖ / (α‖g‖)")
    axes[0].set_yticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    for axis in axes:
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0].legend()
    return entitled(figure, drawn, "SGD, LR 0.1", first=end)


def draw_theorem(runs: Runs):
    """The paper's theorem 4.1 relates the gradient by batch norm's input to that by its output: two
    components are taken out, and the square of the rest is multiplied by γ²/σ², which may be above
    1. For each channel of the eight batch-norm layers of a trained net (the title says which), on
    one batch: the square of the gradient by the layer's input x, as measured through our own batch
    norm, against γ²/σ² (‖h‖² − ⟨1, h⟩²/m − ⟨h, x̂⟩²/m), where h is the gradient by its output, m
    values long, and x̂ = (x − μ)/σ; and against the theorem as printed, with √m for the last m.
    With m it is an equality, which is the line. Crosses at the left edge: below zero, or off the
    scale.

    With √m the right side comes out too small for every channel, and below zero for a few: no
    bound."""
    found = [run for name, run in runs.items() if not name.startswith("long/")
             and "theorem_measured" in run and not measures.failed([run])]
    if not found:
        raise NotRun("no run with batch norm was probed and learned")
    run = max(found, key=lambda run: (not run["run"]["smooth"], run["run"]["steps"]))
    measured = run["theorem_measured"]
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 3.1), sharex=True, sharey=True)
    positive = measured[measured > 0]
    low, high = positive.min() / 3, measured.max() * 3
    for axis, name, title in zip(axes, ("equality", "printed"), (
            "with ⟨h, x̂⟩² / m", "as printed, ⟨h, x̂⟩² / √m"), strict=True):
        values = run[f"theorem_{name}"]
        below = values <= low
        axis.plot(values[~below], measured[~below], ".", markersize=3, color=BATCH_NORM, alpha=0.4)
        axis.plot(np.full(below.sum(), low * 1.2), measured[below], "kx", markersize=4, alpha=0.5)
        axis.plot([low, high], [low, high], color="black", linewidth=0.8)
        share = 100 * np.mean(values < 0)
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high),
                 xlabel="right side of the theorem", title=title)
        if share >= 0.5:
            axis.text(0.03, 0.82, f"× right side below zero:\n   {share:.0f} % of the channels",
                      transform=axis.transAxes)
    axes[0].set_ylabel("measured ‖∂L/∂x‖²")
    kind = ["softplus and average pooling"] if run["run"]["smooth"] else []
    return entitled(figure, [run], *kind, f"SGD, LR {run['run']['lr']:g}")


def draw_scaling(runs: Runs):
    """All filters of the trained nets (first seed) multiplied by c: loss, curvature κ along the
    gradient, and β on the paper's grid.

    With batch norm the loss stays, yet κ goes as c⁻² below c = 1, and β falls too: the same
    function, another smoothness. For large c the layers that were not scaled (the linear ones,
    batch norm's own weights) set κ. A smaller β is thus no property of the function alone, and
    comparing two nets' β says little unless their weights' scales are compared too. Without batch
    norm the function itself changes, and β soon leaves the picture."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.5))
    for label, colour, (run, *_) in pair(runs):
        c = run["scale"]
        for axis, name in zip(axes, ("loss", "rayleigh", "smoothness"), strict=True):
            values = np.abs(run[f"scale_{name}"])
            axis.plot(c, values, f"{MARKS[colour]}-", color=colour, label=label)
    axes[1].plot(c, np.abs(run["scale_rayleigh"][c == 1]) / c**2, ":", color="grey", label="c⁻²")
    for axis, name in zip(axes, ("loss (nats)", "|κ| = |gᵀHg| / ‖g‖²", "effective β"), strict=True):
        axis.set(xlabel="factor c of the filters", ylabel=name, xscale="log", yscale="log")
        axis.set_xticks(c, [f"{value:g}" for value in c])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
    axes[1].legend()
    if np.isfinite(beta := run["scale_smoothness"]).all():
        axes[2].set_ylim(beta.min() / 10, beta.max() * 10)
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}", "after the last step")


def draw_start(runs: Runs):
    """The first steps, densely (first seed). Left: β; marks are where the shortest step of the grid
    gives the largest value. Right: size of the gradient by the input of each ReLU, at the first
    step and a hundred later.

    At the first step the gradient shrinks towards the input without batch norm, and grows with it.
    At the very start batch norm can be the rougher of the two."""
    figure, axes = plt.subplots(1, 2, figsize=(8.3, 3.2))
    looks = {0: "-", 100: "--"}  # by step
    for label, colour, (run, *_) in pair(runs):
        early = run["probe_steps"] <= run["run"]["dense"]
        steps, smoothness = run["probe_steps"][early], run["smoothness"][early, PAPER]
        beta, shortest = smoothness.max(1), smoothness.argmax(1) == 0
        axes[0].plot(steps, beta, color=colour, label=label)
        axes[0].plot(steps[shortest], beta[shortest], MARKS[colour], markersize=4, color=colour)
        for step, style in looks.items():
            at = np.flatnonzero(run["probe_steps"] == step)
            if len(at):
                norms = run["activation_gradient_norms"][at[0]]
                axes[1].plot(np.arange(1, len(norms) + 1), norms, MARKS[colour] + style,
                             markersize=4, color=colour)
    axes[0].set(xlabel="step", ylabel="effective β", ylim=(0, None))
    axes[1].set(xlabel="ReLU, from the input on", ylabel="‖∂L/∂input‖", yscale="log")
    axes[1].yaxis.set_major_formatter("{x:g}")
    for step, style in looks.items():
        axes[1].plot([], [], style, color="black", label=f"step {step}")
    axes[0].legend()
    axes[1].legend(loc="lower right")
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}", first=run["run"]["dense"])


def draw_map(runs: Runs):
    """How long the gradient stays good: change of the gradient relative to its size (above) and the
    cosine between it before and after the step (below), over the step size (upwards) and training
    (to the right), first seed. Dark in both: a step of that size ends where the gradient is another
    one.

    At the longest steps the gradient changes more without batch norm, at the shortest more with
    it."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, sharey=True)
    for column, (label, _, (run, *_)) in zip(axes.T, pair(runs), strict=True):
        fine = ~np.isnan(run["distances"]).any(1)
        steps, alphas = run["probe_steps"][fine], run["run"]["lr"] * np.array(FINE_GRID)
        change = measures.gradient_change(run)[fine]
        shown = (np.log10(change), -2, "cividis_r"), (run["cosines"][fine], -1, "cividis")
        images = [axis.pcolormesh(steps, alphas, values.T, cmap=colours, vmin=low, vmax=1)
                  for axis, (values, low, colours) in zip(column, shown, strict=True)]
        column[0].set(title=label, yscale="log")
        column[0].yaxis.set_major_formatter("{x:g}")
        column[1].set(xlabel="step")
        for axis in column:
            axis.grid(False)
            if column[0] is axes[0, 0]:
                axis.set_ylabel("step size α")
    figure.colorbar(images[0], ax=axes[0], label="log₁₀ ‖Δg‖ / ‖g‖", extend="both")
    figure.colorbar(images[1], ax=axes[1], label="cosine")
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}")


FIGURES: dict[str, Callable] = {  # by name, the pictures of the paper too
    "01_training": draw_paper.draw_training,
    "02_learning_rate_envelope": draw_paper.draw_envelope,
    "03_loss_landscape": draw_paper.draw_three_panels,
    "04_internal_covariate_shift": draw_paper.draw_covariate_shift,
    "05_rescues": draw_paper.draw_rescues,
    "06_activations": draw_paper.draw_activations,
    "07_edge_of_stability": draw_edge,
    "08_rescaled_filters": draw_scaling,
    "09_first_steps": draw_start,
    "10_gradient_map": draw_map,
    "11_heads": draw_heads,
    "12_noise": draw_noise,
    "13_kinks": draw_kinks,
    "14_theorem_4_1": draw_theorem,
    "15_long_training": draw_paper.draw_long,
}
