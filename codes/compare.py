"""What makes the network better, one factor at a time: `make compare`, or

    python codes/compare.py --study optimizers
    python codes/compare.py --study activations --variants tanh mish --seeds 5

Trains every variant of every study on 45,000 images and judges it on the other 5,000; the test set
is read by the study `final` alone. Per seed, all variants start from the same random numbers and
see the same batches, so each is compared with the study's first variant by paired differences.
Where a study tunes (the rate of an optimizer or a loss, say), every variant gets as many tries, on
seed 0, which then counts for nothing else. A variant that fails is a row.

Leaves in reports/results/compare/<base>/ (a run that is there is not run again; a kill costs one):

    base.json    the settings that all share
    runs.csv     a row a run: what differs from the base, seed, validation accuracy, cost
    curves.csv   the training loss of each run over steps and seconds
    summary.csv  a row a variant: mean, standard deviation, difference from the first
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.compare_results import Results, best, judged, read_table, summary, table
from codes.evaluate import accuracy, predict
from codes.networks import parameter_count
from codes.settings import count
from codes.studies import BASES, COMBINED, STUDIES, Variant, variants, wanted
from codes.trainer import Trainer, time_run
from VGG_BatchNorm.loaders import DATA_DIR, data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.runs import (
    RESULTS_DIR,
    UserError,
    environment,
    keep_freed_memory,
    pick_device,
    run_main,
    write_csv,
)


class Comparison:
    """Data, device and results; runs what is missing."""

    def __init__(self, base: dict, results: Results, data: Path, device: torch.device):
        self.base, self.results, self.device = base, results, device
        self.environment = environment(device)  # as it is when the runs begin
        self.rate = None  # FLOPs a second
        self.whole, self.test = load_cifar10(data)
        self.train, self.validation = split_validation(self.whole)
        self.train, self.validation, self.whole, self.test = (
            split.to(device) for split in (self.train, self.validation, self.whole, self.test))

    def settings(self, changes: dict, seed: int = 0) -> dict:
        return self.base | changes | {"seed": seed, "amp": self.device.type == "cuda"}

    def trainer(self, changes: dict, seed: int = 0) -> Trainer:
        settings = self.settings(changes, seed)
        return Trainer(settings, self.train if settings["validation"] else self.whole, self.device)

    def perform(self, changes: dict, seed: int) -> float:
        """Accuracy in percent of the base with `changes`; trained now, if it was not before."""
        if self.results.find(changes, seed) is None:
            row, curve = self.run(changes, seed)
            self.results.add(changes, seed, row, curve)
            print(f"{describe(changes)}, seed {seed}: "
                  + (row["failure"] or f"{judged(row):.2f} % in {row['seconds']:.0f} s"), flush=True)
        return judged(self.results.find(changes, seed))

    def run(self, changes: dict, seed: int) -> tuple[dict, list[dict]]:
        """Train once: a row of runs.csv, and points of the loss over steps and seconds."""
        trainer = self.trainer(changes, seed)
        row = dict(validation_accuracy="", test_accuracy="", loss="", train_accuracy="",
                   parameters=parameter_count(trainer.net), flops=trainer.flops(), seconds="", failure="",
                   **self.environment)
        curve, seconds = [], 0.0
        try:
            while trainer.epoch < trainer.epochs:
                start = time.perf_counter()
                last = trainer.train_epoch(progress=False)
                took = time.perf_counter() - start
                curve += points(trainer.step_losses, len(curve), seconds, took)
                seconds += took
        except UserError as error:
            return row | {"failure": str(error).partition(";")[0]}, curve
        name = "validation" if trainer.settings["validation"] else "test"
        held_out = self.validation if name == "validation" else self.test
        right = accuracy(predict(trainer.net, held_out), held_out.labels)
        return row | {f"{name}_accuracy": right, "loss": last["loss"], "train_accuracy": last["accuracy"],
                      "seconds": seconds}, curve

    def announce(self, study: str, rows: list[Variant], seeds: int) -> None:
        """Print how many runs are left to do, and for how long."""
        left = [variant.changes | one for variant in rows for one in variant.tries
                if self.results.find(variant.changes | one, 0) is None]
        for variant in rows:  # a tuned variant's rate is not known yet, and changes no cost
            ends = [variant.changes | one for one in variant.tries or ({},)]
            left += [ends[0] for seed in range(1, seeds + 1)
                     if not any(self.results.find(end, seed) for end in ends)]
        minutes = sum(self.seconds(changes) for changes in left) / 60
        print(f"{study}: {len(rows)} variants, {len(left)} runs to do, about {minutes:.0f} minutes",
              flush=True)

    def seconds(self, changes: dict) -> float:
        """What a run with `changes` will take, if it keeps the FLOP rate of the base."""
        if not self.rate:
            self.rate = self.trainer({}).flops() / time_run(self.settings({}), self.train, self.device)
        return self.trainer(changes).flops() / self.rate

    def choose(self, variant: Variant, chosen: dict[str, dict]) -> dict:
        """The try that is kept: what `variant` adds to its changes."""
        taken = {k: v for name in variant.like for k, v in chosen[name].items()}
        if not variant.tries:
            return taken
        scores = [self.perform(variant.changes | taken | one, 0) for one in variant.tries]
        return taken | variant.tries[scores.index(max(scores))]

    def study(self, rows: list[Variant], seeds: int) -> dict[str, dict]:
        """Run what is missing of a study; the settings that each variant ends with."""
        chosen, settled = {}, {}
        for variant in rows:
            chosen[variant.name] = self.choose(variant, chosen)
            settled[variant.name] = without_base(variant.changes | chosen[variant.name], self.base)
        for seed in range(1, seeds + 1):
            for changes in settled.values():
                self.perform(changes, seed)
        return settled


def without_base(changes: dict, base: dict) -> dict:
    return {name: value for name, value in changes.items() if base[name] != value}


def describe(changes: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items()) or "base"


def points(losses: list[float], known: int, seconds: float, took: float, per_epoch: int = 5) -> list[dict]:
    """The mean loss of each fifth of an epoch, where it ends, and how long training had then run."""
    first = known // per_epoch * len(losses)
    parts = torch.tensor(losses).tensor_split(per_epoch)
    ends = itertools.accumulate(len(part) for part in parts)
    return [dict(step=first + end, seconds=round(seconds + took * end / len(losses), 3),
                 loss=round(part.mean().item(), 5))
            for part, end in zip(parts, ends, strict=True) if len(part)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="of one study: these, and its first")
    parser.add_argument("--base", choices=BASES, help="default: quick on a CPU, full on a GPU")
    parser.add_argument("--seeds", type=count, default=3)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=count, help="CPU threads")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "compare", help="folder of the results")
    args = parser.parse_args()
    if args.variants and len(args.study) > 1:
        raise UserError("--variants needs one --study")
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    name = args.base or ("quick" if device.type == "cpu" else "full")
    base = BASES[name]
    results = Results(args.out / name, base | {"data_md5": data_checksum(args.data_dir)})
    comparison = Comparison(base, results, args.data_dir, device)
    summaries, found = {}, {}
    for study in dict.fromkeys(args.study):
        needed = COMBINED if study == "final" else ()
        for other in (*[each for each in needed if each not in found], study):
            rows = variants(other, base, found)
            rows = wanted(args.variants if other == study else None, rows)
            comparison.announce(other, rows, args.seeds)
            settled = comparison.study(rows, args.seeds)
            tried = {variant.name: list(variant.tries) for variant in rows}
            summaries[other] = summary(other, settled, tried, results, args.seeds)
            found[other] = best(summaries[other])
            print(f"\n{other}, base {name}\n{table(summaries[other])}\n", flush=True)
        held = [row for row in read_table(results.folder / "summary.csv") if row["study"] not in summaries]
        write_csv(results.folder / "summary.csv", held + [row for rows in summaries.values() for row in rows])


if __name__ == "__main__":
    run_main(main)
