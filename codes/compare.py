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
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.compare_results import Results, best, judged, read_table, summary, table
from codes.evaluate import accuracy, predict
from codes.networks import parameter_count
from codes.settings import DEFAULTS, OPTIMIZERS, count
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

COMMON = DEFAULTS | dict(validation=True, n_items=None, compile=False, winograd=False)
BASES = {  # half a minute to two minutes a run on two CPU cores; a GPU
    "quick": COMMON | dict(widths=[16, 64, 64], epochs=4, batch_size=500, lr=0.24, small_share=0.75,
                           whiten_bias_share=0.25),
    "full": COMMON | dict(widths=[64, 256, 256], epochs=20, lr=0.2, translate=4, whiten_bias_share=0.15),
}
STUDIES = ("optimizers", "activations", "components", "augmentation", "widths", "depth", "losses", "final")
COMBINED = ("components", "augmentation", "activations", "optimizers")  # whose best `final` puts together


class Variant(NamedTuple):
    """A row of a study's table.

    Args:
        changes: settings in place of the base's.
        tries: further changes; the best on validation is kept.
        like: variants, earlier in the study, whose kept tries are taken over.
    """

    name: str
    changes: dict = {}
    tries: tuple[dict, ...] = ()
    like: tuple[str, ...] = ()


def rates(centre: float, factor: float = 3.0) -> tuple[dict, ...]:
    """Five learning rates, `factor` apart."""
    return tuple({"lr": float(f"{centre * factor ** i:.2g}")} for i in range(-2, 3))


def variants(study: str, base: dict, found: dict[str, dict]) -> list[Variant]:
    """The rows of `study`. Only `final` needs what the others found: {study: best changes}."""
    if study == "final":
        best = {name: value for each in COMBINED for name, value in found[each].items()}
        return [Variant("base", {"validation": False}),
                Variant("the best of each study", best | {"validation": False})]
    return globals()[f"_{study}"](base)


def _widths(base: dict) -> list[Variant]:
    def scaled(factor: float) -> dict:
        return {"widths": [round(factor * width) for width in base["widths"]]}

    return [Variant(f"× {factor:g}: {', '.join(map(str, scaled(factor)['widths']))}",
                    scaled(factor) if factor != 1 else {}) for factor in (1, 0.5, 0.75, 1.5, 2)]


def _depth(base: dict) -> list[Variant]:
    return [Variant("2 convolutions a group"), Variant("1", {"depth": 1}), Variant("3", {"depth": 3}),
            Variant("3, residual", {"depth": 3, "residual": True}),
            Variant("4, residual", {"depth": 4, "residual": True})]


def _components(base: dict) -> list[Variant]:
    parts = {"batch norm": {}, "dropout": {"dropout": 0.1}, "residual": {"residual": True}}
    plain = {"norm": "none"}
    found = []
    for chosen in itertools.product((True, False), repeat=3):
        names = [name for name, yes in zip(parts, chosen, strict=True) if yes]
        changes = {k: v for name in names for k, v in parts[name].items()} | ({} if chosen[0] else plain)
        found.append(Variant(" + ".join(names) or "none", changes, () if chosen[0] else rates(base["lr"])))
    return sorted(found, key=lambda variant: variant.name != "batch norm")


def _activations(base: dict) -> list[Variant]:
    names = ("gelu", "relu", "leaky_relu", "elu", "silu", "mish", "hardswish", "tanh", "none")
    return [Variant(name, {"activation": name} if name != base["activation"] else {}) for name in names]


def _augmentation(base: dict) -> list[Variant]:
    nothing = {"flip": "none", "translate": 0}
    return [Variant("alternating flip, shifts"), Variant("none", nothing),
            Variant("shifts alone", {"flip": "none"}), Variant("flip alone", {"translate": 0}),
            Variant("random flip, shifts", {"flip": "random"}),
            *(Variant(f"and {label}", changes) for label, changes in {
                "cutout of 8 pixels": {"cutout": 8}, "TrivialAugment": {"augment": "trivial"},
                "mixup": {"augment": "mixup"}, "CutMix": {"augment": "cutmix"}}.items())]


def _optimizers(base: dict) -> list[Variant]:
    def whole(name: str, **more) -> dict:
        return {"optimizer": name, **OPTIMIZERS[name], **more}

    return [Variant("Muon", {}, rates(base["lr"])),
            Variant("DampedMuon (ours)", {"optimizer": "damped_muon"}, rates(base["lr"])),
            Variant("SGD", whole("sgd", momentum=0.0), rates(1.0)),
            Variant("SGD, momentum", whole("sgd", nesterov=False), rates(0.1)),
            Variant("SGD, Nesterov", whole("sgd"), rates(0.1)),
            Variant("RMSprop", whole("rmsprop"), rates(1e-3)),
            Variant("Adam", whole("adam"), rates(3e-3)),
            Variant("AdamW", whole("adamw"), rates(3e-3))]


def _losses(base: dict) -> list[Variant]:
    """Under Adam: there, L2 in the loss and decoupled decay are two things, and Muon rescales both away."""
    losses = {"cross-entropy": dict(label_smoothing=0.0), "label smoothing": dict(label_smoothing=0.2),
              "focal": dict(loss="focal", label_smoothing=0.0),
              "squared error": dict(loss="squared_error", label_smoothing=0.0),
              "binary cross-entropy": dict(loss="binary_cross_entropy", label_smoothing=0.0)}
    regularisers = {"L2": ("adam", "weight_decay", (1e-5, 1e-4, 1e-3)), "L1": ("adam", "l1", (1e-6, 1e-5, 1e-4)),
                    "decoupled decay": ("adamw", "weight_decay", (1e-2, 1e-1, 1.0))}
    adam = {"optimizer": "adam", **OPTIMIZERS["adam"]}
    found = [Variant(name, adam | changes, rates(3e-3)) for name, changes in losses.items()]
    for (name, changes), (reg, (optimizer, key, factors)) in itertools.product(
            losses.items(), regularisers.items()):
        tried = tuple({key: factor} for factor in factors) if name == "cross-entropy" else ()
        like = (name,) if tried else (name, f"cross-entropy + {reg}")
        found.append(Variant(f"{name} + {reg}", adam | changes | {"optimizer": optimizer}, tried, like))
    return found


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
        name, held_out = ("validation", self.validation) if trainer.settings["validation"] else ("test", self.test)
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
        print(f"{study}: {len(rows)} variants, {len(left)} runs to do, about {minutes:.0f} minutes", flush=True)

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
                 loss=round(part.mean().item(), 5)) for part, end in zip(parts, ends, strict=True) if len(part)]


def wanted(names: list[str] | None, rows: list[Variant]) -> list[Variant]:
    """The variants named, those they lean on, and the first, with which all are compared.

    Raises:
        UserError: no variant is called so.
    """
    if not names:
        return rows
    known = {variant.name: variant for variant in rows}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(map(repr, known))}")
    needed = {rows[0].name, *names, *(other for name in names for other in known[name].like)}
    needed |= {other for name in needed for other in known[name].like}
    return [variant for variant in rows if variant.name in needed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="of one study: only these, and its first")
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
