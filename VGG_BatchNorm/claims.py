"""What the paper claims, and what the runs of a preset say: tables for plot_study.py's gallery.

Each claim is a difference between two nets that share seed, weights and batches: its mean over
seeds with a 95 % interval by Student's t, beside the paper's own value. The claims are those of
Santurkar et al. 2018 (arXiv 1805.11604), and some of our own figures."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from VGG_BatchNorm import measures, paper_curves
from VGG_BatchNorm.ground.statistics import holm, p_value, t_interval
from VGG_BatchNorm.ground.tables import Table
from VGG_BatchNorm.measures import CONVOLUTIONS, PAPER, NotRun, Runs, band_width, find, late
from VGG_BatchNorm.run_files import FINE_GRID

DEFAULT = {"warmup": 0, "only_norm": False, "head": "plain", "smooth": False,
           "init": "glorot"}


class Claim(NamedTuple):
    """What is claimed, and by which number of a run.

    Args:
        text: the claim; "": the one before it, by another number.
        quantity: what the number is, with its unit.
        number_of: gives the number of a run.
        sign: of the difference, batch norm less plain, that the claim foresees; 0: none, since the
            difference follows from the definition (a check).
        paper: gives the value of one of the paper's nets, "std" or "bn", as read off its figure.
        group: the group of both runs, or "A B": A holds the plain run, B the one with batch norm.
        lr: the learning rate of both.
        plain, normed: settings of the two runs; others are as in DEFAULT.
        afterwards: whether the number was thought of when the runs, or the first three seeds of
            them, had been seen: its interval is never corrected, and does not count where others
            are."""

    text: str
    quantity: str
    number_of: Callable[[dict], float]
    sign: int
    paper: Callable[[str], float] | None = None
    group: str = "pair"
    lr: float = 0.1
    plain: dict = {"norm": "none"}
    normed: dict = {"norm": "batch"}
    afterwards: bool = False


def _probes(values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """Return a function of a run: the late median of `values`, a number a probe."""
    return lambda run: float(measures.late_median(run, values(run)))


def _evenly(values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """Return a function of a run: the median of `values` over the probes that are `probe_every`
    apart, from step 0 on."""
    return lambda run: float(np.nanmedian(values(run)[measures.evenly_spaced(run)]))


def _column(step: float, values: Callable[[dict], np.ndarray]) -> Callable[[dict], np.ndarray]:
    """Return the same function of a run as `values`, which has a column for each step length, at
    one of them."""
    return lambda run: values(run)[:, FINE_GRID.index(step)]


def _at(step: float, values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """Return a function of a run: the late median of such a column."""
    return _probes(_column(step, values))


def _edge_off_plane(run: dict) -> np.ndarray:
    """Return `_off_plane` one learning rate on, by probe of the curvature along the gradient."""
    return np.abs(run["run"]["lr"] * run["edge_curvature"][:, -1]) / 2


def _off_plane(run: dict) -> np.ndarray:
    """Return how far the loss is from where a plane would have it, over the fall on the plane, by
    probe and by step length."""
    fall = run["run"]["lr"] * np.array(FINE_GRID) * run["gradient_norm"][:, None] ** 2  # α‖g‖²
    return np.abs(measures.loss_change(run) + fall) / fall


def _over(name: str, low: float, high: float,
          values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """Return a function of a run: the median of `values` over the probes at which run[name], such
    as "probe_steps", is from `low` to below `high`; what is NaN does not count. It raises NotRun
    of a run that has none, or does not reach the end of a span of steps."""
    def median(run: dict) -> float:
        there = (run[name] >= low) & (run[name] < high)
        cut = name != "probe_loss" and low < run["run"]["steps"] < high < np.inf
        if cut or not there.any():
            raise NotRun("a run without probes in the span")
        return float(np.nanmedian(values(run)[there], axis=0))

    return median


def _part(name: str, layers: slice) -> Callable[[dict], float]:
    """Return a function of a run: the mean over some layers of their medians over probes on the
    fine grid, from step 200 on."""
    return lambda run: float(
        np.nanmedian(run[name][late(run["fine_steps"])], axis=0)[layers].mean())


def _layers(values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """Return a function of a run: the median of `values` over layers and over probes on the fine
    grid, from step 200 on."""
    return lambda run: float(np.nanmedian(values(run)[late(run["fine_steps"])]))


def _largest(name: str) -> Callable[[dict], np.ndarray]:
    """Return a function of a run: by probe, the largest value on the paper's points."""
    return lambda run: run[name][:, PAPER].max(1)


def _scale_slope(run: dict) -> float:
    """Return the exponent p of κ ∝ cᵖ, from c = ¼ to 1."""
    quarter, _, whole = run["scale_rayleigh"][:3]
    return float(np.log(np.abs(quarter / whole)) / np.log(1 / 4))


def _steps_to_half(run: dict) -> float:
    return float(measures.steps_to(run, 0.5) or np.inf)


def _paper(number: int, column: str, *span: int, **wanted: str) -> Callable[[str], float]:
    """Return a function of a net: the median of the paper's curve in figure `number`, over a span
    of steps (default: 200 to 1,500); of a band, that of its upper edge."""
    return lambda net: paper_curves.median(
        *paper_curves.curve(number, column, net=net, **wanted), *span)


def _paper_band(first: float = 200, last: float = 1500) -> Callable[[str], float]:
    """Return a function of a net: the median width of the band in the paper's figure 4a."""
    return lambda net: paper_curves.median(*paper_curves.band_width("fig4a", net), first, last)


def _paper_length(net: str) -> float:
    """Return how long the paper's gradient is at least, in the median over steps 200 to 1,500: on
    its shortest step β is no less than ‖Δg‖/(η/2 ‖g‖), and its figures 4b and c have the others."""
    (steps, change), (there, beta) = (
        paper_curves.curve(4, column, panel=panel, net=net)
        for column, panel in (("min", "fig4b"), ("max_or_value", "fig4c")))
    both, first, second = np.intersect1d(steps, there, return_indices=True)
    return paper_curves.median(both, change[first] / (0.1 / 2 * beta[second]))


def _paper_steps_to_half(net: str) -> float:
    steps, values = paper_curves.curve(1, "accuracy", split="train", net=net, lr="0.1")
    return float(steps[values >= 50][0])


_paper_shift = partial(_paper, 3, "value", lr="lr.1", metric="l2")
_at_100, _at_300, _at_500 = (partial(measures.training_percent, step=step)
                             for step in (100, 300, 500))
SINGLE, IN_ALL = ({"norm": "batch", "head": head} for head in ("single", "batch"))
FIRST = "steps 0 to 99"  # in which the paper has a reading at step 0 alone
SPANS = ((FIRST, "probe_steps", 0, 100), ("steps 100 to 199", "probe_steps", 100, 200),
         ("steps 200 to 499", "probe_steps", 200, 500),
         ("from step 500 on", "probe_steps", 500, np.inf))
EDGE_SPANS = (("steps 100 to 499", 100, 500), ("from step 500 on", 500, np.inf),
              (FIRST, 0, 100))  # the last of four probes a run
EQUAL_LOSS = (("at equal loss, 1.6 to 1.9 nats", "probe_loss", 1.6, 1.9),
              ("at equal loss, 1.0 to 1.6 nats", "probe_loss", 1.0, 1.6))
PARTS = (("convolution 2", slice(1, 2)), ("convolutions 3 to 6", slice(2, 6)),
         ("convolutions 7 and 8", slice(6, CONVOLUTIONS)),
         ("linear layers", slice(CONVOLUTIONS, None)))  # the first layer has nothing below it
_also = partial(Claim, "", afterwards=True)  # the claim before, by a number thought of later
CLAIMS = (
    Claim("Training is faster at the same rate", "mean training loss (nats)",
          lambda run: float(run["loss"].mean()), -1),
    Claim("", "steps to 50 % training accuracy", _steps_to_half, -1, _paper_steps_to_half),
    _also("training accuracy (%) at step 100", _at_100, 1),
    Claim("", "steps to 50 % training accuracy, LR 0.025", _steps_to_half, -1, None, "edge", 0.025),
    _also("training accuracy (%) at step 500, LR 0.025", _at_500, 1, None, "edge", 0.025),
    Claim("", "validation accuracy (%)", measures.validation_percent, 1),
    Claim("", "test accuracy (%) at step 15,000",
          _over("test_steps", 15_000, np.inf, lambda run: 100 * run["test_accuracy"]), 1,
          _paper(1, "accuracy", 15_000, 15_000, split="test", lr="0.1"), "long"),
    _also("validation accuracy (%), median from step 10,000 on", _over(
        "validation_steps", 10_000, np.inf, lambda run: 100 * run["validation_accuracy"]), 1, None,
          "long"),
    *(Claim("… from He's initial weights (ours)" * (i == 0),
            f"{quantity}, LR {lr:g}, He's initial weights", number_of, sign, None, "init", lr,
            {"norm": "none", "init": "he"}, {"norm": "batch", "init": "he"},
            afterwards=lr in (0.01, 0.05))
      for i, (quantity, number_of, sign, lr) in enumerate((
          ("training accuracy (%) at step 500", _at_500, 1, 0.025),
          ("steps to 50 % training accuracy", _steps_to_half, -1, 0.025),
          *(("training accuracy (%) at step 500", _at_500, 1, lr) for lr in (0.01, 0.05, 0.1))))),
    Claim("It tolerates larger learning rates",
          "training accuracy (%) at step 500, LR 0.5, three linear layers", _at_500, 1,
          _paper(1, "accuracy", 400, 500, split="train", lr="0.5"), "rates", 0.5),
    Claim("", "the same, one linear layer in both nets", _at_500, 1, None, "heads", 0.5,
          {"norm": "none", "head": "single"}, SINGLE),
    Claim("", "the same, batch norm in its linear layers too", _at_500, 1, None, "rates heads", 0.5,
          normed=IN_ALL),
    Claim("… with a warm-up (ours)", "the same, a warm-up in both nets", _at_500, 1, None, "heads",
          0.5, {"norm": "none", "warmup": 100}, {"norm": "batch", "warmup": 100}, True),
    Claim("The loss varies less along the gradient", "median width of the band, ½ to 4 LR (nats)",
          _probes(band_width), -1, _paper_band()),
    _also("the same, 0 to 2 LR", _probes(
        lambda run: np.ptp(np.c_[run["probe_loss"], run["losses"][:, PAPER][:, :3]], axis=1)), -1),
    *(_also(f"the band, ½ to 4 LR, {text}", _over(name, low, high, band_width), -1,
            _paper_band(low, min(high - 1, 1500))
            if name == "probe_steps" and text != FIRST else None)
      for text, name, low, high in (("step 0", "probe_steps", 0, 1), *SPANS, *EQUAL_LOSS)),
    Claim("", "the band, ½ to 4 LR, steps 1,500 to 4,999",  # where the paper's gap is widest
          _over("probe_steps", 1500, 5000, band_width), -1, _paper_band(1500, 4999), "long"),
    _also("median distance from a plane's loss, over the plane's fall, 4 LR on",
          _at(4.0, _off_plane), -1),
    _also("the same, 1 LR on", _at(1.0, _off_plane), -1),
    *(_also(f"the same, 1 LR on, {text}", _over(
            name, low, high, _column(1.0, _off_plane)), -1)
      for text, name, low, high in SPANS),
    *(Claim("… from He's initial weights (ours)" * (not i),
            f"distance from a plane's loss, 1 LR on, {text}, LR {lr:g}, He's initial weights",
            _over("edge_steps", low, high, _edge_off_plane), -1, None, "init", lr,
            {"norm": "none", "init": "he"}, {"norm": "batch", "init": "he"}, True)
      for i, (lr, (text, low, high)) in enumerate(
          itertools.product((0.01, 0.025), EDGE_SPANS))),
    Claim("… in the step actually taken (ours): a fall",
          "median size of the loss's change, 1 LR on (nats)",
          _at(1.0, lambda run: np.abs(measures.loss_change(run))), -1, afterwards=True),
    _also("the same, steps 1,500 to 4,999", _over("probe_steps", 1500, 5000, _column(
        1.0, lambda run: np.abs(measures.loss_change(run)))), -1, None, "long"),
    Claim("The gradient is shorter", "median ‖g‖", _probes(lambda run: run["gradient_norm"]), -1,
          _paper_length, afterwards=True),
    *(_also(f"median ‖g‖, {text}", _over(name, low, high, lambda run: run["gradient_norm"]), -1,
            None, group)
      for (text, name, low, high), group in (
          (EQUAL_LOSS[1], "pair"), (("steps 1,500 to 2,999", "probe_steps", 1500, 3000), "long"),
          (("steps 3,000 to 4,999", "probe_steps", 3000, 5000), "long"))),
    Claim("The gradient is more predictive", "median largest ‖Δg‖, ½ to 4 LR",
          _probes(_largest("distances")), -1, _paper(4, "max_or_value", panel="fig4b")),
    Claim("", "the same, over ‖g‖",
          _probes(lambda run: _largest("distances")(run) / run["gradient_norm"]), -1),
    _also("median ‖Δg‖, 1 LR on", _at(1.0, lambda run: run["distances"]), -1),
    Claim("… for its length, in the step taken (ours)", "median ‖Δg‖ / ‖g‖, 1 LR on",
          _at(1.0, measures.gradient_change), -1, afterwards=True),
    *(_also(f"the same, {text}", _over(
            name, low, high, _column(1.0, measures.gradient_change)), -1)
      for text, name, low, high in SPANS + EQUAL_LOSS),
    _also("median ‖Δg‖ / ‖g‖, ½ LR on", _at(0.5, measures.gradient_change), -1),
    _also("the same, 1/16 LR on", _at(1 / 16, measures.gradient_change), -1),
    _also("median cosine of both gradients, 1 LR on", _at(1.0, lambda run: run["cosines"]), 1),
    Claim("The effective β is smaller", "median β, steps of ½ to 4 LR",
          _probes(_largest("smoothness")), -1, _paper(4, "max_or_value", panel="fig4c")),
    _also("median β, from step 0 on", _evenly(_largest("smoothness")), -1,
          _paper(4, "max_or_value", 0, 1500, panel="fig4c")),
    _also("median β, steps 1,500 to 4,999",
          _over("probe_steps", 1500, 5000, _largest("smoothness")), -1,
          _paper(4, "max_or_value", 1500, 4999, panel="fig4c"), "long"),
    Claim("Covariate shift is not reduced", "median ‖G − G′‖, convolution 5",
          _layers(lambda run: run["shift_difference"][:, 4]), 1, _paper_shift(layer="L5")),
    Claim("", "median ‖G − G′‖, linear layer 1",
          _layers(lambda run: run["shift_difference"][:, CONVOLUTIONS]), 1,
          _paper_shift(layer="L10")),
    *(_also(f"cosine of G and G′, {name}", _layers(
            lambda run, layer=layer: run["shift_cosine"][:, layer]), -1,
            _paper(3, "value", lr="lr.1", metric="cos", layer=theirs))
      for name, layer, theirs in (("convolution 5", 4, "L5"),
                                  ("linear layer 1", CONVOLUTIONS, "L10"))),
    *(_also(f"{quantity}, {text}", _part(name, layers), sign)
      for name, quantity, sign in (("shift_relative", "‖G − G′‖ / ‖G‖", 1),
                                   ("shift_cosine", "cosine of G and G′", -1))
      for text, layers in PARTS),
    Claim("Noise after batch norm does not cancel the gain",
          "training accuracy (%) at step 300; with batch norm: noise by channel after it", _at_300,
          1, None, "noise",
          normed={"norm": "noisy_batch_channel"}),
    _also("held-out accuracy (%), there running statistics taken anew without the noise",
          measures.anew_percent, 1, None, "noise", normed={"norm": "noisy_batch_channel"}),
    Claim("(ours) Its curvature along the gradient is larger", "median η·κ, LR 0.1",
          measures.edge_median, 1),
    _also("the same, from step 1,000 on", partial(measures.edge_median, first=1000), 1),
    *(_also(f"η·gᵀHg/‖g‖², by Hessian-vector products, {text}", _over(
            "fine_steps", low, high, lambda run: run["run"]["lr"] * run["rayleigh"]), 1)
      for text, low, high in (("steps 200 to 500", 200, 501),
                              ("from step 1,000 on", 1000, np.inf))),
    Claim("(ours) Free of the scale of normalised weights, its curvature is larger",
          "median over layers of κ‖θ‖², κ = gᵀHg/‖g‖²",
          _layers(lambda run: run["layer_rayleigh"] * run["weight_norm"] ** 2), 1),
    Claim("(ours) Its weights move further", "median ‖Δθ‖/‖θ‖ of a layer and step",
          _layers(lambda run: run["relative_update"]), 1),
    Claim("(ours) Batch norm starts rougher", "mean β of the first three probes",
          lambda run: float(_largest("smoothness")(run)[:3].mean()), 1),
    Claim("(check) Its curvature goes as c⁻²",
          "exponent of gᵀHg/‖g‖² in the filters' factor c, ¼ to 1", _scale_slope, 0),
)


class Effect(NamedTuple):
    """One claim's numbers, seed by seed; the difference is batch norm less plain."""

    claim: Claim
    plain: list[float]
    normed: list[float]

    @property
    def interval(self) -> tuple[float, float]:
        """The mean difference and the half-width of its 95 % interval; ±∞ and NaN where a net did
        not get there, NaN where neither did."""
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            return t_interval(np.subtract(self.normed, self.plain))

    @property
    def says(self) -> str:
        """What the difference says of the claim, taken by itself, in a few words."""
        mean, half = self.interval
        if not self.claim.sign:
            return "a check"
        if np.isnan(mean) or len(self.plain) == 1:
            return "one seed only" if len(self.plain) == 1 else "not reached"
        if np.isinf(np.subtract(self.normed, self.plain)).all():
            return "one net alone"
        if not abs(mean) > half:
            return "unclear"
        return "holds" if mean * self.claim.sign > 0 else "the opposite"


def effects(runs: Runs) -> list[Effect]:
    """Return the claims whose runs are there, with their numbers by seed."""
    found = []
    for claim in CLAIMS:
        groups = claim.group.split()
        try:
            plain, normed = ({run["run"]["seed"]: claim.number_of(run)
                              for run in find(runs, group, lr=claim.lr, **DEFAULT | wanted)}
                             for group, wanted in zip((groups[0], groups[-1]),
                                                      (claim.plain, claim.normed), strict=True))
        except NotRun:
            continue
        seeds = sorted(plain.keys() & normed.keys())
        if seeds:
            found.append(Effect(claim, *([each[s] for s in seeds] for each in (plain, normed))))
    return found


def clear(shown: list[Effect]) -> list[Claim]:
    """Return the claims that Holm's rule calls clear, over those that were tested on several seeds
    and not thought of afterwards."""
    tested = [effect for effect in shown
              if effect.claim.sign and not effect.claim.afterwards
              and np.isfinite(effect.interval).all()]
    found = holm([p_value(np.subtract(effect.normed, effect.plain)) for effect in tested])
    return [effect.claim for effect, sure in zip(tested, found, strict=True) if sure]


def claims_table(runs: Runs, brief: bool = False) -> Table:
    """Return the claims with their numbers: mean ± standard deviation over seeds, and the
    difference with its 95 % interval, by pairs of nets that share a seed. `brief`: the claims of
    the paper, each by its first number, and those of ours that qualify it."""
    shown = effects(runs)
    sure = clear(shown)
    lines = []
    for effect in shown:
        if brief and (not effect.claim.text or effect.claim.text.startswith("(")):
            continue
        least = "≥ " * (effect.claim.paper is _paper_length)
        paper = " / ".join(f"{least}{effect.claim.paper(net):.3g}" for net in ("std", "bn")) \
            if effect.claim.paper else ""
        quantity = effect.claim.quantity + " †" * effect.claim.afterwards
        lines.append((effect.claim.text, quantity, str(len(effect.plain)),
                      mean_in_three_digits(effect.plain), mean_in_three_digits(effect.normed),
                      signed(*effect.interval), paper,
                      f"({effect.says})" if effect.claim not in sure and effect.says in (
                          "holds", "the opposite") else effect.says))
    half = [run["run"]["precision"] == "bfloat16" for run in runs.values()]
    trained = (f" {'All' if all(half) else 'Some'} runs were trained in bfloat16; probes are in "
               "float32.") * any(half)
    used = {group for effect in shown for group in effect.claim.group.split()}
    machines = " and ".join(sorted({run["device"] for name, run in runs.items()
                                    if _group(name) in used}))
    return Table("LR 0.1 where no other is named; medians from step 200 on. The paper's values are "
                 "read off its figures, one reading in 100 steps: medians of steps 200 to 1,500, "
                 "or of the span that is named; accuracy at LR 0.5 is of a single batch, at step "
                 "499, 50 % the first of its readings, and ‖g‖ what the two others of its "
                 f"figure 4 imply at the least.{trained} Runs that diverge are at "
                 "10 %. In brackets: clear by its own interval, but not by Holm's rule over all "
                 "claims that were tested on several seeds; †: thought of when runs had been seen, "
                 "and, as where one net alone gets there, no part of that rule. "
                 f"Computed on {machines}.",
                 ("claim", "measured", "seeds", "no norm", "batch norm", "difference, 95 %",
                  "the paper's", "verdict"), lines)


def _group(name: str) -> str:
    """Return the group of a run's name, "group/name" or "preset/group/name"."""
    return name.split("/")[-2]


SAME = ("norm", "lr", "optimizer", *DEFAULT, "width", "n_items", "batch_size")  # of a line of twins


def twins(runs: Runs) -> Table:
    """Return what training in bfloat16 changes: of runs that have a twin in float32, maybe of
    another machine, numbers in both precisions over the steps that both have; without rows where
    there are no twins."""
    longest: dict[str, dict[tuple, dict]] = {"float32": {}, "bfloat16": {}}
    exact = {_group(name) for name, run in runs.items() if run["run"]["precision"] == "float32"}
    # the longest counts; of runs alike, one of a group that was run in float32, too
    for name in sorted(runs, key=lambda name: (len(runs[name]["loss"]), _group(name) in exact)):
        run = runs[name]
        mine = tuple(run["run"].get(name) for name in (*SAME, "seed"))
        longest[run["run"]["precision"]][mine] = run
    groups: dict[tuple, list[tuple[dict, dict]]] = {}
    for mine in sorted(longest["float32"].keys() & longest["bfloat16"].keys(), key=str):
        pair = longest["float32"][mine], longest["bfloat16"][mine]
        steps = min(len(run["loss"]) for run in pair)
        groups.setdefault((*mine[:-1], steps), []).append(pair)
    lines = []
    for (*mine, steps), pairs in groups.items():
        shared = dict(zip(SAME, mine, strict=True))
        usual = {"optimizer": "sgd", **DEFAULT}
        extras = (f"{name} {shared[name]}" for name in usual if shared[name] != usual[name])
        net = ", ".join((shared["norm"], f"LR {shared['lr']:g}", *extras))
        for quantity, number_of in (
                ("mean training loss (nats)", lambda run, n: float(run["loss"][:n].mean())),
                ("training accuracy (%), last 50 steps", measures.training_percent)):
            exact, half = ([number_of(run, steps) for run in side]
                           for side in zip(*pairs, strict=True))
            lines.append((net, str(steps), quantity, str(len(pairs)),
                          mean_in_three_digits(exact), mean_in_three_digits(half),
                          signed(*t_interval(np.subtract(half, exact)))))
    return Table("", ("net", "steps", "measured", "seeds", "float32", "bfloat16",
                      "difference, 95 %"), lines)


def signed(mean: float, half: float) -> str:
    """Return a difference and its interval's half in three digits; –: there is none."""
    if not np.isfinite(mean):
        return "–"
    decimals = _decimals(mean, half)
    digits = f"{mean:+.{decimals}f}".replace("-", "−")
    return digits if np.isnan(half) else f"{digits} ± {half:.{decimals}f}"


def _decimals(*numbers: float) -> int:
    """Return with how many decimals the largest of some numbers has three digits that count."""
    largest = max(abs(number) for number in numbers if np.isfinite(number))
    return max(0, 2 - int(np.floor(np.log10(largest)))) if largest else 2


def mean_in_three_digits(values: list[float]) -> str:
    """Return the mean ± standard deviation of the values that are finite, and how many these are
    where they are not all."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "–"
    deviation = np.std(finite, ddof=1) if len(finite) > 1 else np.nan
    decimals = _decimals(np.mean(finite), deviation)
    after = f" ± {deviation:.{decimals}f}" if len(finite) > 1 else ""
    missing = f" (in {len(finite)} of {len(values)})" if len(finite) < len(values) else ""
    return f"{np.mean(finite):.{decimals}f}{after}{missing}".replace("-", "−")
