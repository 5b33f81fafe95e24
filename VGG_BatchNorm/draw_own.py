"""Pictures that the paper does not have: what its measures hide.

A function's docstring is its picture's caption.
"""

import numpy as np

from VGG_BatchNorm.draw_paper import entitled, pair
from VGG_BatchNorm.findings import PAPER, Runs
from VGG_BatchNorm.ground.style import plt
from VGG_BatchNorm.recorded import FINE_GRID, GRID


def draw_edge(runs: Runs):
    """Is the plateau of β the grid's floor or the edge of stability? Median secant ‖Δg‖/(α‖g‖) for
    steps α from 2⁻⁸ to 4 learning rates, over the same span of training and all seeds. Grey: 2/LR,
    where gradient descent on a quadratic becomes unstable; on the paper's grid (bars at the foot),
    from ½ LR on, it is also the most that a vanishing gradient can give. Left of the bars the two
    part: an edge of stability would be flat there at 2/LR, a floor of the grid lets the secants
    rise through it."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    found = {lr: pair(runs, lr) for lr in (0.05, 0.1, 0.2)}
    drawn = [run for nets in found.values() for _, _, some in nets for run in some]
    shortest = min(len(run["loss"]) for run in drawn)
    for lr, style, marker in ((0.05, ":", "v"), (0.1, "-", "o"), (0.2, "--", "^")):
        for axis, (label, colour, some) in zip(axes, found[lr], strict=True):
            secants = np.concatenate([_fine_secants(run, shortest / 5, shortest) for run in some])
            axis.plot(lr * np.array(FINE_GRID), np.median(secants, axis=0), style, marker=marker,
                      markersize=4, color=colour, label=f"LR {lr:g}, {len(secants)} probes")
            axis.axhline(2 / lr, color="grey", linewidth=1, linestyle=style)
            axis.text(lr * FINE_GRID[0], 2 / lr, f"2/{lr:g}", fontsize=8, color="grey", va="bottom")
            axis.axvspan(lr * GRID[0], lr * GRID[-1], ymax=0.02, color="black", alpha=0.15)
            axis.set(xscale="log", yscale="log", xlabel="step size α", title=label)
    axes[0].set(ylabel="secant β(α)")
    for axis in axes:
        axis.legend(fontsize=9, handlelength=3)
    span = f"probes in steps {shortest // 5:,} to {shortest:,}"
    return entitled(figure, drawn, "plain SGD", span)


def _fine_secants(run: dict, first: float, end: float) -> np.ndarray:
    """Secants of the probes on the whole fine grid in steps `first` to `end`; if none, from 0."""
    fine = ~np.isnan(run["smoothness"]).any(1) & (run["probe_steps"] < end)
    late = fine & (run["probe_steps"] >= first)
    return run["smoothness"][late if late.any() else fine]


def draw_scaling(runs: Runs):
    """All filters of the trained nets (first seed) multiplied by c. With batch norm the loss stays,
    yet the curvature κ along the gradient goes as c⁻² below c = 1, and β on the paper's grid falls
    too: the same function, another smoothness. For large c the layers that were not scaled (γ, β,
    the linear ones) set κ. A smaller β is thus no property of the function alone, and comparing two
    nets' β says little unless their weights' scales are compared too. Without batch norm the
    function itself changes, and β soon leaves the picture."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.8))
    for label, colour, (run, *_) in pair(runs):
        c = run["scale"]
        for axis, name in zip(axes, ("loss", "rayleigh", "smoothness"), strict=True):
            axis.plot(c, np.abs(run[f"scale_{name}"]), "o-", color=colour, label=label)
    axes[1].plot(c, np.abs(run["scale_rayleigh"][c == 1]) / c**2, ":", color="grey", label="c⁻²")
    for axis, name in zip(axes, ("loss (nats)", "|κ| = |gᵀHg| / ‖g‖²", "effective β"), strict=True):
        axis.set(xlabel="factor c of the filters", ylabel=name, xscale="log", yscale="log")
        axis.set_xticks(c, [f"{value:g}" for value in c])
        axis.minorticks_off()
    axes[1].legend(fontsize=9)
    if np.isfinite(beta := run["scale_smoothness"]).all():
        axes[2].set_ylim(beta.min() / 10, beta.max() * 10)
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}", "after the last step")


def draw_start(runs: Runs):
    """The first steps, densely (first seed). Left: β; dots mark where the shortest step of the grid
    gives the largest value. Right: size of the gradient by the input of each ReLU, at the first
    step and a hundred later: without batch norm it shrinks towards the input, with it it grows. At
    the very start batch norm can be the rougher of the two."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    for label, colour, (run, *_) in pair(runs):
        early = run["probe_steps"] <= run["run"]["dense"]
        steps, smoothness = run["probe_steps"][early], run["smoothness"][early, PAPER]
        beta, shortest = smoothness.max(1), smoothness.argmax(1) == 0
        axes[0].plot(steps, beta, color=colour, label=label)
        axes[0].plot(steps[shortest], beta[shortest], "o", markersize=4, color=colour)
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
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}")


def draw_map(runs: Runs):
    """How long the gradient stays good: change of the gradient relative to its size (above) and its
    cosine with itself (below), over the step size (upwards) and training (to the right), first
    seed. Dark below: a step of that size ends where the gradient no longer points the same way."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, sharey=True)
    for column, (label, _, (run, *_)) in zip(axes.T, pair(runs), strict=True):
        fine = ~np.isnan(run["distances"]).any(1)
        steps, alphas = run["probe_steps"][fine], run["run"]["lr"] * np.array(FINE_GRID)
        change = run["distances"][fine] / run["gradient_norm"][fine, None]
        shown = ((np.log10(change), -2), (run["cosines"][fine], -1))
        images = [axis.pcolormesh(steps, alphas, values.T, cmap="cividis", vmin=low, vmax=1)
                  for axis, (values, low) in zip(column, shown, strict=True)]
        column[0].set(title=label, yscale="log")
        column[1].set(xlabel="step")
        for axis in column:
            axis.grid(False)
            axis.set_ylabel("step size α") if column[0] is axes[0, 0] else None
    figure.colorbar(images[0], ax=axes[0], label="log₁₀ ‖Δg‖ / ‖g‖")
    figure.colorbar(images[1], ax=axes[1], label="cosine")
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}")
