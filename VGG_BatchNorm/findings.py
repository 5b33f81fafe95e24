"""What the paper claims, and what the runs of a preset say: numbers for plot_landscape.py's gallery.

The claims are those of Santurkar et al. 2018 (arXiv 1805.11604), and three of our own figures.
"""

from pathlib import Path

import numpy as np

from VGG_BatchNorm.landscape_run import read_run
from VGG_BatchNorm.probes import GRID

PAPER = slice(-len(GRID), None)  # the paper's points are the last of the fine grid
Runs = dict[str, dict]  # by "group/name"; what landscape_run.read_run gives


class NotRun(Exception):
    """The runs that a finding or a picture needs are not there."""


def read_runs(folder: Path) -> Runs:
    """All finished runs of the preset whose folder it is.

    Raises:
        UserError: a file is damaged.
    """
    return {f"{path.parent.name}/{path.stem}": read_run(path) for path in sorted(folder.glob("*/*.npz"))}


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
    """At which probes the shortest step of the paper's grid sets β, the gradient being gone there."""
    gone = run["distances"][:, PAPER][:, 0] / run["gradient_norm"]
    return (run["smoothness"][:, PAPER].argmax(1) == 0) & (abs(gone - 1) < 0.1)


def accuracy(run: dict) -> float:
    """On the validation images after the last step, in percent; of a diverged run, that of chance."""
    return 100 * float(run["validation_accuracy"][-1])


def training_accuracy(run: dict) -> float:
    """Over the last 50 batches, before each one's update, in percent; of a diverged run, that of chance."""
    if not np.isfinite(run["loss"][-1]):
        return 10.0
    return 100 * float(run["correct"][-50:].mean()) / run["run"]["batch_size"]


def steps_to(run: dict, accuracy: float, window: int = 50) -> int | None:
    """First step by which the mean training accuracy over `window` batches has reached `accuracy`."""
    if len(run["correct"]) < window:
        return None
    mean = np.convolve(run["correct"], np.ones(window) / window, mode="valid") / run["run"]["batch_size"]
    reached = np.flatnonzero(mean >= accuracy)
    return int(reached[0]) + window if len(reached) else None


def _steps_to_half(run: dict) -> float:
    return float(steps_to(run, 0.5) or np.inf)


def _mean_loss(run: dict) -> float:
    return float(run["loss"].mean())


def _evenly(run: dict, values: np.ndarray) -> np.ndarray:
    """The probes a constant number of steps apart, without the dense ones at the start."""
    return values[run["probe_steps"] % run["run"]["probe_every"] == 0]


def _loss_band(run: dict) -> float:
    return float(np.median(_evenly(run, np.ptp(run["losses"][:, PAPER], axis=1))))


def _gradient_change(run: dict) -> float:
    return float(np.median(_evenly(run, run["distances"][:, PAPER].max(1))))


def _relative_change(run: dict) -> float:
    return float(np.median(_evenly(run, run["distances"][:, PAPER].max(1) / run["gradient_norm"])))


def _cosine(run: dict) -> float:
    return float(np.median(_evenly(run, run["cosines"][:, PAPER][:, GRID.index(1.0)])))


def _smoothness(run: dict) -> float:
    return float(np.median(_evenly(run, run["smoothness"][:, PAPER].max(1))))


def _grid_share(run: dict) -> float:
    return 100 * float(_evenly(run, grid_limited(run)).mean())


def _fine_secant(run: dict) -> float:
    return float(np.nanmedian(_evenly(run, run["smoothness"][:, 0])))


def _shift(run: dict) -> float:
    return float(np.nanmedian(run["shift_relative"][:, 1:]))


def _shift_cosine(run: dict) -> float:
    return float(np.nanmedian(run["shift_cosine"][:, 1:]))


def _first_smoothness(run: dict) -> float:
    return float(run["smoothness"][:3, PAPER].max(1).mean())


def _scale_slope(run: dict) -> float:
    """Exponent of κ in c, from c = ¼ to 1."""
    return float(np.log(np.abs(run["scale_rayleigh"][0] / run["scale_rayleigh"][2])) / np.log(1 / 4))


def _less(plain: float, normed: float) -> bool:
    return normed < plain


def _more(plain: float, normed: float) -> bool:
    return normed > plain


# the claim ("": the one before), quantity, group, learning rate, measure of a run, and when the
# claim holds of (VGG-A, batch norm); in the group `rescue`, of (VGG-A, noisy batch norm)
CLAIMS = (
    ("Training is faster at the same rate", "mean training loss (nats), LR 0.1",
     "pair", 0.1, _mean_loss, _less),
    ("", "steps to 50 % training accuracy, LR 0.1", "pair", 0.1, _steps_to_half, _less),
    ("", "validation accuracy (%), LR 0.1", "pair", 0.1, accuracy, _more),
    ("It bears larger rates", "validation accuracy (%), LR 0.5", "rates", 0.5, accuracy, _more),
    ("The loss varies less along the gradient", "median width of the band (nats)",
     "pair", 0.1, _loss_band, _less),
    ("The gradient is more predictive", "median largest ‖Δg‖", "pair", 0.1, _gradient_change, _less),
    ("", "the same, over ‖g‖", "pair", 0.1, _relative_change, _less),
    ("", "median cosine one learning rate on", "pair", 0.1, _cosine, _more),
    ("The effective β is smaller", "median β, steps of ½ to 4 LR", "pair", 0.1, _smoothness, _less),
    ("", "median β, steps of LR/256", "pair", 0.1, _fine_secant, _less),
    ("(ours) The grid sets β where batch norm is", "share of probes at the grid's floor (%)",
     "pair", 0.1, _grid_share, _more),
    ("Covariate shift is not reduced", "median ‖G − G′‖ / ‖G‖, layers 2 on", "pair", 0.1, _shift, _more),
    ("", "median cosine of G and G′", "pair", 0.1, _shift_cosine, _less),
    ("Noise after batch norm does not undo it", "training accuracy (%), noisy batch norm, LR 0.1",
     "rescue", 0.1, training_accuracy, _more),
    ("(ours) Batch norm starts rougher", "mean β of the first three probes",
     "pair", 0.1, _first_smoothness, _more),
    ("(ours) Its curvature goes as c⁻²", "exponent of gᵀHg/‖g‖² in c, ¼ to 1",
     "pair", 0.1, _scale_slope, lambda _, normed: abs(normed + 2) < 0.3),
)


def table(runs: Runs) -> str:
    """The claims with numbers, as a Markdown table; over seeds, mean ± standard deviation.

    A claim is judged seed by seed, for the two nets of a seed share weights and batches.
    """
    lines = ["| claim | measured | seeds | VGG-A | with batch norm | holds here |", "|---" * 6 + "|"]
    for claim, quantity, group, lr, measure, holds in CLAIMS:
        try:
            both = [{run["run"]["seed"]: measure(run)
                     for run in find(runs, group, norm=norm, lr=lr, warmup=0, only_norm=False)}
                    for norm in ("none", "noisy_batch" if group == "rescue" else "batch")]
        except NotRun:
            continue
        seeds = sorted(both[0].keys() & both[1].keys())
        if not seeds:
            continue
        plain, normed = ([values[seed] for seed in seeds] for values in both)
        yes, n = sum(map(holds, plain, normed)), len(plain)
        verdict = {0: "**no**", n: "yes"}.get(yes, f"in {yes} of {n} seeds")
        lines.append(f"| {claim} | {quantity} | {n} | {_spread(plain)} | {_spread(normed)} | {verdict} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not np.isfinite(values).all():
        return "not reached"
    deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{deviation}"
