"""What makes the network better, one factor at a time: `make compare`, or

    python codes/compare.py --study optimizers
    python codes/compare.py --study activations --variants tanh mish --seeds 5
    python codes/compare.py --base long --study augmentation --variants none --seeds 1

Trains every variant of the studies on 45,000 images and judges it on the other 5,000; the test set
is read by the study `final` alone. Per seed, all variants start from the same random numbers and
see the same batches, so each is compared with the study's first variant by paired differences. The
rate of every optimizer, of every loss, and of every component is tuned (but with dropout, which
takes the one without) by three or five tries on seed 0, which counts for nothing else, on the same
5,000 images; where the best is the first or the last, up to three more go on from there. A run
whose loss is not finite is a row that says so. A folder may hold rows of several machines, each of
which names its own.

Leaves in reports/results/compare/<base>/ (a run that is there is not run again; a kill costs one):

    base.json    the settings that all share
    runs.csv     a row a run: what differs from the base, seed, validation accuracy, cost
    curves.csv   the training loss of each run over steps and seconds
    summary.csv  a row a variant: mean, standard deviation, difference from the first"""

import itertools
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.estimate import expected_seconds
from codes.results.compare_results import Results, best, judged, key, summary_rows
from codes.results.comparisons import ASIDE, by_study, in_order, study_table
from codes.settings import Settings
from codes.studies import BASES, COMBINED, MORE, STUDIES, Variant, beyond, variants, wanted
from codes.trainer import NotFinite, Trainer
from VGG_BatchNorm.ground.cifar10 import data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import RESULTS_DIR, write_csv
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, pick_precision, use_device
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.script import GOES_ON, UserError, run_main, user_path
from VGG_BatchNorm.ground.tables import markdown
from VGG_BatchNorm.VGG import get_number_of_parameters


class Tuned(NamedTuple):
    """A variant, as far as its tries are done.

    Args:
        changes: settings in place of the base's: the variant's, those taken over, and `best_try`.
        best_try: the best of `tries`; {} without any, or as long as some are missing.
        tries: the variant's, and those that an edge added.
        missing: changes of the tries that are to be run.
        settled: nothing is missing, nor of the variants whose tries it takes over."""

    changes: dict
    best_try: dict
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
        self.whole, self.test = (split.to(device) for split in load_cifar10(data))
        self.train, self.validation = split_validation(self.whole)

    def study(self, variant_rows: list[Variant], seeds: int) -> None:
        """Run what is missing of these variants."""
        tuned = self.tune(variant_rows).values()
        for seed in range(1, seeds + 1):
            for variant in tuned:
                self.perform(variant.changes, seed)

    def tune(self, variant_rows: list[Variant], run: bool = True) -> dict[str, Tuned]:
        """Return what each variant ends with; without `run`, as far as the results say."""
        tuned: dict[str, Tuned] = {}
        for variant in variant_rows:
            start, likes = variant.changes, [tuned[name] for name in variant.like]
            for other in likes:
                start = start | other.best_try
            tries, missing, best_try = list(variant.tries), [], {}
            while tries:
                missing = [start | changes for changes in tries
                           if self.results.find(start | changes, 0) is None]
                if missing and not run:
                    break
                scores = [self.perform(start | changes, 0) for changes in tries]
                best_try, missing = tries[scores.index(max(scores))], []
                longer = beyond(tries, scores) if len(tries) < len(variant.tries) + MORE else None
                if not longer:
                    break
                tries, best_try = longer, {}
            tuned[variant.name] = Tuned(start | best_try, best_try, tries, missing,
                                        not missing and all(other.settled for other in likes))
        return tuned

    def summary(self, study: str, variant_rows: list[Variant]) -> list[dict]:
        """Return the study's rows of summary.csv, as far as the results say."""
        settled = {name: tuned for name, tuned in self.tune(variant_rows, run=False).items()
                   if tuned.settled}
        return summary_rows(study, {name: tuned.changes for name, tuned in settled.items()},
                            {name: tuned.tries for name, tuned in settled.items()}, self.results)

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
        """Train once; return the rest of a row of runs.csv, and of its rows of curves.csv."""
        trainer = self.trainer(changes, seed)
        row = dict(validation_accuracy=None, test_accuracy=None, loss=None, train_accuracy=None,
                   parameters=get_number_of_parameters(trainer.net), flops=trainer.flops(),
                   seconds=None, failure=None, **self.environment)
        curve, seconds = [], 0.0
        try:
            while trainer.epoch < trainer.epochs:
                first, start = trainer.epoch * len(trainer.loader), time.perf_counter()
                last = trainer.train_epoch(progress=False)
                took = time.perf_counter() - start
                curve += curve_rows(trainer.step_losses, first, seconds, took)
                seconds += took
        except NotFinite as error:
            return row | {"failure": str(error).partition(";")[0]}, curve
        name = "validation" if trainer.settings.validation else "test"
        held_out = self.validation if name == "validation" else self.test
        right = accuracy(predict(trainer.net, held_out), held_out.labels)
        return row | {f"{name}_accuracy": right, "loss": last["loss"],
                      "train_accuracy": last["accuracy"], "seconds": seconds}, curve

    def trainer(self, changes: dict, seed: int = 0) -> Trainer:
        settings = self.settings(changes, seed)
        return Trainer(settings, self.train if settings.validation else self.whole, self.device)

    def settings(self, changes: dict, seed: int = 0) -> Settings:
        return Settings.from_dict(self.base | changes | {"seed": seed})

    def announce(self, study: str, variant_rows: list[Variant], seeds: int) -> None:
        """Print how many runs are left and about how many minutes they take.

        Tries that `beyond` may add later are not counted."""
        left = []
        for variant in self.tune(variant_rows, run=False).values():
            done = () if variant.missing else self.results.seeds(key(variant.changes, self.base))
            left += variant.missing
            left += [variant.changes] * len(set(range(1, seeds + 1)) - set(done))
        minutes = sum(map(self.seconds, left)) / 60
        print(f"{study}: {len(variant_rows)} variants, {len(left)} runs to do, "
              f"about {minutes:.0f} minutes", flush=True)

    def seconds(self, changes: dict) -> float:
        """Return what a run with `changes` will take, if it keeps the FLOP rate of the base."""
        for each in ({}, changes):
            if (text := key(each, self.base)) not in self.flops:
                self.flops[text] = self.trainer(each).flops()
        if not self.base_seconds:
            self.base_seconds = expected_seconds(self.settings({}), self.train, self.device)
        return self.base_seconds * self.flops[key(changes, self.base)] / self.flops["{}"]


def describe(changes: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items()) or "base"


def curve_rows(losses: list[float], first: int, seconds: float, took: float) -> list[dict]:
    """Return the mean loss of each fifth of an epoch, its last step, and the seconds until then."""
    split = [part for part in torch.tensor(losses).tensor_split(5) if len(part)]
    ends = itertools.accumulate(len(part) for part in split)
    return [dict(step=first + end, seconds=round(seconds + took * end / len(losses), 3),
                 loss=round(part.mean().item(), 5)) for part, end in zip(split, ends, strict=True)]


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir", "--device", "--threads")
    add = parser.add_argument
    add("--study", nargs="+", choices=STUDIES, help=f"default: all but {', '.join(ASIDE)}",
        default=[study for study in STUDIES if study not in ASIDE])
    add("--variants", nargs="+", metavar="NAME", help="of one study: these, and its first")
    add("--base", choices=BASES, help="default: quick on a CPU, full on a GPU")
    add("--seeds", type=int, choices=range(1, 101), metavar="N", default=3)
    add("--out", type=user_path, default=RESULTS_DIR / "compare", help="folder of the results")
    args = parser.parse_args()
    if args.variants and len(args.study) > 1:
        raise UserError("--variants needs one --study")
    device = use_device(args.device, args.threads)
    base_name = args.base or ("quick" if device.type == "cpu" else "full")
    base = BASES[base_name]
    base = base | {"precision": pick_precision(base["precision"], device)}
    results = Results(args.out / base_name, base | {"data_md5": data_checksum(args.data_dir)})
    comparison = Comparison(base, results, args.data_dir, device)
    best_changes = {}
    for asked in dict.fromkeys(args.study):
        needed = COMBINED if asked == "final" else ()
        for study in (*[name for name in needed if name not in best_changes], asked):
            of_study = variants(study, base, best_changes)
            chosen = wanted(args.variants if study == asked else None, of_study)
            comparison.announce(study, chosen, args.seeds)
            comparison.study(chosen, args.seeds)
            # of all that is there: which differences are clear depends on how many there are
            rows = comparison.summary(study, of_study)
            best_changes[study] = best(rows)
            print(f"\n{study}, base {base_name}\n{markdown(study_table(rows))}\n", flush=True)
            studies = in_order(by_study(results.folder) | {study: rows})
            write_csv(results.folder / "summary.csv", sum(studies.values(), []))


if __name__ == "__main__":
    run_main(main, stopped=GOES_ON)
