"""Numbers of one run of the study, and how the runs of a preset are found.

    runs = read_runs(RESULTS_DIR / "bn" / "full")
    for run in find(runs, "pair", norm="batch"):
        print(training_percent(run), edge_median(run))"""

import contextlib
from pathlib import Path

import numpy as np

from VGG_BatchNorm.run_files import FINE_GRID, GRID, WITH_STATISTICS, read_study_run

CONVOLUTIONS = 8  # of VGG-A: the layers before the linear ones
PAPER = slice(-len(GRID), None)  # the paper's points are the last of the fine grid
EDGE = FINE_GRID.index(1 / 16)  # the step, in learning rates, at which the curvature is read off
SHORTEST = 500  # steps, that runs at all rates have in all presets but quick
WINDOW = 50  # batches over which training accuracy is averaged
Runs = dict[str, dict]  # by "group/name"; what run_files.read_study_run gives


class NotRun(Exception):
    """The runs that a measure or a picture needs are not there."""


def read_runs(folder: Path) -> Runs:
    """Return all finished runs of the preset whose folder it is. Raises UserError: a file is
    damaged."""
    return {f"{p.parent.name}/{p.stem}": read_study_run(p) for p in sorted(folder.glob("*/*.npz"))}


def find(runs: Runs, group: str, **wanted) -> list[dict]:
    """Return the runs of `group` whose settings are as wanted, by learning rate and seed.
    Raises NotRun: there is none."""
    found = [r for name, r in runs.items() if name.startswith(f"{group}/")
             and all(r["run"][key] == value for key, value in wanted.items())]
    if not found:
        like = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise NotRun(f"group {group} has no run" + (f" with {like}" if like else ""))
    found.sort(key=lambda r: r["run"]["precision"] == "float32")
    once = {tuple((key, value) for key, value in r["run"].items() if key != "precision"): r
            for r in found}  # of twins, that in float32
    return sorted(once.values(), key=lambda r: (r["run"]["lr"], r["run"]["seed"]))


def at_rates(runs: Runs, norm: str) -> dict[float, list[dict]]:
    """Return the runs of a net at each learning rate: those of pair, rates and edge. Raises NotRun:
    there are none of the pair."""
    found = find(runs, "pair", norm=norm)
    for group in ("rates", "edge"):
        with contextlib.suppress(NotRun):
            found += find(runs, group, norm=norm)
    return by_rate(found)


def rescues(runs: Runs, norm: str, warm: bool, only_norm: bool, head: str) -> list[dict]:
    """Return the runs of "rescue" of one net, and those of other groups that were trained alike.
    Raises NotRun: "rescue" has none."""
    net = dict(norm=norm, only_norm=only_norm, head=head)
    found = [run for run in find(runs, "rescue", **net) if bool(run["run"]["warmup"]) == warm]
    if not found:
        raise NotRun(f"group rescue has no run with norm {norm}" + ", a warm-up" * warm)
    rates = {run["run"]["lr"] for run in found}
    alike = net | {name: found[0]["run"][name] for name in ("steps", "warmup")}
    for group in ("rates", "heads"):
        with contextlib.suppress(NotRun):
            found += [run for run in find(runs, group, **alike) if run["run"]["lr"] in rates]
    return found


def by_rate(runs: list[dict]) -> dict[float, list[dict]]:
    """Return the runs of each learning rate, by rising rate."""
    return {lr: [run for run in runs if run["run"]["lr"] == lr]
            for lr in sorted({run["run"]["lr"] for run in runs})}


def finite(runs: list[dict]) -> list[dict]:
    """Return the runs that did not diverge; all, where each did."""
    return [run for run in runs if np.isfinite(run["loss"][-1])] or runs


def failed(runs: list[dict], step: int | None = None) -> bool:
    """Return whether training accuracy is below 15 %, in the mean, at `step`, or in the end of
    runs that end before, or where none is named."""
    return np.mean([training_percent(run, step and min(step, len(run["correct"])))
                    for run in runs]) < 15


def late(steps: np.ndarray) -> np.ndarray:
    """Return which of these steps count in a median: from 200 on; in a shorter run, the last."""
    return steps >= min(200, steps.max())


def rate_times_curvature(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, and η·κ there, from losses alone.

        κ = 2 (L(θ − αg) − L(θ) + α‖g‖²) / (α²‖g‖²),    α = η/16

    Raises NotRun: the run has neither probes on the fine grid nor on the edge's."""
    rate = run["run"]["lr"]
    if "edge_steps" in run:
        return run["edge_steps"], rate * run["edge_curvature"][:, 0]
    if "losses" not in run:
        raise NotRun("a run that no probe looked at")
    fine = np.isfinite(run["losses"][:, EDGE])
    size, square = rate * FINE_GRID[EDGE], run["gradient_norm"][fine] ** 2
    rise = run["losses"][fine, EDGE] - run["probe_loss"][fine] + size * square
    return run["probe_steps"][fine], rate * 2 * rise / (size**2 * square)


def late_edge(run: dict, last: float = np.inf, first: int = 200) -> np.ndarray:
    """Return η·κ from step `first` to `last`; of a shorter run, at its last probe."""
    steps, values = rate_times_curvature(run)
    return values[(steps >= min(first, steps.max())) & (steps <= last)]


def edge_median(run: dict, last: float = np.inf, first: int = 200) -> float:
    """Return the median of η·κ from step `first` to `last`."""
    return float(np.median(late_edge(run, last, first)))


def validation_percent(run: dict) -> float:
    """Return the accuracy on the validation images after the last step, in percent.

    Of a diverged run it is about chance."""
    return 100 * float(run["validation_accuracy"][-1])


def anew_percent(run: dict) -> float:
    """Return `validation_percent`, but with running statistics that were taken anew after training,
    over batches that pass without noise, where batch norm keeps such statistics. Raises NotRun: it
    does, and the file is older than this measure."""
    if run["run"]["norm"] not in WITH_STATISTICS:
        return validation_percent(run)
    if "validation_anew_accuracy" not in run:
        raise NotRun("a run from before statistics were taken anew")
    return 100 * float(run["validation_anew_accuracy"][0])


def training_percent(run: dict, step: int | None = None) -> float:
    """Return the accuracy over the `WINDOW` batches up to `step`, in percent.

    Each batch counts as it was before its own update; of a diverged run, the result is chance.
    `step`: the last, if none is given.

    Raises NotRun: the run is shorter."""
    if not np.isfinite(run["loss"][-1]):
        return 10.0
    if step and len(run["correct"]) < step:
        raise NotRun(f"a run shorter than {step} steps")
    return 100 * float(run["correct"][:step][-WINDOW:].mean()) / run["run"]["batch_size"]


def steps_to(run: dict, accuracy: float) -> int | None:
    """Return the first step by which the mean training accuracy over `WINDOW` batches has reached
    `accuracy`, a share; None where it never does."""
    if len(run["correct"]) < WINDOW:
        return None
    mean = np.convolve(run["correct"], np.ones(WINDOW) / WINDOW, mode="valid")
    reached = np.flatnonzero(mean / run["run"]["batch_size"] >= accuracy)
    return int(reached[0]) + WINDOW if len(reached) else None


def dead_units(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, and by layer the share of units that are negative on the whole batch there."""
    name = "watch" if "watch_steps" in run else "probe"
    return run[f"{name}_steps"], run["dead" if name == "watch" else "activation_dead"]


def band_width(run: dict) -> np.ndarray:
    """Return the width of the band of losses along the gradient, in nats, by probe."""
    return np.ptp(run["losses"][:, PAPER], axis=1)


def loss_change(run: dict) -> np.ndarray:
    """Return L(θ − αg) − L(θ) by probe and by α of `FINE_GRID`, in nats; NaN: not measured."""
    return run["losses"] - run["probe_loss"][:, None]


def gradient_change(run: dict) -> np.ndarray:
    """Return ‖Δg‖/‖g‖ by probe and by α of `FINE_GRID`; NaN: not measured."""
    return run["distances"] / run["gradient_norm"][:, None]


def evenly_spaced(run: dict) -> np.ndarray:
    """Return which probes are at steps that are multiples of `probe_every`."""
    return run["probe_steps"] % run["run"]["probe_every"] == 0


def late_median(run: dict, values: np.ndarray) -> np.ndarray:
    """Return the median of `values` (first axis: probes) over the probes at steps that are
    multiples of `probe_every`, from step 200 on; what is NaN does not count."""
    regular = evenly_spaced(run)
    return np.nanmedian(values[regular][late(run["probe_steps"][regular])], axis=0)
