"""What makes the network better, one factor at a time: `make compare`, or

    python codes/compare.py --study optimizers
    python codes/compare.py --study activations --variants tanh mish --seeds 5
    python codes/compare.py --base long --study augmentation --variants none --seeds 1

Trains every variant of every study on 45,000 images and judges it on the other 5,000; the test set
is read by the study `final` alone. Per seed, all variants start from the same random numbers and
see the same batches, so each is compared with the study's first variant by paired differences. The
rate of every optimizer, of every loss, and of every component is tuned by three or five tries on
seed 0, which counts for nothing else; where the best is the first or the last, up to three more go
on from there. A run whose loss is not finite is a row that says so.

Leaves in reports/results/compare/<base>/ (a run that is there is not run again; a kill costs one):

    base.json    the settings that all share
    runs.csv     a row a run: what differs from the base, seed, validation accuracy, cost
    curves.csv   the training loss of each run over steps and seconds
    summary.csv  a row a variant: mean, standard deviation, difference from the first
"""

import itertools
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.flags import flag_parser
from codes.networks import parameter_count
from codes.results.compare_results import SUMMARY, Results, best, judged, key, summary
from codes.results.comparisons import study_table
from codes.settings import Settings, count
from codes.studies import BASES, COMBINED, MORE, STUDIES, Variant, beyond, variants, wanted
from codes.trainer import Trainer, expected_seconds
from VGG_BatchNorm.ground.cifar10 import DATA_DIR, data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv, write_csv
from VGG_BatchNorm.ground.machine import environment, pick_precision, use_device
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.script import UserError, run_main, user_path
from VGG_BatchNorm.ground.tables import markdown


class Tuned(NamedTuple):
    """A variant, as far as its tries are done.

    Args:
        changes: settings in place of the base's: the variant's, those taken over, and `kept`.
        kept: the best of `tries`; {} without any, or as long as some are missing.
        tries: the variant's, and those that an edge added.
        missing: changes of the tries that are to be run.
        settled: nothing is missing, nor of the variants whose tries it takes over.
    """

    changes: dict
    kept: dict
    tries: list[dict]
    missing: list[dict]
    settled: bool


class Comparison:
    """Data, device and results; runs what is missing."""

    def __init__(self, base: dict, results: Results, data: Path, device: torch.device):
        self.base, self.results, self.device = base, results, device
        self.environment = environment(device)  # as it is when the runs begin
        self.flops: dict[str, int] = {}  # by changes
        self.base_seconds = 0.0
        self.whole, self.test = load_cifar10(data)
        self.train, self.validation = split_validation(self.whole)
        self.train, self.validation, self.whole, self.test = (
            split.to(device) for split in (self.train, self.validation, self.whole, self.test))

    def settings(self, changes: dict, seed: int = 0) -> Settings:
        return Settings.from_dict(self.base | changes | {"seed": seed})

    def trainer(self, changes: dict, seed: int = 0) -> Trainer:
        settings = self.settings(changes, seed)
        return Trainer(settings, self.train if settings.validation else self.whole, self.device)

    def perform(self, changes: dict, seed: int) -> float:
        """Return accuracy in percent of the base with `changes`, 0 if it failed; run if need be."""
        if self.results.find(changes, seed) is None:
            row, curve = self.run(changes, seed)
            self.results.add(changes, seed, row, curve)
            print(f"{describe(changes)}, seed {seed}: "
                  + (row["failure"] or f"{judged(row):.2f} % in {row['seconds']:.0f} s"),
                  flush=True)
        row = self.results.find(changes, seed)
        return 0.0 if row["failure"] else judged(row)

    def run(self, changes: dict, seed: int) -> tuple[dict, list[dict]]:
        """Train once: a row of runs.csv, and points of the loss over steps and seconds."""
        trainer = self.trainer(changes, seed)
        row = dict(validation_accuracy=None, test_accuracy=None, loss=None, train_accuracy=None,
                   parameters=parameter_count(trainer.net), flops=trainer.flops(), seconds=None,
                   failure=None, **self.environment)
        curve, seconds = [], 0.0
        try:
            while trainer.epoch < trainer.epochs:
                first, start = trainer.epoch * len(trainer.loader), time.perf_counter()
                last = trainer.train_epoch(progress=False)
                took = time.perf_counter() - start
                curve += points(trainer.step_losses, first, seconds, took)
                seconds += took
        except UserError as error:
            return row | {"failure": str(error).partition(";")[0]}, curve
        name = "validation" if trainer.settings.validation else "test"
        held_out = self.validation if name == "validation" else self.test
        right = accuracy(predict(trainer.net, held_out), held_out.labels)
        return row | {f"{name}_accuracy": right, "loss": last["loss"],
                      "train_accuracy": last["accuracy"], "seconds": seconds}, curve

    def announce(self, study: str, rows: list[Variant], seeds: int) -> None:
        """Print how many runs are left to do, but tries that an edge may add, and for how long."""
        left = []
        for one in self.tune(rows, run=False).values():
            done = () if one.missing else self.results.seeds(key(one.changes, self.base))
            left += one.missing + [one.changes] * len(set(range(1, seeds + 1)) - set(done))
        minutes = sum(map(self.seconds, left)) / 60
        print(f"{study}: {len(rows)} variants, {len(left)} runs to do, about {minutes:.0f} minutes",
              flush=True)

    def seconds(self, changes: dict) -> float:
        """Return what a run with `changes` will take, if it keeps the FLOP rate of the base."""
        for one in ({}, changes):
            if (text := key(one, self.base)) not in self.flops:
                self.flops[text] = self.trainer(one).flops()
        if not self.base_seconds:
            self.base_seconds = expected_seconds(self.settings({}), self.train, self.device)
        return self.base_seconds * self.flops[key(changes, self.base)] / self.flops["{}"]

    def tune(self, rows: list[Variant], run: bool = True) -> dict[str, Tuned]:
        """Return what each variant ends with; without `run`, as far as the results say."""
        found: dict[str, Tuned] = {}
        for variant in rows:
            start, likes = variant.changes, [found[name] for name in variant.like]
            for one in likes:
                start = start | one.kept
            tries, missing, kept = list(variant.tries), [], {}
            while tries:
                missing = [start | one for one in tries
                           if self.results.find(start | one, 0) is None]
                if missing and not run:
                    break
                scores = [self.perform(start | one, 0) for one in tries]
                kept, missing = tries[scores.index(max(scores))], []
                further = beyond(tries, scores) if len(tries) < len(variant.tries) + MORE else None
                if not further:
                    break
                tries, kept = further, {}
            found[variant.name] = Tuned(start | kept, kept, tries, missing,
                                        not missing and all(one.settled for one in likes))
        return found

    def study(self, rows: list[Variant], seeds: int) -> None:
        """Run what is missing of these variants."""
        tuned = self.tune(rows).values()
        for seed in range(1, seeds + 1):
            for one in tuned:
                self.perform(one.changes, seed)


def describe(changes: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items()) or "base"


def points(losses: list[float], first: int, seconds: float, took: float) -> list[dict]:
    """Return the mean loss of each fifth of an epoch, its last step, and the seconds until then."""
    split = [part for part in torch.tensor(losses).tensor_split(5) if len(part)]
    ends = itertools.accumulate(len(part) for part in split)
    return [dict(step=first + end, seconds=round(seconds + took * end / len(losses), 3),
                 loss=round(part.mean().item(), 5)) for part, end in zip(split, ends, strict=True)]


def main() -> None:
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("--study", nargs="+", choices=STUDIES, default=list(STUDIES))
    add("--variants", nargs="+", metavar="NAME", help="of one study: these, and its first")
    add("--base", choices=BASES, help="default: quick on a CPU, full on a GPU")
    add("--seeds", type=int, choices=range(1, 101), metavar="N", default=3)
    add("--data-dir", type=user_path, default=DATA_DIR)
    add("--device", default="auto")
    add("--threads", type=count, help="CPU threads")
    add("--out", type=user_path, default=RESULTS_DIR / "compare", help="folder of the results")
    args = parser.parse_args()
    if args.variants and len(args.study) > 1:
        raise UserError("--variants needs one --study")
    device = use_device(args.device, args.threads)
    name = args.base or ("quick" if device.type == "cpu" else "full")
    base = BASES[name] | {"precision": pick_precision(BASES[name]["precision"], device)}
    results = Results(args.out / name, base | {
        "data_md5": data_checksum(args.data_dir), "device": device.type})
    comparison = Comparison(base, results, args.data_dir, device)
    summaries, found, path = {}, {}, results.folder / "summary.csv"
    for study in dict.fromkeys(args.study):
        needed = COMBINED if study == "final" else ()
        for other in (*[each for each in needed if each not in found], study):
            rows = variants(other, base, found)
            asked = wanted(args.variants if other == study else None, rows)
            comparison.announce(other, asked, args.seeds)
            comparison.study(asked, args.seeds)
            # of all that is there: which differences are clear depends on how many there are
            tuned = {variant: one for variant, one in comparison.tune(rows, run=False).items()
                     if one.settled}
            summaries[other] = summary(
                other, {variant: one.changes for variant, one in tuned.items()},
                {variant: one.tries for variant, one in tuned.items()}, results)
            found[other] = best(summaries[other])
            text = markdown(study_table(summaries[other]))
            print(f"\n{other}, base {name}\n{text}\n", flush=True)
            held = [row for row in read_csv(path, SUMMARY) if row["study"] != other]
            write_csv(path, held + summaries[other])


if __name__ == "__main__":
    run_main(main)
