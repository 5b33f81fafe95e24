"""Why batch normalisation helps: VGG-A with and without it, on CIFAR-10: `make bn-landscape`, or

    python VGG_BatchNorm/VGG_Loss_Landscape.py --preset evening
    python VGG_BatchNorm/VGG_Loss_Landscape.py --groups pair rates    # what `make bn-compare` runs

Trains the runs of a preset, one .npz each under reports/results/bn/<preset>/<group>/, and a row
each in summary.csv; plot_study.py then draws. Stopped at any moment, it goes on where it was;
a finished run is not run again, nor after a change to the code: --out then
starts a set of its own. Groups:

    pair      the two nets at learning rate 0.1, probed along the gradient (the paper's experiment)
    envelope  four learning rates by Adam (the handout's) and four by SGD, loss of every step
    rates     the two nets at other learning rates
    rescue    what else lets large learning rates work: warm-up, group norm, noisy batch norm, ...
    heads     why large rates fail with batch norm, the linear layers or the first steps: batch
              norm in the linear layers too, a single linear layer, a warm-up
    init      the pair from He's initial weights in place of Glorot's
    edge      smaller and larger rates, for the curvature along the gradient
    noise     noise after batch norm, by channel and by pixel, and without batch norm
    smooth    softplus and average pooling: the same nets without kinks
    long      the pair again, for longer

Where a group says nothing else: plain SGD at a constant rate, batches of 128, Glorot initial
weights, no augmentation, no weight decay (Santurkar et al. 2018, arXiv 1805.11604). 5,000 training
images are held out for accuracy."""

import dataclasses
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import RESULTS_DIR, RUNS_DIR, write_csv
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import PRECISIONS, use_device
from VGG_BatchNorm.ground.script import GOES_ON, UserError, run_main, user_path
from VGG_BatchNorm.ground.tables import Table, markdown
from VGG_BatchNorm.measures import steps_to
from VGG_BatchNorm.run import Run
from VGG_BatchNorm.run_files import read_study_run
from VGG_BatchNorm.study import LOOKED_AT, StudyRun, perform

LEARNING_RATES = (1e-3, 2e-3, 1e-4, 5e-4)  # the handout's
PAIR = ("none", "batch")
RESULTS = RESULTS_DIR / "bn"
GROUPS = ("pair", "envelope", "rates", "rescue", "heads", "init", "edge", "noise", "smooth", "long")

PRESETS = {  # steps of the runs of each group (0: none of them), and what the runs share
    # two CPU cores, five to ten minutes
    "quick": dict(width=0.25, n_items=10_240, seeds=1, probe_every=25, dense=100,
                  other_rates=(0.05, 0.2, 0.5), rescue_rates=(0.03, 0.2, 1.0), pair=300,
                  envelope=120, rates=150, rescue=100, heads=0, init=0, edge=0, noise=0, smooth=0,
                  long=0),
    # a night on two CPU cores that multiply bfloat16
    "evening": dict(width=1.0, n_items=45_000, seeds=3, probe_every=50, dense=200,
                    other_rates=(0.05, 0.2, 0.5), rescue_rates=(0.03, 0.1, 0.3, 1.0),
                    pair=1500, envelope=351, rates=500, rescue=240,
                    heads=500, init=500, edge=500, noise=300, smooth=300, long=2500),
    # a GPU; what the report shows
    "full": dict(width=1.0, n_items=45_000, seeds=5, probe_every=50, dense=200,
                 other_rates=(0.05, 0.2, 0.5), rescue_rates=(0.01, 0.03, 0.1, 0.2, 0.5, 1.0),
                 pair=1500, envelope=7020, rates=1000, rescue=1000,
                 heads=1000, init=1000, edge=1500, noise=300, smooth=300, long=15_000),
}
SGD_RATES = (0.01, 0.03, 0.1, 0.2)  # at the handout's, plain SGD hardly leaves its start
RESCUE_RUNS = (  # norm, what else is changed, and rates near the best, which get more seeds here
    ("none", {}, (0.1,)), ("batch", {}, (0.1,)),  # at 0.2 and 0.5: those of "rates"
    ("none", {"warmup": True}, (0.1, 0.2, 0.5)), ("group", {}, (0.01, 0.03)),
    ("noisy_batch", {}, ()), ("batch", {"only_norm": True}, ()),
    ("batch", {"head": "batch"}, ()))  # those of "heads"
FEW = 3  # seeds, at most, of all groups but the pair
HEAD_RUNS = (  # beside the pair at its own rate and at the others
    ("batch", {"head": "single"}), ("none", {"head": "single"}), ("batch", {"head": "batch"}),
    ("batch", {"warmup": 100}), ("none", {"warmup": 100}))
HEAD_RATES = (0.5, 0.2, 0.1, 0.05)
INIT_RATES = (0.01, 0.025, 0.05, 0.1)
EDGE_RATES = (0.025, 0.4)  # beside the pair's and the others'
WATCHED = dict(watch_every=10, edge_every=25)
NOISE_NORMS = ("none", "batch", "noisy_batch_channel", "noisy_batch", "noise")
# In training steps, about
PROBE_COST, FINE_PROBE_COST, RESCALED_COST, VALIDATION_COST = 7, 30, 150, 13
EDGE_COST, TEST_COST = 3, 26


def plan(preset: str, precision: str = "float32") -> dict[str, list[Run]]:
    """Return the runs of a preset by group, trained in `precision`.

    In "rescue" the first seed has each rate, the others those near the best; a warm-up is over a
    third of the steps."""
    p = PRESETS[preset]
    run = partial(Run, width=p["width"], n_items=p["n_items"], precision=precision)
    probed = dict(probe_every=p["probe_every"], dense=p["dense"])
    few = range(min(FEW, p["seeds"]))
    groups = {
        "pair": (run(norm, 0.1, p["pair"], seed=seed, **probed)
                 for seed in range(p["seeds"]) for norm in PAIR),
        "envelope": (run(norm, lr, p["envelope"], optimizer=optimizer, test_every=p["envelope"])
                     for optimizer, rates in (("adam", LEARNING_RATES), ("sgd", SGD_RATES))
                     for lr in rates for norm in PAIR),
        "rates": (run(norm, lr, p["rates"], seed=seed, **probed)
                  for seed in few for lr in p["other_rates"] for norm in PAIR),
        "rescue": (run(norm, lr, p["rescue"], seed=seed, **changes | (
                       {"warmup": p["rescue"] // 3} if "warmup" in changes else {}))
                   for norm, changes, best in RESCUE_RUNS for seed in few
                   for lr in p["rescue_rates"] if seed == 0 or lr in best),
        "heads": (run(norm, lr, p["heads"], seed=seed, **WATCHED, **changes)
                  for seed in few for lr in HEAD_RATES for norm, changes in HEAD_RUNS),
        "init": (run(norm, lr, p["init"], seed=seed, init="he", **WATCHED)
                 for seed in few for lr in INIT_RATES for norm in PAIR),
        "edge": (run(norm, lr, p["edge"], seed=seed, **WATCHED)
                 for seed in few for lr in EDGE_RATES for norm in PAIR),
        "noise": (run(norm, 0.1, p["noise"], seed=seed, watch_every=5)
                  for seed in few for norm in NOISE_NORMS),
        "smooth": (run(norm, 0.1, p["smooth"], smooth=True, **probed) for norm in PAIR),
        "long": (run(norm, 0.1, p["long"], seed=seed, test_every=1000, **WATCHED,
                     **probed | {"probe_every": 100, "fine": 5})
                 for seed in few for norm in PAIR)}
    return {group: list(runs) if p[group] else [] for group, runs in groups.items()}


def cost(run: Run) -> float:
    """Return how many plain training steps take as long as the run, probes and validation included.
    """
    epochs = -(-run.steps // (run.n_items // run.batch_size))
    plain = run.steps + VALIDATION_COST * epochs
    if run.edge_every:
        plain += EDGE_COST * run.steps / run.edge_every
    if run.test_every:
        plain += TEST_COST * (1 + run.steps // run.test_every)
    if not run.probe_every:
        return plain
    due = [s for s in range(run.steps) if s % (10 if s < run.dense else run.probe_every) == 0]
    fine = sum(s % (run.fine * run.probe_every) == 0 for s in due)
    return plain + PROBE_COST * (len(due) - fine) + FINE_PROBE_COST * fine + RESCALED_COST


def step_seconds(run: Run, train: Split, device: torch.device) -> float:
    """Return the seconds of one plain training step, measured on a run that is thrown away."""
    study = StudyRun(dataclasses.replace(run, probe_every=0), train, device)
    batch = next(study.loader.epoch(0))
    study.train_step(*batch)
    start = time.perf_counter()
    for _ in range(3):
        study.train_step(*batch)
    return (time.perf_counter() - start) / 3


def minutes(runs: list[Run], train: Split, device: torch.device) -> float:
    """Return the minutes that the runs will take, from a few steps of one of each kind of net."""
    total, timed = 0.0, {}
    for run in runs:
        key = run.norm, run.head, run.smooth, run.width
        if key not in timed:
            timed[key] = step_seconds(run, train, device)
        total += cost(run) * timed[key]
    return total / 60


def done(run: Run, folder: Path) -> bool:
    """Return whether the run's file is there, of as many steps or more, in either precision.
    Raises UserError: it is of a run with other settings."""
    paths = [folder / f"{dataclasses.replace(run, precision=precision).name}.npz"
             for precision in PRECISIONS[1:]]
    steps = 0
    for path in filter(Path.exists, paths):
        found = read_study_run(path)
        held = found["run"] | {"looked_at": found["looked_at"]}
        for name, value in (dataclasses.asdict(run) | {"looked_at": LOOKED_AT}).items():
            if name not in ("precision", "steps") and held.get(name) != value:
                raise UserError(f"{path} is of a run with {name} {held.get(name)}, not {value}; "
                                "move it away, or choose another --out")
        steps = max(steps, held["steps"])
    return steps >= run.steps


def planned_runs(preset: str | None, groups: list[str], train: Split, device: torch.device,
                 results: Path, precision: str = "float32") -> dict[str, list[Run]]:
    """Return the runs of `preset` that are left to do in these groups, by "preset/group", and print
    how many they are.

    Without a preset: `quick` on a CPU, `full` elsewhere. What is run never depends on a measured
    speed."""
    name = preset or ("quick" if device.type == "cpu" else "full")
    left = {group: [run for run in some if not done(run, results / name / group)]
            for group, some in plan(name, precision).items() if group in groups}
    counts = ", ".join(f"{len(some)} {group}" for group, some in left.items())
    print(f"preset {name}, runs to do: {counts}; "
          f"about {minutes(sum(left.values(), []), train, device):.0f} minutes on {device.type}",
          flush=True)
    return {f"{name}/{group}": some for group, some in left.items()}


def summarise(folder: Path) -> list[dict]:
    """Return a row for each finished run under `folder`; write them to summary.csv there."""
    rows = []
    for path in sorted(folder.glob("*/*.npz")):
        content = read_study_run(path)
        run = content["run"]
        rows.append({"group": path.parent.name, "run": path.stem,
                     **{key: run[key] for key in ("norm", "head", "optimizer", "lr", "seed",
                                                  "width", "precision")},
                     "steps": len(content["loss"]),
                     "diverged": not np.isfinite(content["loss"][-1]),
                     "validation_accuracy": float(content["validation_accuracy"][-1]),
                     "last_loss": float(content["loss"][-50:].mean()),
                     **{f"steps_to_{accuracy:.0%}": steps_to(content, accuracy)
                        for accuracy in (0.5, 0.7, 0.9)},
                     "seconds_per_step": content["seconds_per_step"], "device": content["device"]})
    if rows:
        write_csv(folder / "summary.csv", rows)
    return rows


def summary_table(rows: list[dict]) -> Table:
    """Return the rows as a table."""
    return Table("", ("run", "steps", "s/step", "loss", "validation (%)",
                      "steps to 50 / 70 / 90 % in training"), [
        (f"{row['group']}/{row['run']}", str(row["steps"]), f"{row['seconds_per_step']:.3f}",
         f"{row['last_loss']:.3f}", f"{100 * row['validation_accuracy']:.1f}",
         "diverged" if row["diverged"] else
         " / ".join(str(row[f"steps_to_{a}%"] or "–") for a in (50, 70, 90))) for row in rows])


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir", "--device", "--threads")
    parser.add_argument("--preset", choices=PRESETS,
                        help="default: quick on a CPU, full elsewhere")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS)
    parser.add_argument("--precision", choices=PRECISIONS[1:], default="float32",
                        help="of training; probes are float32 always (default: float32)")
    parser.add_argument("--out", type=user_path, default=RESULTS, help="folder of the results "
                        "(plot_study.py draws those of another folder if told: OUT/PRESET)")
    args = parser.parse_args()
    device = use_device(args.device, args.threads)
    train, test = load_cifar10(args.data_dir)
    train, validation, test = (part.to(device) for part in (*split_validation(train), test))
    scratch = RUNS_DIR / "bn" if args.out == RESULTS else args.out / "checkpoints"
    runs = planned_runs(args.preset, args.groups, train, device, args.out, args.precision)
    for group, some in runs.items():
        for run in some:
            start = time.perf_counter()
            if perform(run, train, validation, device, args.out / group, scratch / group, test):
                took = (time.perf_counter() - start) / 60
                print(f"{group}/{run.name}: {took:.1f} minutes", flush=True)
    folder = args.out / next(iter(runs)).split("/")[0]
    rows = [row for row in summarise(folder) if row["group"] in args.groups]
    if not rows:
        raise UserError("this preset has no runs in these groups")
    print(markdown(summary_table(rows)))
    print(f"{folder / 'summary.csv'}; python VGG_BatchNorm/plot_study.py {folder} draws it")


if __name__ == "__main__":
    run_main(main, stopped=GOES_ON)
