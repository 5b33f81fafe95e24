"""The pictures of the paper and of the handout, each from the runs of a preset.

A function's docstring is its picture's caption.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from VGG_BatchNorm import measures, paper_curves
from VGG_BatchNorm.ground.style import BATCH_NORM, PLAIN, apart, plt
from VGG_BatchNorm.measures import CONVOLUTIONS, PAPER, NotRun, Runs, find
from VGG_BatchNorm.run_files import FINE_GRID, GRID

OPTIMIZER_NAMES = {"adam": "Adam", "sgd": "SGD"}
PAIR = {"none": ("VGG-A", PLAIN), "batch": ("VGG-A with batch norm", BATCH_NORM)}


def pair(runs: Runs, lr: float = 0.1) -> list[tuple[str, str, list[dict]]]:
    """Return (label, colour, runs by seed) of the two nets at one learning rate."""
    group = "pair" if lr == 0.1 else "rates"
    return [(*look, find(runs, group, norm=norm, lr=lr)) for norm, look in PAIR.items()]


def what_was_trained(drawn: list[dict], *extra: str) -> str:
    """Return, for a picture's face, the scale of the runs `drawn`: net, steps, images and seeds."""
    r = drawn[0]["run"]
    width = "" if r["width"] == 1 else f", width ×{r['width']:g}"
    lengths = sorted({run["run"]["steps"] for run in drawn})
    steps = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    alike = Counter(tuple((run["run"] | {"seed": None}).items()) for run in drawn).values()
    seeds = [" or ".join(map(str, sorted(set(alike)))) + " seeds"] if max(alike) > 1 else []
    images = f"{r['batch_size']} images out of {r['n_items']:,}"
    small = ["too small and short to judge the paper's claims"] if r["width"] < 1 else []
    return "; ".join([f"VGG-A{width}, {steps} steps of {images}", *extra, *seeds, *small])


def entitled(figure: plt.Figure, drawn: list[dict], *extra: str) -> plt.Figure:
    """Return the figure, with the scale of the runs `drawn` on its face."""
    figure.suptitle(what_was_trained(drawn, *extra), fontsize=11)
    return figure


def same_rates(sets: Iterable[list[dict]]) -> None:
    """Refuse to set sets of runs against each other where one lacks a learning rate.

    Raises:
        NotRun: their learning rates differ.
    """
    if len({tuple(run["run"]["lr"] for run in some) for some in sets}) > 1:
        raise NotRun


PAPER_LINE = dict(color="#555555", linewidth=1.1, zorder=0)
PAPER_STYLE = {"none": ":", "batch": "-"}  # of the paper's nets, in grey


def draw_paper_curve(axis: plt.Axes, norm: str, number: int, column: str, pale: bool = False,
                     **wanted: str) -> None:
    """Lay a curve of the paper's figure `number` behind ours, up to where ours end."""
    net = paper_curves.NETS[norm]
    draw_behind(axis, norm, *paper_curves.curve(number, column, net=net, **wanted), pale)


def draw_behind(axis: plt.Axes, norm: str, steps: np.ndarray, values: np.ndarray,
                pale: bool = False) -> None:
    """Lay a curve of the paper's net behind ours, up to where ours end."""
    shown = steps <= axis.get_xlim()[1]
    far = len(steps) < 20  # points far apart are marked
    look = PAPER_LINE | {"color": "#BBBBBB" if pale else PAPER_LINE["color"]}
    axis.plot(steps[shown], values[shown], PAPER_STYLE[norm], marker="s" if far else None,
              markersize=3, **look)


def paper_legend(axis: plt.Axes) -> None:
    """Add the paper's two grey lines to what the axis' legend will name."""
    for norm, style in PAPER_STYLE.items():
        label = "the paper's, " + ("with batch norm" if norm == "batch" else "without")
        axis.plot([], [], style, label=label, **PAPER_LINE)


def longest(runs: Runs) -> list[tuple[str, str, list[dict]]]:
    """Return what `pair` does at 0.1, of the longer runs where there are any."""
    try:
        return [(*look, find(runs, "long", norm=norm)) for norm, look in PAIR.items()]
    except NotRun:
        return pair(runs)


def running_mean(values: np.ndarray, window: int = 25) -> np.ndarray:
    """Return the mean of the last `window` values; of as many as there are at the start."""
    total = np.cumsum(np.insert(values.astype(float), 0, 0.0))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (total[1:] - total[first]) / (np.arange(1, len(values) + 1) - first)


def draw_training(runs: Runs):
    """Training with batch norm (blue) and without, at the paper's two learning rates. Lines are
    means over the last 25 batches, one for each seed; the pale ones behind are single batches of
    the first. Grey (paler: at 0.5): the paper's own curves at the same rates (right: on its test
    images), read off its figure 1; its net has 13 layers or more, ours 11, and single batches are
    drawn there. At 0.5 its net with batch norm learns and ours hardly does: see 11. The loss is on
    a logarithmic axis, since at large rates batch norm's first steps go far up before it comes
    down."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 4))
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
                             marker="o", markersize=4, markerfacecolor=face, color=colour,
                             label=name)
            drawn += found
    for _, colour, (run, *_) in longest(runs):
        axes[2].plot(run["validation_steps"], 100 * run["validation_accuracy"], color=colour,
                     linewidth=1)
    axes[0].set(xlabel="step", ylabel="training accuracy (%)", ylim=(0, 100))
    axes[1].set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log")
    axes[2].set(xlabel="step", ylabel="validation accuracy (%)", ylim=(0, 100))
    for norm in PAIR:
        for lr in ("0.1", "0.5"):
            draw_paper_curve(axes[0], norm, 1, "accuracy", lr == "0.5", split="train", lr=lr)
            draw_paper_curve(axes[2], norm, 1, "accuracy", lr == "0.5", split="test", lr=lr)
    paper_legend(axes[2])
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  fontsize=9, handlelength=3)
    return entitled(figure, drawn, "plain SGD")


def draw_envelope(runs: Runs):
    """The handout's picture: at each step, the band between the lowest and the highest loss
    (`min_curve` and `max_curve`) over four training runs that differ in learning rate alone. Thin
    lines: each run, a mean over 15 batches, with its learning rate at its end; the rate in bold
    type is of the run that is the band's upper edge most often, and a run that ends where guessing
    is (dotted) is marked "chance". So look at which run makes the width before you read it: one
    that has not learnt fills a band to the top. It mixes the rates' speeds with the landscape
    besides: a rate of 1e-4 is slow in any landscape. The next picture measures the landscape."""
    found = {(optimizer, norm): find(runs, "envelope", norm=norm, optimizer=optimizer)
             for optimizer in OPTIMIZER_NAMES for norm in PAIR}
    same_rates(found.values())
    figure, axes = plt.subplots(1, 4, figsize=(13, 4.2), sharey=True)
    guess, top = np.log(10), 0.0
    for axis, ((optimizer, norm), some) in zip(axes, found.items(), strict=True):
        label, colour = PAIR[norm]
        losses = np.full((len(some), some[0]["run"]["steps"]), np.inf)  # off the scale: diverged
        for row, run in zip(losses, some, strict=True):
            row[: len(run["loss"])] = np.nan_to_num(run["loss"], nan=np.inf)
        top = max(top, losses[np.isfinite(losses)].max())
        min_curve, max_curve = losses.min(0), np.minimum(losses.max(0), 1e9)
        steps = np.arange(1, len(min_curve) + 1)
        axis.fill_between(steps, min_curve, max_curve, color=colour, alpha=0.25, linewidth=0)
        upper = np.bincount(losses.argmax(0)).argmax()
        ends = [running_mean(row, 15) for row in losses]
        wanted = np.log([curve[-1] for curve in ends])
        heights = apart(wanted, 0.14)
        heights -= heights.mean() - wanted.mean()
        for i, (curve, height, run) in enumerate(zip(ends, heights, some, strict=True)):
            axis.plot(steps, curve, color=colour, linewidth=0.9)
            chance = " (chance)" if curve[-1] > 0.98 * guess else ""
            axis.text(steps[-1] * 1.02, np.exp(height), f"{run['run']['lr']:g}{chance}", fontsize=8,
                      va="center", weight="bold" if i == upper else "normal",
                      bbox=dict(facecolor="white", edgecolor="none", pad=0.5))
        axis.axhline(guess, color="black", linestyle=":", linewidth=1)
        axis.set(xlabel="step", xlim=(0, steps[-1] * (1.32 if optimizer == "sgd" else 1.25)))
        axis.set_title(f"{OPTIMIZER_NAMES[optimizer]}, {label}", fontsize=11)
    axes[0].set(ylabel="cross-entropy of the batch (nats)", yscale="log", ylim=(None, 1.1 * top))
    axes[0].set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes[0].minorticks_off()
    return entitled(figure, some)


def draw_three_panels(runs: Runs):
    """The paper's figure 4: at each step, the loss and the gradient are measured ½, 1, 2 and 4
    learning rates along the gradient, on the same batch. Above: range of the loss, range of the
    distance between the gradient there and here, and the largest distance over the length of the
    way. Below, left: the width of the band of the loss in nats, since a logarithmic axis shows
    ratios and turns the picture round. Below, middle and right: what the paper's ranges hide, the
    change of the loss and the relative change of the gradient against the length of the step, from
    1/256 learning rate on (medians from step 200 on, a line for each seed; the step that is taken
    is at 1). With batch norm the loss falls further, and its way up comes later; up to half a
    learning rate the gradient changes no less. Bands: first seed; lines for β and the width: each
    seed. Grey: the paper's curves, read off its figure 4, up to where ours end (its ‖Δg‖ is about
    four times ours and not drawn; its loss may hold an L2 term). Single probes, most of them of the
    plain net, are off these scales. Dashed: β = 1 over the shortest step; where the gradient has
    changed by its own size there, β is about that whatever the landscape. The first 200 steps,
    where batch norm's first one is far off the scale, are drawn apart."""
    figure, axes = plt.subplots(2, 4, figsize=(13.5, 6.6))
    legend, start = axes[:, 3]
    axes, drawn, nets = axes[:, :3], [], longest(runs)
    for label, colour, found in nets:
        steps = found[0]["probe_steps"]
        for axis, name in zip(axes[0], ("losses", "distances"), strict=False):
            band = found[0][name][:, PAPER]
            axis.fill_between(steps, band.min(1), band.max(1), color=colour, alpha=0.35,
                              linewidth=0, label=label)
        drawn += found
    for _, colour, found in [*pair(runs), *nets]:
        for run in found:
            steps, width = run["probe_steps"], measures.band_width(run)
            late = steps % run["run"]["probe_every"] == 0
            for axis, values in ((axes[0, 2], run["smoothness"][:, PAPER].max(1)),
                                 (axes[1, 0], width)):
                axis.plot(steps[late], values[late], color=colour, linewidth=0.9)
            start.plot(steps[steps <= 200], width[steps <= 200], color=colour, linewidth=0.9)
    for _, colour, found in pair(runs):
        for run in found:
            turned = run["distances"] / run["gradient_norm"][:, None]
            for axis, values in zip(axes[1, 1:], (measures.loss_change(run), turned), strict=True):
                axis.plot(FINE_GRID, measures.late_median(run, values), "o-", color=colour,
                          linewidth=0.9, markersize=3)
    axes[0, 0].set(ylabel="loss along the gradient (nats)", yscale="log",
                   title="variation of the loss")
    axes[0, 1].set(ylabel="change of the gradient ‖Δg‖", ylim=(0, 35),
                   title="gradient predictiveness")
    axes[0, 2].set(ylabel="effective β", ylim=(0, 40), title="effective β-smoothness")
    axes[1, 0].set(ylabel="width of the band of the loss (nats)", ylim=(0, 6))
    axes[1, 1].set(ylabel="change of the loss (nats)", ylim=(-0.6, 2))
    axes[1, 2].set(ylabel="‖Δg‖ / ‖g‖", yscale="log")
    axes[1, 2].set_yticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    start.set(yscale="log", xlabel="step", ylabel="the same width, first steps")
    for axis in axes[1, 1:]:
        axis.set(xlabel="length of the step (learning rates)", xscale="log")
        axis.set_xticks([1 / 256, 1 / 16, 1, 4], ["1/256", "1/16", "1", "4"])
        axis.minorticks_off()
        axis.axvline(1, color="black", linewidth=0.8)
    axes[1, 1].axhline(0, color="black", linewidth=0.8)
    axes[1, 0].set_xlabel("step")
    for norm in PAIR:
        for edge in ("min", "max_or_value"):
            draw_paper_curve(axes[0, 0], norm, 4, edge, panel="fig4a")
        draw_paper_curve(axes[0, 2], norm, 4, "max_or_value", panel="fig4c")
        width = paper_curves.band_width("fig4a", paper_curves.NETS[norm])
        draw_behind(axes[1, 0], norm, *width)
    floor = 1 / (GRID[0] * drawn[0]["run"]["lr"])
    axes[0, 2].axhline(floor, color="black", linestyle="--", linewidth=1)
    paper_legend(axes[0, 1])
    legend.axis("off")
    legend.legend(*axes[0, 1].get_legend_handles_labels(), loc="center left", fontsize=10)
    return entitled(figure, drawn, f"SGD, LR {drawn[0]['run']['lr']:g}")


def draw_covariate_shift(runs: Runs):
    """Internal covariate shift by the paper's definition 2.1: how far each layer's gradient moves
    and turns when the layers before it take their step. Above: ‖G − G′‖ over training, the paper's
    own measure, for a convolution and for the first linear layer (which have no norm here); thin
    lines are seeds, grey the paper's layers 5 and 10 at the same rate, read off its figure 3.
    Below: by layer, the same, its ratio to ‖G‖, and the cosine; lines are medians over training and
    seeds, bands the middle half; right of the bar are the linear layers. If batch norm worked by
    reducing this shift, blue would have to lie nearer to 0, and to 1 for the cosine; by the paper's
    measure it lies further off. Its first step is off the scale."""
    figure, axes = plt.subplots(2, 3, figsize=(11.5, 6.4))
    layers = (("convolution 5", 4, "L5"), ("linear layer 1", CONVOLUTIONS, "L10"))
    names = ("shift_difference", "shift_relative", "shift_cosine")
    drawn = []
    for label, colour, found in pair(runs):
        for run in found:
            for axis, (_, layer, _) in zip(axes[0], layers, strict=False):
                axis.plot(run["fine_steps"], run["shift_difference"][:, layer], color=colour,
                          linewidth=0.9)
        for axis, name in zip(axes[1], names, strict=True):
            moments = np.concatenate([run[name] for run in found])
            low, middle, high = np.nanpercentile(moments, (25, 50, 75), axis=0)
            for part in (slice(1, CONVOLUTIONS), slice(CONVOLUTIONS, None)):
                at = np.arange(1, moments.shape[1] + 1)[part]
                axis.fill_between(at, low[part], high[part], color=colour, alpha=0.25, linewidth=0)
                axis.plot(at, middle[part], "o-", markersize=4, color=colour)
        axes[0, 2].plot([], [], color=colour, label=label)
        drawn += found
    for axis, (title, _, theirs) in zip(axes[0], layers, strict=False):
        axis.set(xlabel="step", ylabel="‖G − G′‖", title=title, ylim=(0, 3.2))
        for norm in PAIR:
            draw_paper_curve(axis, norm, 3, "value", lr="lr.1", layer=theirs, metric="l2")
    paper_legend(axes[0, 2])
    axes[0, 2].axis("off")
    axes[0, 2].legend(loc="center left", fontsize=10)
    for axis, label in zip(axes[1], ("‖G − G′‖", "‖G − G′‖ / ‖G‖", "cosine of G and G′"),
                           strict=True):
        axis.axvline(CONVOLUTIONS + 0.5, color="black", linewidth=0.8)
        axis.set(xlabel="layer", ylabel=label)
        axis.set_xticks(range(2, moments.shape[1] + 1))
    for axis in axes[1, :2]:
        axis.set_ylim(0, None)
    about = f"SGD, LR {drawn[0]['run']['lr']:g}", f"{len(moments)} moments in all"
    return entitled(figure, drawn, *about)


RESCUE_LOOKS = {  # (norm, warm-up?, only γ and β?): label and style
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
    has its noise by pixel here, which moves a channel's mean little: see 12. Held-out images pass
    it without the noise, and so in another distribution than its running averages know. One run a
    point, and few steps: which net is best after long training is another question."""
    found = {key: [run for run in find(runs, "rescue", norm=key[0], only_norm=key[2])
                   if bool(run["run"]["warmup"]) == key[1]] for key in RESCUE_LOOKS}
    same_rates(found.values())
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True)
    for key, (label, colour, style) in RESCUE_LOOKS.items():
        rates = [run["run"]["lr"] for run in found[key]]
        lost = [run for run in found[key] if not np.isfinite(run["loss"][-1])]
        percents = measures.training_percent, measures.validation_percent
        for axis, percent in zip(axes, percents, strict=True):
            axis.plot(rates, [percent(run) for run in found[key]], style, color=colour,
                      label=label, markersize=5)
            axis.plot([run["run"]["lr"] for run in lost], list(map(percent, lost)), "kx", zorder=3)
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
