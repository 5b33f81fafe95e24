"""What the paper claims, and what the runs of a preset say: numbers for plot_study.py's gallery.

Each claim is a difference between two nets that share seed, weights and batches: its mean over
seeds with a 95 % interval by Student's t, beside the paper's own value. The claims are those of
Santurkar et al. 2018 (arXiv 1805.11604), and some of our own figures.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from VGG_BatchNorm import paper_curves
from VGG_BatchNorm.ground.files import RUNS_DIR
from VGG_BatchNorm.ground.statistics import holm, p_value, t_interval
from VGG_BatchNorm.ground.tables import Table
from VGG_BatchNorm.recorded import FINE_GRID, GRID, read_run

PAPER = slice(-len(GRID), None)  # the paper's points are the last of the fine grid
LAST_STUDY = RUNS_DIR / "bn" / "last.json"  # names the folder of the study that ran last
Runs = dict[str, dict]  # by "group/name"; what recorded.read_run gives


class NotRun(Exception):
    """The runs that a finding or a picture needs are not there."""


def read_runs(folder: Path) -> Runs:
    """All finished runs of the preset whose folder it is.

    Raises:
        UserError: a file is damaged.
    """
    return {f"{p.parent.name}/{p.stem}": read_run(p) for p in sorted(folder.glob("*/*.npz"))}


def find(runs: Runs, group: str, **wanted) -> list[dict]:
    """The runs of `group` whose settings are as wanted, in order of learning rate and seed.

    Raises:
        NotRun: there is none.
    """
    found = [r for name, r in runs.items() if name.startswith(f"{group}/")
             and all(r["run"][key] == value for key, value in wanted.items())]
    if not found:
        raise NotRun
    found.sort(key=lambda r: r["run"].get("precision", "float32") == "float32")
    once = {tuple((key, value) for key, value in r["run"].items() if key != "precision"): r
            for r in found}  # of twins, that in float32
    return sorted(once.values(), key=lambda r: (r["run"]["lr"], r["run"]["seed"]))


def grid_limited(run: dict) -> np.ndarray:
    """At which probes the shortest step of the paper's grid gives the largest β, and the gradient
    has changed there by about its own size (within a tenth): β is then about 1 over that step."""
    change = run["distances"][:, PAPER][:, 0] / run["gradient_norm"]
    return (run["smoothness"][:, PAPER].argmax(1) == 0) & (abs(change - 1) < 0.1)


EDGE = FINE_GRID.index(1 / 16)  # the step, in learning rates, at which the curvature is read off


def edge(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and η·κ there: κ = 2 (L(θ − αg) − L(θ) + α‖g‖²) / (α²‖g‖²), α = η/16, by losses alone.

    Raises:
        NotRun: the run has neither probes on the fine grid nor on the edge's.
    """
    rate = run["run"]["lr"]
    if "edge_steps" in run:
        return run["edge_steps"], rate * run["edge_curvature"][:, 0]
    if "losses" not in run:
        raise NotRun
    fine = np.isfinite(run["losses"][:, EDGE])
    size, square = rate * FINE_GRID[EDGE], run["gradient_norm"][fine] ** 2
    rise = run["losses"][fine, EDGE] - run["probe_loss"][fine] + size * square
    return run["probe_steps"][fine], rate * 2 * rise / (size**2 * square)


def accuracy(run: dict) -> float:
    """On the validation images after the last step, in percent; of a diverged run, about chance."""
    return 100 * float(run["validation_accuracy"][-1])


def training_accuracy(run: dict, step: int | None = None) -> float:
    """Over the 50 batches up to `step` (default: the last), before each one's update, in percent;
    of a diverged run, chance.

    Raises:
        NotRun: the run is shorter.
    """
    if not np.isfinite(run["loss"][-1]):
        return 10.0
    if step and len(run["correct"]) < step:
        raise NotRun
    return 100 * float(run["correct"][:step][-50:].mean()) / run["run"]["batch_size"]


def dead_units(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the share of dead units there by layer: negative on the whole batch."""
    name = "watch" if "watch_steps" in run else "probe"
    return run[f"{name}_steps"], run["dead" if name == "watch" else "activation_dead"]


def steps_to(run: dict, accuracy: float, window: int = 50) -> int | None:
    """First step by which mean training accuracy over `window` batches has reached `accuracy`."""
    if len(run["correct"]) < window:
        return None
    mean = np.convolve(run["correct"], np.ones(window) / window, mode="valid")
    mean /= run["run"]["batch_size"]
    reached = np.flatnonzero(mean >= accuracy)
    return int(reached[0]) + window if len(reached) else None


def _steps_to_half(run: dict) -> float:
    return float(steps_to(run, 0.5) or np.inf)


def _late(steps: np.ndarray) -> np.ndarray:
    """Which of these steps count in a median: from 200 on; in a shorter run, the last."""
    return steps >= min(200, steps.max())


def _probes(values: Callable[[dict], np.ndarray], average=np.median) -> Callable[[dict], float]:
    """A measure: the average over late probes a constant number of steps apart, as of the paper's
    curves; dense ones are left out."""
    def measure(run: dict) -> float:
        regular = run["probe_steps"] % run["run"]["probe_every"] == 0
        return float(average(values(run)[regular][_late(run["probe_steps"][regular])]))
    return measure


def _layers(values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """A measure: the median over layers and the late probes that look at them."""
    return lambda run: float(np.nanmedian(values(run)[_late(run["fine_steps"])]))


def _largest(name: str) -> Callable[[dict], np.ndarray]:
    """The largest value on the paper's points, by probe."""
    return lambda run: run[name][:, PAPER].max(1)


def band_width(run: dict) -> np.ndarray:
    """Width of the band of losses along the gradient, in nats, by probe."""
    return np.ptp(run["losses"][:, PAPER], axis=1)


def expected_drop(run: dict) -> np.ndarray:
    """η‖g‖² by probe: by how much the loss would fall in one step if it were a plane, in nats."""
    return run["run"]["lr"] * run["gradient_norm"] ** 2


def _scale_slope(run: dict) -> float:
    """Exponent of κ in c, from c = ¼ to 1."""
    quarter, _, whole = run["scale_rayleigh"][:3]
    return float(np.log(np.abs(quarter / whole)) / np.log(1 / 4))


SHORTEST = 500  # the steps that runs at all rates have


def late_edge(run: dict, last: float = np.inf) -> np.ndarray:
    """η·κ from step 200 to `last`; of a shorter run, at its last probe."""
    steps, values = edge(run)
    return values[_late(steps) & (steps <= last)]


def edge_median(run: dict, last: float = np.inf) -> float:
    """Median of η·κ from step 200 to `last`."""
    return float(np.median(late_edge(run, last)))


def at_rates(runs: Runs, norm: str) -> dict[float, list[dict]]:
    """The runs of a net at each learning rate: those of pair, rates and edge.

    Raises:
        NotRun: there are none of the pair.
    """
    found: dict[float, list[dict]] = {}
    for group in ("pair", "rates", "edge"):
        try:
            for run in find(runs, group, norm=norm):
                found.setdefault(run["run"]["lr"], []).append(run)
        except NotRun:
            if group == "pair":
                raise
    return dict(sorted(found.items()))


CONVOLUTIONS = 8  # of VGG-A: the layers before the linear ones
DEFAULT = {"warmup": 0, "only_norm": False, "head": "plain", "smooth": False}


class Claim(NamedTuple):
    """What is claimed ("": as before), and by which number of a run.

    Args:
        sign: of the difference, batch norm less plain, that the claim foresees; 0: none, it is said
            for the sake of the numbers, or follows from the definition (a check).
        paper: its figure's values without and with batch norm.
        group: of the runs; two names: of those without batch norm, and of those with it.
        plain, normed: settings of the two runs.
    """

    text: str
    quantity: str
    measure: Callable[[dict], float]
    sign: int
    paper: Callable[[str], float] | None = None
    group: str = "pair"
    lr: float = 0.1
    plain: dict = {"norm": "none"}
    normed: dict = {"norm": "batch"}


def _paper_accuracy(lr: str, step: int) -> Callable[[str], float]:
    return lambda net: paper_curves.median(*paper_curves.curve(
        1, "accuracy", split="train", net=net, lr=lr), step - 100, step)


def _paper_steps_to_half(net: str) -> float:
    steps, values = paper_curves.curve(1, "accuracy", split="train", net=net, lr="0.1")
    return float(steps[values >= 50][0])


def _paper_panel(panel: str) -> Callable[[str], float]:
    """Median of steps 200 to 1,500 of a panel of figure 4, of its upper edge where it is a band."""
    return lambda net: paper_curves.median(*paper_curves.curve(
        4, "max_or_value", panel=panel, net=net))


def _paper_band(net: str) -> float:
    return paper_curves.median(*paper_curves.band_width("fig4a", net))


def _paper_shift(layer: str, metric: str) -> Callable[[str], float]:
    return lambda net: paper_curves.median(*paper_curves.curve(
        3, "value", lr="lr.1", layer=layer, metric=metric, net=net))


def _at_500(run: dict) -> float:
    return training_accuracy(run, 500)


def _at_300(run: dict) -> float:
    return training_accuracy(run, 300)


SINGLE, IN_ALL = ({"norm": "batch", "head": head} for head in ("single", "batch"))
WARMED = {"norm": "batch", "warmup": 100}
CLAIMS = (
    Claim("Training is faster at the same rate", "mean training loss (nats)",
          lambda run: float(run["loss"].mean()), -1),
    Claim("", "steps to 50 % training accuracy", _steps_to_half, -1, _paper_steps_to_half),
    Claim("", "validation accuracy (%)", accuracy, 1),
    Claim("It bears larger rates", "training accuracy (%) at step 500, LR 0.5, three linear layers",
          _at_500, 1, _paper_accuracy("0.5", 500), "rates", 0.5),
    Claim("", "the same, one linear layer in both nets", _at_500, 1, None, "heads", 0.5,
          {"norm": "none", "head": "single"}, SINGLE),
    Claim("", "the same, batch norm in its linear layers too", _at_500, 1, None, "rates heads", 0.5,
          normed=IN_ALL),
    Claim("", "the same, batch norm with a warm-up", _at_500, 1, None, "rates heads", 0.5,
          normed=WARMED),
    Claim("The loss varies less along the gradient", "median width of the band (nats)",
          _probes(band_width), -1, _paper_band),
    Claim("", "the same, over η‖g‖²",
          _probes(lambda run: band_width(run) / expected_drop(run)), -1),
    Claim("The gradient is more predictive", "median largest ‖Δg‖",
          _probes(_largest("distances")), -1, _paper_panel("fig4b")),
    Claim("", "the same, over ‖g‖",
          _probes(lambda run: _largest("distances")(run) / run["gradient_norm"]), -1),
    Claim("", "median cosine one learning rate on",
          _probes(lambda run: run["cosines"][:, PAPER][:, GRID.index(1.0)]), 1),
    Claim("The effective β is smaller", "median β, steps of ½ to 4 LR",
          _probes(_largest("smoothness")), -1, _paper_panel("fig4c")),
    Claim("Covariate shift is not reduced", "median ‖G − G′‖, convolution 5",
          _layers(lambda run: run["shift_difference"][:, 4]), 1, _paper_shift("L5", "l2")),
    Claim("", "median ‖G − G′‖, linear layer 1",
          _layers(lambda run: run["shift_difference"][:, CONVOLUTIONS]), 1,
          _paper_shift("L10", "l2")),
    Claim("", "median ‖G − G′‖ / ‖G‖, convolutions 2 on",
          _layers(lambda run: run["shift_relative"][:, 1:CONVOLUTIONS]), 1),
    Claim("", "the same, linear layers",
          _layers(lambda run: run["shift_relative"][:, CONVOLUTIONS:]), 1),
    Claim("", "median cosine of G and G′, convolutions 2 on",
          _layers(lambda run: run["shift_cosine"][:, 1:CONVOLUTIONS]), -1),
    Claim("", "that cosine, linear layers",
          _layers(lambda run: run["shift_cosine"][:, CONVOLUTIONS:]), -1),
    Claim("Noise after batch norm does not undo it", "training accuracy (%) at step 300; with "
          "batch norm: noise by channel after it", _at_300, 1, None, "noise",
          normed={"norm": "noisy_batch_channel"}),
    Claim("(ours) It trains nearer to the edge of stability", "median η·κ, LR 0.1", edge_median, 1),
    Claim("(ours) Free of the weights' scale, its curvature is larger",
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
        """Mean difference, half-width of its 95 % interval; NaN where a net did not get there."""
        with np.errstate(invalid="ignore"):  # ∞ − ∞: neither got there
            return t_interval(np.subtract(self.normed, self.plain))

    @property
    def says(self) -> str:
        """In a few words, what the difference says of the claim, taken by itself."""
        mean, half = self.interval
        if not self.claim.sign:
            return "a check"
        if np.isnan(mean) or len(self.plain) == 1:
            return f"a look: {len(self.plain)} seed" if len(self.plain) == 1 else "not reached"
        if not abs(mean) > half:
            return "not told apart"
        return "holds" if mean * self.claim.sign > 0 else "the opposite"


def effects(runs: Runs) -> list[Effect]:
    """The claims whose runs are there, with their numbers by seed."""
    found = []
    for claim in CLAIMS:
        groups = claim.group.split()
        try:
            plain, normed = ({run["run"]["seed"]: claim.measure(run)
                              for run in find(runs, group, lr=claim.lr, **DEFAULT | wanted)}
                             for group, wanted in zip((groups[0], groups[-1]),
                                                      (claim.plain, claim.normed), strict=True))
        except NotRun:
            continue
        seeds = sorted(plain.keys() & normed.keys())
        if seeds:
            found.append(Effect(claim, *([each[s] for s in seeds] for each in (plain, normed))))
    return found


def table(runs: Runs, brief: bool = False) -> Table:
    """The claims with numbers: mean ± standard deviation over seeds, and the difference with its
    95 % interval, by pairs of nets that share a seed; `brief`: one measure a claim of the paper."""
    shown = effects(runs)
    tested = [effect for effect in shown
              if effect.claim.sign and np.isfinite(effect.interval).all()]
    clear = holm([p_value(np.subtract(effect.normed, effect.plain)) for effect in tested])
    alone = [effect.claim for effect, sure in zip(tested, clear, strict=True) if not sure]
    lines = []
    for effect in shown:
        if brief and (not effect.claim.text or effect.claim.text.startswith("(")):
            continue
        paper = " / ".join(f"{effect.claim.paper(net):.3g}" for net in ("std", "bn")) \
            if effect.claim.paper else ""
        lines.append((effect.claim.text, effect.claim.quantity, str(len(effect.plain)),
                      spread(effect.plain), spread(effect.normed), _difference(effect), paper,
                      effect.says + ", alone" * (
                          effect.claim in alone and effect.says in ("holds", "the opposite"))))
    machines = " and ".join(sorted({run["device"] for run in runs.values()}))
    return Table("LR 0.1 where no other is named; medians from step 200 on. The paper's values are "
                 "read off its figures: medians of steps 200 to 1,500, and its first reading, one "
                 "in 100 steps, of 50 %. \"Alone\": by its own interval; Holm's rule over all "
                 "claims that were tested on several seeds does not exclude luck. "
                 f"Computed on {machines}.",
                 ("claim", "measured", "seeds", "VGG-A", "with batch norm", "difference, 95 %",
                  "the paper's", "so"), lines)


SAME = ("norm", "lr", "optimizer", *DEFAULT, "width", "n_items", "batch_size")  # of a line of twins


def twins(runs: Runs) -> Table:
    """Whether training in bfloat16 changes what is found: runs that have a twin in float32, over
    the steps that both have; empty where there is none."""
    longest: dict[str, dict[tuple, dict]] = {"float32": {}, "bfloat16": {}}
    for run in sorted(runs.values(), key=lambda run: len(run["loss"])):
        mine = tuple(run["run"].get(name) for name in (*SAME, "seed"))
        longest[run["run"].get("precision", "float32")][mine] = run
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
        for quantity, measure in (
                ("mean training loss (nats)", lambda run, n: float(run["loss"][:n].mean())),
                ("training accuracy (%), last 50 steps", training_accuracy)):
            exact, half = ([measure(run, steps) for run in side]
                           for side in zip(*pairs, strict=True))
            lines.append((net, str(steps), quantity, str(len(pairs)),
                          spread(exact), spread(half),
                          _signed(*t_interval(np.subtract(half, exact)))))
    return Table("", ("net", "steps", "measured", "seeds", "float32", "bfloat16",
                      "difference, 95 %"), lines)


def _difference(effect: Effect) -> str:
    return _signed(*effect.interval)


def _signed(mean: float, half: float) -> str:
    if not np.isfinite(mean):
        return "–"
    decimals = _decimals(mean, half)
    digits = f"{mean:+.{decimals}f}".replace("-", "−")
    return digits if np.isnan(half) else f"{digits} ± {half:.{decimals}f}"


def _decimals(*numbers: float) -> int:
    """Decimals with which the largest of some numbers has three digits that count."""
    largest = max(abs(number) for number in numbers if np.isfinite(number))
    return max(0, 2 - int(np.floor(np.log10(largest)))) if largest else 2


def spread(values: list[float]) -> str:
    """Mean ± standard deviation of those that are finite, and how many these are."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "–"
    deviation = np.std(finite, ddof=1) if len(finite) > 1 else np.nan
    decimals = _decimals(np.mean(finite), deviation)
    after = f" ± {deviation:.{decimals}f}" if len(finite) > 1 else ""
    missing = f" (in {len(finite)} of {len(values)})" if len(finite) < len(values) else ""
    return f"{np.mean(finite):.{decimals}f}{after}{missing}".replace("-", "−")
