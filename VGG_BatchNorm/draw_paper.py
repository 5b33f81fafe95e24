"""The pictures of the paper and of the handout, each from the runs of a preset.

A function's docstring is its picture's caption: what is drawn, and, in a paragraph of its own, what
the runs of the preset `full` show there, which is said of these alone."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.colors import to_rgb

from VGG_BatchNorm import measures, paper_curves
from VGG_BatchNorm.ground.style import BATCH_NORM, BROWN, GREEN, INDIGO, PLAIN, SKY, apart, plt
from VGG_BatchNorm.measures import CONVOLUTIONS, PAPER, NotRun, Runs, find
from VGG_BatchNorm.run_files import FINE_GRID, GRID

OPTIMIZER_NAMES = {"adam": "Adam", "sgd": "SGD"}
PAIR = {"none": ("no norm", PLAIN), "batch": ("batch norm", BATCH_NORM)}
MARKS = {PLAIN: "s", BATCH_NORM: "o"}  # by these they are told apart in grey, too
NOISE_BY_PIXEL = "batch norm, noise by pixel", SKY, "*-"  # label, colour, style


def pair(runs: Runs, lr: float = 0.1) -> list[tuple[str, str, list[dict]]]:
    """Return (label, colour, runs by seed) of the two nets at one learning rate."""
    group = "pair" if lr == 0.1 else "rates"
    return [(*look, find(runs, group, norm=norm, lr=lr)) for norm, look in PAIR.items()]


def what_was_trained(drawn: list[dict], *extra: str, first: float = np.inf) -> str:
    """Return, for a picture's face, the scale of the runs `drawn`: net, steps (the `first` ones, if
    the picture stops there), images and seeds."""
    r = drawn[0]["run"]
    width = "" if r["width"] == 1 else f", width ×{r['width']:g}"
    lengths = sorted({run["run"]["steps"] for run in drawn})
    steps = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    steps = f"first {first:,}" if first < lengths[-1] else steps
    alike = Counter(tuple((run["run"] | {"seed": None, "precision": None}).items())
                    for run in drawn).values()
    few, many = min(alike), max(alike)
    seeds = [(f"{few} to " if few < many else "") + f"{many} seeds"] if many > 1 else []
    images = f"{r['batch_size']} images out of {r['n_items']:,}"
    small = ["too small and short to judge the paper's claims"] if r["width"] < 1 else []
    return "; ".join([f"VGG-A{width}, {steps} steps of {images}", *extra, *seeds, *small])


def entitled(figure: plt.Figure, drawn: list[dict], *extra: str,
             first: float = np.inf) -> plt.Figure:
    """Return the figure, with the scale of the runs `drawn` on its face."""
    figure.suptitle(what_was_trained(drawn, *extra, first=first), fontsize=11)
    return figure


def same_rates(sets: Iterable[list[dict]]) -> None:
    """Refuse to set sets of runs against each other where one lacks a learning rate. Raises NotRun:
    their learning rates differ."""
    if len({tuple(run["run"]["lr"] for run in some) for some in sets}) > 1:
        raise NotRun("the nets to compare were not run at the same learning rates")


PAPER_GREYS = "#555555", "#BBBBBB"
PAPER_LOOKS = {norm: dict(linestyle=style, markerfacecolor=face, markersize=4, linewidth=1.1,
                          zorder=0)
               for norm, style, face in (("none", ":", "none"), ("batch", "-", None))}


def draw_paper_curve(axis: plt.Axes, norm: str, number: int, column: str, pale: bool = False,
                     **wanted: str) -> None:
    """Lay a curve of the paper's figure `number` behind ours, up to where ours end."""
    net = paper_curves.NETS[norm]
    draw_behind(axis, norm, *paper_curves.curve(number, column, net=net, **wanted), pale)


def draw_behind(axis: plt.Axes, norm: str, steps: np.ndarray, values: np.ndarray,
                pale: bool = False) -> None:
    """Lay a curve of the paper's net behind ours, up to where ours end."""
    shown = steps <= axis.get_xlim()[1]
    few = {}
    if shown.sum() < 4:  # no curve
        few = dict(linestyle="none", marker=MARKS[PAIR[norm][1]], zorder=3 - pale)
    axis.plot(steps[shown], values[shown], color=PAPER_GREYS[pale], **PAPER_LOOKS[norm] | few)


def paper_legend(axis: plt.Axes, *rates: str) -> None:
    """Add the paper's grey lines, at each of `rates`, to what the axis' legend will name."""
    for grey, rate in zip(PAPER_GREYS, rates or [""], strict=False):
        for norm, (label, colour) in PAIR.items():
            axis.plot([], [], marker=MARKS[colour] if rates else None, color=grey,
                      label=f"paper, {label}{rate}", **PAPER_LOOKS[norm])


def running_mean(values: np.ndarray, window: int = 25) -> np.ndarray:
    """Return the mean of the last `window` values; of as many as there are at the start."""
    total = np.cumsum(np.insert(values.astype(float), 0, 0.0))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (total[1:] - total[first]) / (np.arange(1, len(values) + 1) - first)


def running_median(values: np.ndarray, reach: int) -> list[float]:
    """Return the median of each value and its `reach` neighbours on either side."""
    return [np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def draw_training(runs: Runs):
    """Training with batch norm (blue) and without, at the paper's two learning rates. Lines are
    means over the last 25 batches, one for each seed; the pale ones behind are single batches of
    the first. Grey (paler: at 0.5): the paper's own curves at the same rates (right: on its test
    images, every 1,000 steps), read off its figure 1; its net has 13 layers or more, ours 11, and
    single batches are drawn there. The loss is on a logarithmic axis, off which the first steps
    with batch norm throw it. Stairs are epochs: there is no augmentation, so from the second on,
    images come again. A cross: there a run diverges.

    At 0.5 the paper's net with batch norm learns and ours hardly does: see "Heads"."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
    drawn = []
    for lr, style, face in ((0.1, "-", None), (0.5, "--", "white")):
        for label, colour, found in pair(runs, lr):
            for i, run in enumerate(found):
                steps = np.arange(1, len(run["loss"]) + 1)
                accuracy = 100 * run["correct"] / run["run"]["batch_size"]
                for axis, values in zip(axes, (accuracy, run["loss"]), strict=False):
                    axis.plot(steps, values, color=colour, alpha=0.12 * (i == 0), linewidth=0.6)
                    axis.plot(steps, running_mean(values), style, color=colour, linewidth=1.4)
                if not np.isfinite(run["loss"][-1]):
                    axes[0].plot(steps[-1], running_mean(accuracy)[-1], "X", color=colour,
                                 markeredgecolor="white", markersize=9, zorder=4)
                name = f"{label}, LR {lr:g}" if i == 0 else None
                axes[2].plot(run["validation_steps"], 100 * run["validation_accuracy"], style,
                             marker=MARKS[colour], markersize=4, markerfacecolor=face,
                             color=colour, label=name)
            drawn += found
    axes[0].set(xlabel="step", ylabel="training accuracy (%)", ylim=(0, 100))
    lowest = min(np.nanmin(running_mean(run["loss"])) for run in drawn)
    axes[1].set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log", ylim=(lowest / 2, 5))
    axes[1].set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    axes[1].minorticks_off()
    axes[2].set(xlabel="step", ylabel="validation accuracy (%)", ylim=(0, 100))
    for norm in PAIR:
        for lr in ("0.1", "0.5"):
            draw_paper_curve(axes[0], norm, 1, "accuracy", lr == "0.5", split="train", lr=lr)
            draw_paper_curve(axes[2], norm, 1, "accuracy", lr == "0.5", split="test", lr=lr)
    paper_legend(axes[2], ", LR 0.1", ", LR 0.5")
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  columnspacing=1)
    return entitled(figure, drawn, "plain SGD")


def draw_envelope(runs: Runs):
    """The handout's picture: at each step, the band between the lowest and the highest loss
    (`min_curve` and `max_curve`) over four training runs that differ in learning rate alone: the
    handout's rates under Adam; larger ones under plain SGD, which at the handout's hardly leaves
    its start. Lines: each run, a mean over as many batches as a hundredth of the steps (15 at
    least), the darker, the larger its learning rate, which is at its end; the rate in bold type is
    of the run that is the band's upper edge most often, and thin lines lead to the rates. So look
    at which run makes the width before you read it: one that learns slowly, or not at all, as at
    the line of guessing (dotted), fills a band by itself. It mixes the rates' speeds with the
    landscape. Single batches of the first steps are off the scale. The next picture measures the
    landscape."""
    found = {(optimizer, norm): find(runs, "envelope", norm=norm, optimizer=optimizer)
             for optimizer in OPTIMIZER_NAMES for norm in PAIR}
    for optimizer in OPTIMIZER_NAMES:
        same_rates(found[optimizer, norm] for norm in PAIR)
    figure, axes = plt.subplots(1, 4, figsize=(10.2, 3.5), sharey=True)
    guess = np.log(10)
    for axis, ((optimizer, norm), some) in zip(axes, found.items(), strict=True):
        label, colour = PAIR[norm]
        losses = np.full((len(some), some[0]["run"]["steps"]), np.inf)  # off the scale: diverged
        for row, run in zip(losses, some, strict=True):
            row[: len(run["loss"])] = np.nan_to_num(run["loss"], nan=np.inf)
        min_curve, max_curve = losses.min(0), np.minimum(losses.max(0), 1e9)
        steps = np.arange(1, len(min_curve) + 1)
        axis.fill_between(steps, min_curve, max_curve, color=colour, alpha=0.25, linewidth=0)
        upper = np.bincount(losses.argmax(0)).argmax()
        window = max(15, len(steps) // 100)
        for row, black in zip(losses, np.linspace(0, 0.75, len(losses)), strict=True):
            axis.plot(steps[window:], running_mean(row, window)[window:], linewidth=1.1,
                      color=(1 - black) * np.array(to_rgb(colour)))
        ends = losses[:, -window:].mean(1)
        heights = apart(ends, 0.2)
        heights += max(0.0, 0.1 - heights.min())
        for i, (end, height, run) in enumerate(zip(ends, heights, some, strict=True)):
            axis.plot(steps[-1] * np.array([1, 1.1]), [end, height], color="grey", linewidth=0.6)
            axis.text(steps[-1] * 1.12, height, f"{run['run']['lr']:g}", va="center",
                      weight="bold" if i == upper else "normal")
        axis.axhline(guess, color="black", linestyle=":", linewidth=1)
        axis.set(xlabel="step", xlim=(0, 1.5 * steps[-1]),
                 title=f"{OPTIMIZER_NAMES[optimizer]}, {label}")
        axis.set_xticks([tick for tick in plt.MaxNLocator(3).tick_values(0, steps[-1])
                         if tick <= steps[-1]])
    axes[0].text(0.97, guess, "guessing", transform=axes[0].get_yaxis_transform(), ha="right",
                 va="bottom")
    axes[0].set(ylabel="cross-entropy of the batch (nats)", ylim=(0, 3))
    return entitled(figure, sum(found.values(), []))


def draw_seeds(axis: plt.Axes, colour: str, found: list[dict], measure: Callable,
               last: int | None = None) -> None:
    """Draw measure(run) by probe, up to `last` or at the regular ones: pale lines for seeds, a
    strong one for their median."""
    curves = []
    for run in found:
        steps = run["probe_steps"]
        shown = steps <= last if last else measures.evenly_spaced(run)
        curves.append((steps[shown], measure(run)[shown]))
        axis.plot(*curves[-1], color=colour, linewidth=0.8, alpha=0.35)
    steps, _ = min(curves, key=lambda curve: len(curve[0]))
    middle = np.median([values[: len(steps)] for _, values in curves], axis=0)
    axis.plot(steps, middle, color=colour, marker=MARKS[colour], linewidth=1.4, markersize=3)


def draw_three_panels(runs: Runs):
    """The paper's figure 4: at probed steps, the loss and the gradient are measured ½, 1, 2 and 4
    learning rates along the gradient, on the same batch. Above, over training: range of the loss,
    range of the distance between the gradient there and here, the largest distance over the length
    of the way, and the width of the band of the loss in nats (the logarithmic axis of the first
    panel shows ratios). Below, left: the width over the first 200 steps, where batch norm's first
    one is far off the other scale; grey marks: the paper's, one in 100 steps (filled: batch norm).
    Below, right: what the paper's ranges hide, the change of the loss and the relative change of
    the gradient against the length of the step, from 1/256 learning rate on (medians from step 200
    on, a line for each seed; the step that is taken is at 1). Bands: first seed; lines over steps:
    pale each seed, strong their median. Grey, pale behind the bands: the paper's curves, read off
    its figure 4, up to where ours end (its ‖Δg‖ is about four times ours and not drawn; its loss
    may hold an L2 term). Single probes leave the frame: "up to" says how far (of the width, batch
    norm's first step). Dashed: β = 2/η, at which the gradient changes by its own length on the
    shortest step, η/2; where the gradient after that step has nothing in common with g, β is about
    that on any landscape.

    With batch norm the loss falls further, and its way up comes later; below half a learning rate
    the gradient changes more. On the logarithmic axis the band with batch norm looks wider, though
    in nats it is narrower."""
    figure = plt.figure(figsize=(10.4, 5.7))
    above, below = figure.add_gridspec(2, 1)
    loss, gradient, beta, width = above.subgridspec(1, 4).subplots()
    start, *by_length = below.subgridspec(1, 3, width_ratios=(2, 3, 3)).subplots()
    drawn = []
    for label, colour, found in pair(runs):
        steps = found[0]["probe_steps"]
        for axis, name in ((loss, "losses"), (gradient, "distances")):
            band = found[0][name][:, PAPER]
            axis.fill_between(steps, band.min(1), band.max(1), color=colour, alpha=0.4, linewidth=1)
        for axis, measure in ((beta, lambda run: run["smoothness"][:, PAPER].max(1)),
                              (width, measures.band_width)):
            draw_seeds(axis, colour, found, measure)
        draw_seeds(start, colour, found, measures.band_width, 200)
        _changes_by_length(*by_length, found, f"{MARKS[colour]}-", color=colour)
        by_length[0].plot([], [], f"{MARKS[colour]}-", color=colour, label=label)
        drawn += found
    for axis, name, end, title in ((gradient, "‖Δg‖", 35, "gradient predictiveness"),
                                   (beta, "β", 40, "effective β-smoothness"),
                                   (width, "nats", 6, "width of the loss band")):
        axis.set(ylabel=f"{name} (up to {axis.dataLim.y1:.0f})", ylim=(0, end), title=title)
    loss.set(ylabel="nats", yscale="log", title="variation of the loss")
    start.set(ylabel="nats", yscale="log", title="width, steps 0 to 200")
    for axis in (loss, start):
        axis.yaxis.set_major_formatter("{x:g}")
    for axis in (loss, gradient, beta, width, start):
        axis.set_xlabel("step")
    _frame_by_length(*by_length)
    for norm in PAIR:
        for edge in ("min", "max_or_value"):
            draw_paper_curve(loss, norm, 4, edge, pale=True, panel="fig4a")
        draw_paper_curve(beta, norm, 4, "max_or_value", panel="fig4c")
        for axis in (width, start):
            draw_behind(axis, norm, *paper_curves.band_width("fig4a", paper_curves.NETS[norm]))
    beta.axhline(1 / (GRID[0] * drawn[0]["run"]["lr"]), color="black", linestyle="--", linewidth=1)
    paper_legend(by_length[0])
    figure.legend(*by_length[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return entitled(figure, drawn, f"SGD, LR {drawn[0]['run']['lr']:g}")


def _changes_by_length(loss, gradient, runs: list[dict], style: str, **look) -> None:
    """Draw what a step along the gradient changes against its length, a line for each run."""
    for run in runs:
        for axis, values in ((loss, measures.loss_change(run)),
                             (gradient, measures.gradient_change(run))):
            axis.plot(FINE_GRID, measures.late_median(run, values), style, linewidth=1.2,
                      markersize=4, **look)


def _frame_by_length(loss, gradient) -> None:
    """Name and limit the two axes of `_changes_by_length`; black: no change, and the step taken."""
    loss.set(ylabel="nats", ylim=(-0.6, 2), title="change of the loss")
    loss.axhline(0, color="black", linewidth=0.8)
    gradient.set(ylabel="‖Δg‖ / ‖g‖", yscale="log", title="change of the gradient")
    gradient.set_yticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    for axis in (loss, gradient):
        axis.set(xlabel="length of the step (learning rates)", xscale="log")
        axis.set_xticks([1 / 256, 1 / 16, 1, 4], ["1/256", "1/16", "1", "4"])
        axis.minorticks_off()
        axis.axvline(1, color="black", linewidth=0.8)


def draw_long(runs: Runs):
    """The pair for as many steps as in the paper. Left: accuracy, on training batches (a mean over
    an epoch, 351 of them) and, marked, on the test images every 1,000 steps; then the loss. Third:
    the width of the band of the loss half to four learning rates along the gradient. Right: the
    largest ‖Δg‖ over the same distances, over ‖g‖. A line for each seed (third and right: medians
    over five probes); grey: the paper's curves (left: its test accuracy), read off its figures 1
    and 4, of a net with more layers.

    Where the paper's gap is widest, from step 1,500 to 5,000, so is ours; from about step 9,000 on
    both nets know their training images, the loss is near zero, and so is the band. So nothing here
    says which net would win in a recipe made for accuracy."""
    figure, axes = plt.subplots(1, 4, figsize=(10.4, 3.3))
    drawn = []
    for norm, (label, colour) in PAIR.items():
        for run in find(runs, "long", norm=norm):
            steps = np.arange(1, len(run["loss"]) + 1)
            right = 100 * running_mean(run["correct"], 351) / run["run"]["batch_size"]
            for axis, values in ((axes[0], right), (axes[1], running_mean(run["loss"], 351))):
                axis.plot(steps[50:], values[50:], color=colour, linewidth=1)
            axes[0].plot(run["test_steps"], 100 * run["test_accuracy"], MARKS[colour], markersize=3,
                         color=colour, markerfacecolor="white")
            largest = measures.gradient_change(run)[:, PAPER].max(1)
            for axis, values in ((axes[2], measures.band_width(run)), (axes[3], largest)):
                axis.plot(run["probe_steps"], running_median(values, 2), color=colour, linewidth=1)
            drawn.append(run)
        axes[0].plot([], [], f"{MARKS[colour]}-", markersize=4, markerfacecolor="white",
                     color=colour, label=label)
    axes[0].set(ylabel="accuracy (%)", ylim=(0, 100), title="training, and test (marks)")
    axes[1].set(ylabel="nats", yscale="log", title="training loss")
    axes[2].set(ylabel="nats", yscale="log", title="width of the loss band")
    axes[3].set(ylabel="largest ‖Δg‖ / ‖g‖", yscale="log", title="change of the gradient")
    for axis in axes:
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(plt.MaxNLocator(2))
    for axis in axes[1:]:
        axis.yaxis.set_major_formatter("{x:g}")
    for norm in PAIR:
        draw_paper_curve(axes[0], norm, 1, "accuracy", split="test", lr="0.1")
        draw_behind(axes[2], norm, *paper_curves.band_width("fig4a", paper_curves.NETS[norm]))
    paper_legend(axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return entitled(figure, drawn, f"SGD, LR {drawn[0]['run']['lr']:g}")


def draw_covariate_shift(runs: Runs):
    """Internal covariate shift by the paper's definition 2.1: how far each layer's gradient moves
    and turns when the layers before it take their step. Above, over training, the paper's own
    measures: ‖G − G′‖ of a convolution and of the first linear layer (which have no norm here), and
    the cosine of the convolution; thin lines are seeds, grey the paper's layers 5 and 10 at the
    same rate, read off its figure 3. Below: by layer, the same, its ratio to ‖G‖, and the cosine;
    lines are medians over training and seeds, bands the middle half; right of the bar are the
    linear layers. If batch norm worked by reducing this shift, blue would have to lie nearer to 0,
    and to 1 for the cosine. Its first step is off the scale.

    By the paper's distance batch norm lies further off; by the ratio it is further off in
    convolution 2 and nearer in the first linear layer, elsewhere not clearly (corrected over the
    layers)."""
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 5.2))
    over_steps = (("convolution 5", "shift_difference", 4, dict(layer="L5", metric="l2")),
                  ("linear layer 1", "shift_difference", CONVOLUTIONS,
                   dict(layer="L10", metric="l2")),
                  ("convolution 5", "shift_cosine", 4, dict(layer="L5", metric="cos")))
    names = {"shift_difference": "‖G − G′‖", "shift_relative": "‖G − G′‖ / ‖G‖",
             "shift_cosine": "cosine of G and G′"}
    drawn = []
    for label, colour, found in pair(runs):
        for run in found:
            for axis, (_, name, layer, _) in zip(axes[0], over_steps, strict=True):
                axis.plot(run["fine_steps"], run[name][:, layer], f"{MARKS[colour]}-",
                          color=colour, linewidth=0.9, markersize=3)
        for axis, name in zip(axes[1], names, strict=True):
            moments = np.concatenate([run[name] for run in found])
            low, middle, high = np.nanpercentile(moments, (25, 50, 75), axis=0)
            for part in (slice(1, CONVOLUTIONS), slice(CONVOLUTIONS, None)):
                at = np.arange(1, moments.shape[1] + 1)[part]
                axis.fill_between(at, low[part], high[part], color=colour, alpha=0.25, linewidth=0)
                axis.plot(at, middle[part], f"{MARKS[colour]}-", markersize=4, color=colour)
        axes[0, 2].plot([], [], f"{MARKS[colour]}-", markersize=4, color=colour, label=label)
        drawn += found
    for axis, (title, name, _, theirs) in zip(axes[0], over_steps, strict=True):
        axis.set(xlabel="step", ylabel=names[name], title=title,
                 ylim=(0, 3.2) if name == "shift_difference" else (-1, 1))
        for norm in PAIR:
            draw_paper_curve(axis, norm, 3, "value", lr="lr.1", **theirs)
    paper_legend(axes[0, 2])
    figure.legend(*axes[0, 2].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    for axis, label in zip(axes[1], names.values(), strict=True):
        axis.axvline(CONVOLUTIONS + 0.5, color="black", linewidth=0.8)
        axis.set(xlabel="layer", ylabel=label)
        axis.set_xticks(range(2, moments.shape[1] + 1, 2))
    for axis in axes[1, :2]:
        axis.set_ylim(0, None)
    looks = f"{len(found[0]['fine_steps'])} probes of each seed"
    return entitled(figure, drawn, f"SGD, LR {drawn[0]['run']['lr']:g}", looks)


RESCUE_LOOKS = {  # (norm, warm-up?, only scale and shift?, head): label and style
    ("none", False, False, "plain"): ("no norm", PLAIN, "s-"),
    ("none", True, False, "plain"): ("no norm, warm-up", BROWN, "^:"),
    ("batch", False, False, "plain"): ("batch norm", BATCH_NORM, "o-"),
    ("batch", False, False, "batch"): ("batch norm, in the linear layers too", INDIGO, "D-"),
    ("batch", False, True, "plain"): ("batch norm, only scale and shift", BATCH_NORM, "<--"),
    ("noisy_batch", False, False, "plain"): NOISE_BY_PIXEL,
    ("group", False, False, "plain"): ("group norm", GREEN, "p-."),
}


def draw_rescues(runs: Runs):
    """What else lets a net train at large rates? Accuracy after as many steps against learning
    rate: left over the last 50 training batches, as in the paper, right on held-out images. Warm-up
    is over the first third; of one net scale and shift alone are trained. Marks: means; dots: each
    run, where a rate has several (rates near the best got more seeds when the first had been seen;
    of a seed there may be two runs). A diverged run (cross in its net's colour) is at chance, the
    dotted line; points are moved sideways a little. The noise after batch norm is by pixel here,
    which moves a channel's mean little: see "Noise". Held-out images pass it without the noise,
    with which its running averages were taken. Which net is best after long training is another
    question.

    Where a net barely learns, luck decides: without norm at 0.5, two runs from one seed, on the
    same GPU, which does not add in the same order twice, ended far apart."""
    found = {}
    for key in RESCUE_LOOKS:
        with contextlib.suppress(NotRun):
            found[key] = measures.by_rate(measures.rescues(runs, *key))
    if not found:
        raise NotRun("group rescue has no run")
    if len(grids := {tuple(at_rate) for at_rate in found.values()}) > 1:
        raise NotRun("the nets to compare were not run at the same learning rates")
    rates = np.array(grids.pop())
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.7), sharex=True, sharey=True)
    for i, key in enumerate(found):
        (label, colour, style), at = RESCUE_LOOKS[key], rates * 1.05 ** (i - 3)
        percents = measures.training_percent, measures.validation_percent
        for axis, percent in zip(axes, percents, strict=True):
            means = [np.mean(list(map(percent, each))) for each in found[key].values()]
            axis.plot(at, means, style, color=colour, label=label, markersize=6)
            for where, each in zip(at, found[key].values(), strict=True):
                for run in each:
                    if not np.isfinite(run["loss"][-1]):
                        axis.plot(where, percent(run), "x", color=colour, markersize=11,
                                  markeredgewidth=1.5)
                    elif len(each) > 1:
                        axis.plot(where, percent(run), ".", color=colour, markersize=5)
    axes[0].plot([], [], "kx", label="diverged")
    for axis, name in zip(axes, ("training", "validation"), strict=True):
        axis.axhline(10, color="grey", linewidth=1, linestyle=":")
        axis.set(xlabel="learning rate", ylabel=f"{name} accuracy (%)", xscale="log",
                 ylim=(0, None))
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  columnspacing=1, handlelength=1.7)
    return entitled(figure, [run for at_rate in found.values() for each in at_rate.values()
                             for run in each], "plain SGD")


def draw_activations(runs: Runs):
    """What the ReLUs of three layers are given, as training goes on: histograms of the values as
    their median, middle half and middle 90 %, each panel on its own scale; first seed.

    Batch norm holds the spread near γ; without it the spread drifts with the weights. That the
    distributions are steadier does not make them the cause: see "Internal covariate shift"."""
    layers = (0, 3, 7)
    figure, axes = plt.subplots(2, len(layers), figsize=(10, 5.2), sharex=True)
    for row, (label, colour, (run, *_)) in zip(axes, pair(runs), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            q = run["activation_quantiles"][:, layer]
            steps, bands = run["probe_steps"], ((q[:, 0], q[:, 4], 0.2), (q[:, 1], q[:, 3], 0.4))
            for low, high, alpha in bands:
                axis.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0)
            axis.plot(steps, q[:, 2], color=colour)
            axis.set_title(f"{label}, convolution {layer + 1}")
        row[0].set_ylabel("input of the ReLU")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    return entitled(figure, [run], f"SGD, LR {run['run']['lr']:g}")
