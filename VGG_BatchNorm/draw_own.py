"""Pictures that the paper does not have: what its measures hide.

A function's docstring is its picture's caption.
"""

import numpy as np

from VGG_BatchNorm.draw_paper import pair, scale
from VGG_BatchNorm.figures import plt
from VGG_BatchNorm.findings import PAPER, Runs
from VGG_BatchNorm.probes import FINE_GRID, GRID


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
