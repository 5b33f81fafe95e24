"""What the paper claims, and what the runs of a preset say: numbers for plot_study.py's gallery.

The claims are those of Santurkar et al. 2018 (arXiv 1805.11604), and three of our own figures.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from VGG_BatchNorm.ground.files import RUNS_DIR
from VGG_BatchNorm.ground.tables import Strong, Table
from VGG_BatchNorm.recorded import GRID, read_run

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
    return sorted(found, key=lambda r: (r["run"]["lr"], r["run"]["seed"]))


def grid_limited(run: dict) -> np.ndarray:
    """At which probes the shortest step of the paper's grid sets β: the gradient is gone there."""
    gone = run["distances"][:, PAPER][:, 0] / run["gradient_norm"]
    return (run["smoothness"][:, PAPER].argmax(1) == 0) & (abs(gone - 1) < 0.1)


def accuracy(run: dict) -> float:
    """On the validation images after the last step, in percent; of a diverged run, about chance."""
    return 100 * float(run["validation_accuracy"][-1])


def training_accuracy(run: dict) -> float:
    """Over the last 50 batches, before each one's update, in percent; of a diverged run, chance."""
    if not np.isfinite(run["loss"][-1]):
        return 10.0
    return 100 * float(run["correct"][-50:].mean()) / run["run"]["batch_size"]


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


def _probes(values: Callable[[dict], np.ndarray], average=np.median) -> Callable[[dict], float]:
    """A measure: the average over probes a constant number of steps apart, dense ones left out."""
    return lambda run: float(average(
        values(run)[run["probe_steps"] % run["run"]["probe_every"] == 0]))


def _layers(values: Callable[[dict], np.ndarray]) -> Callable[[dict], float]:
    """A measure: the median over layers and the probes that look at them."""
    return lambda run: float(np.nanmedian(values(run)))


def _largest(name: str) -> Callable[[dict], np.ndarray]:
    """The largest value on the paper's points, by probe."""
    return lambda run: run[name][:, PAPER].max(1)


def _scale_slope(run: dict) -> float:
    """Exponent of κ in c, from c = ¼ to 1."""
    quarter, _, whole = run["scale_rayleigh"][:3]
    return float(np.log(np.abs(quarter / whole)) / np.log(1 / 4))


def _less(plain: float, normed: float) -> bool:
    return normed < (np.inf if np.isnan(plain) else plain)


def _more(plain: float, normed: float) -> bool:
    return normed > (-np.inf if np.isnan(plain) else plain)


class Claim(NamedTuple):
    """What is claimed ("": as before), by which number of a run, and when it holds.

    Args:
        holds: of the numbers of VGG-A and of the net with the norm `normed`.
    """

    text: str
    quantity: str
    measure: Callable[[dict], float]
    holds: Callable[[float, float], bool]
    group: str = "pair"
    lr: float = 0.1
    normed: str = "batch"


CLAIMS = (
    Claim("Training is faster at the same rate", "mean training loss (nats)",
          lambda run: float(run["loss"].mean()), _less),
    Claim("", "steps to 50 % training accuracy", _steps_to_half, _less),
    Claim("", "validation accuracy (%)", accuracy, _more),
    Claim("It bears larger rates",
          "validation accuracy (%), LR 0.5", accuracy, _more, "rates", 0.5),
    Claim("The loss varies less along the gradient", "median width of the band (nats)",
          _probes(lambda run: np.ptp(run["losses"][:, PAPER], axis=1)), _less),
    Claim("The gradient is more predictive", "median largest ‖Δg‖",
          _probes(_largest("distances")), _less),
    Claim("", "the same, over ‖g‖",
          _probes(lambda run: _largest("distances")(run) / run["gradient_norm"]), _less),
    Claim("", "median cosine one learning rate on",
          _probes(lambda run: run["cosines"][:, PAPER][:, GRID.index(1.0)]), _more),
    Claim("The effective β is smaller", "median β, steps of ½ to 4 LR",
          _probes(_largest("smoothness")), _less),
    Claim("", "median β, steps of LR/256",
          _probes(lambda run: run["smoothness"][:, 0], np.nanmedian), _less),
    Claim("Covariate shift is not reduced", "median ‖G − G′‖ / ‖G‖, layers 2 on",
          _layers(lambda run: run["shift_relative"][:, 1:]), _more),
    Claim("", "median cosine of G and G′", _layers(lambda run: run["shift_cosine"][:, 1:]), _less),
    Claim("Noise after batch norm does not undo it",
          "training accuracy (%), short runs, without noise", training_accuracy, _more, "rescue"),
    Claim("", "the same, with noise (noisy batch norm)", training_accuracy, _more, "rescue",
          normed="noisy_batch"),
    Claim("(ours) With batch norm the grid sets β",
          "probes with the largest β at the shortest step (%)",
          _probes(lambda run: 100 * (run["smoothness"][:, PAPER].argmax(1) == 0), np.mean), _more),
    Claim("(ours) Free of the weights' scale, its curvature is larger",
          "median κ‖θ‖² of a layer, κ = gᵀHg/‖g‖²",
          _layers(lambda run: run["layer_rayleigh"] * run["weight_norm"] ** 2), _more),
    Claim("(ours) Its weights move further", "median ‖Δθ‖/‖θ‖ of a layer and step",
          _layers(lambda run: run["relative_update"]), _more),
    Claim("(ours) Batch norm starts rougher", "mean β of the first three probes",
          lambda run: float(_largest("smoothness")(run)[:3].mean()), _more),
    Claim("(ours) Its curvature goes as c⁻²",
          "exponent of gᵀHg/‖g‖² in the filters' factor c, ¼ to 1",
          _scale_slope, lambda _, normed: abs(normed + 2) < 0.3),
)


def table(runs: Runs) -> Table:
    """The claims with numbers; over seeds, mean ± standard deviation.

    A claim is judged seed by seed, for the two nets of a seed share weights and batches; where the
    differences' mean is within their standard deviation, there is no clear difference.
    """
    lines = []
    for claim in CLAIMS:
        try:
            both = [{run["run"]["seed"]: claim.measure(run)
                     for run in find(runs, claim.group, norm=norm, lr=claim.lr, warmup=0,
                                     only_norm=False)}
                    for norm in ("none", claim.normed)]
        except NotRun:
            continue
        seeds = sorted(both[0].keys() & both[1].keys())
        if seeds:
            plain, normed = ([values[seed] for seed in seeds] for values in both)
            lines.append((claim.text, claim.quantity, str(len(seeds)), _spread(plain),
                          _spread(normed), _verdict(claim, plain, normed)))
    machines = " and ".join(sorted({run["device"] for run in runs.values()}))
    return Table(f"LR 0.1 where no other is named. Computed on {machines}.",
                 ("claim", "measured", "seeds", "VGG-A", "with batch norm", "holds here"), lines)


def _verdict(claim: Claim, plain: list[float], normed: list[float]) -> str:
    with np.errstate(invalid="ignore"):  # ∞ − ∞: neither got there
        difference = np.subtract(normed, plain)
    if not np.isfinite(plain + normed).any() or (
            np.isfinite(difference).all() and len(plain) > 1
            and abs(difference.mean()) <= difference.std(ddof=1)):
        return "no clear difference"
    yes, n = sum(map(claim.holds, plain, normed)), len(plain)
    return {0: Strong("no"), n: "yes"}.get(yes, f"in {yes} of {n} seeds")


def _spread(values: list[float]) -> str:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "–"
    deviation = f" ± {np.std(finite, ddof=1):.2g}" if len(finite) > 1 else ""
    missing = f" (in {len(finite)} of {len(values)})" if len(finite) < len(values) else ""
    return f"{np.mean(finite):.3g}{deviation}{missing}"
