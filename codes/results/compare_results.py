"""Runs of a comparison on disk, and what they say: means, paired differences, how sure they are."""

import json
import statistics
from pathlib import Path

from VGG_BatchNorm.ground.files import read_csv, read_json, write_csv, write_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.statistics import holm, p_value, t_interval

RUN = {"seed": int, "validation_accuracy": float, "test_accuracy": float, "loss": float,
       "train_accuracy": float, "parameters": int, "flops": int, "seconds": float, "threads": int}
FACTOR = 3.0  # between two learning rates that are tried, if nothing else is said
CURVE = {"seed": int, "step": int, "seconds": float, "loss": float}
SUMMARY = {"n": int, "failures": int, "accuracy": float, "deviation": float, "difference": float,
           "uncertainty": float, "p": float, "clear": bool, "tries": int, "edge": bool,
           "parameters": int, "flops": int, "seconds": float}


class Results:
    """runs.csv and curves.csv in `folder`, whole at every moment. Raises UserError: the folder
    holds runs of another base, or a damaged file."""

    def __init__(self, folder: Path, base: dict | None = None):
        self.folder = folder
        known = base is None or (folder / "base.json").exists()
        older = {"precision": "float32"}  # than that setting
        self.held = older | read_json(
            folder / "base.json", "widths", "epochs", "batch_size") if known else {}
        self.base = self.held | (base or {})
        differing = [name for name in self.held if self.held[name] != self.base[name]]
        if differing:
            raise UserError(f"{folder} holds runs with {differing[0]} {self.held[differing[0]]}, "
                            f"not {self.base[differing[0]]}; name another folder with --out")
        self.rows = read_csv(folder / "runs.csv", RUN)
        self.curves = read_csv(folder / "curves.csv", CURVE)
        try:
            for row in self.rows:
                row["seed"], json.loads(row["changes"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{folder / 'runs.csv'} is damaged; mend it, or move the folder "
                            "away") from None

    def seeds(self, changes: str) -> dict[int, dict]:
        """Return the runs of a variant by seed, in their order; seed 0, which tries, left out."""
        return {row["seed"]: row for row in sorted(self.rows, key=lambda row: row["seed"])
                if row["changes"] == changes and row["seed"]}

    def find(self, changes: dict, seed: int) -> dict | None:
        """Return the row of a run, or None. `changes` may name settings that equal the base's."""
        mine = key(changes, self.base), seed
        return next((row for row in self.rows if (row["changes"], row["seed"]) == mine), None)

    def add(self, changes: dict, seed: int, row: dict, curve: list[dict]) -> None:
        """Keep a run; a kill leaves it whole or not there."""
        head = {"changes": key(changes, self.base), "seed": seed}
        if self.held != self.base:  # the first run, or a setting that is new since
            write_json(self.folder / "base.json", self.base)
            self.held = self.base
        mine = tuple(head.values())
        others = [one for one in self.curves if (one["changes"], one["seed"]) != mine]
        self.curves = others + [head | point for point in curve]
        write_csv(self.folder / "curves.csv", self.curves)  # first: runs.csv says what is done
        self.rows.append(head | row)
        write_csv(self.folder / "runs.csv", self.rows)


def key(changes: dict, base: dict) -> str:
    """Return what differs from the base, as runs.csv has it. Raises UserError: something that is no
    setting of the base."""
    if unknown := changes.keys() - base.keys():
        raise UserError(f"a variant changes {min(unknown)}, which is no setting of the base")
    names = (name for name in sorted(changes) if changes[name] != base[name])
    return json.dumps({name: changes[name] for name in names})


def judged(row: dict) -> float:
    """Return accuracy in percent of a run that did not fail, on whatever it was judged by."""
    on_test = row["validation_accuracy"] is None
    return 100 * row["test_accuracy" if on_test else "validation_accuracy"]


def summary_rows(study: str, settled: dict[str, dict], tried: dict[str, list[dict]],
                 results: Results) -> list[dict]:
    """Return a row for each variant of a study, in its order, of its runs but those of seed 0;
    where it shares seeds with the first variant, of these alone.

    Columns, empty where there are too few runs to say; accuracies in percent, of the runs that did
    not fail:
        difference, uncertainty: from the first variant, the mean over the seeds that both have;
            half of its 95 % interval over seeds, by Student's t from the variant's own pairs. The
            first's runs are in every difference of a study: if they were lucky, all err alike.
        p, clear: of the t test of these pairs; by Holm's rule over the study's variants, at 5 %
            for all together.
        n, failures: of the seeds counted; seed 0 tunes and does not count.
        tries, edge: how many rates or strengths the grid that is used now has; whether the one that
            was kept is its first or its last.
        seconds: their median, of the runs that were not made beside others."""
    runs = {name: results.seeds(key(changes, results.base)) for name, changes in settled.items()}
    runs = {name: by_seed for name, by_seed in runs.items() if by_seed}
    paired_with = next(iter(runs.values()), {})
    runs = {name: {seed: row for seed, row in by_seed.items() if seed in paired_with} or by_seed
            for name, by_seed in runs.items()}
    right = {name: {seed: judged(row) for seed, row in by_seed.items() if not row["failure"]}
             for name, by_seed in runs.items()}
    first = next(iter(right.values()), {})
    paired = {name: [value - first[seed] for seed, value in by_seed.items() if seed in first]
              for name, by_seed in right.items()}
    p = {name: p_value(values) for name, values in list(paired.items())[1:] if values}
    clear_ones = dict(zip(p, holm(list(p.values())), strict=True))
    rows = []
    for name, by_seed in runs.items():
        done, tries, n = list(right[name].values()), tried.get(name, ()), len(paired[name])
        whole = results.base | settled[name]
        kept = [index for index, one in enumerate(tries) if one.items() <= whole.items()]
        seconds = [row["seconds"] for row in by_seed.values() if row["seconds"] is not None]
        any_run = next(iter(by_seed.values()))
        rows.append({
            "study": study, "variant": name, "changes": any_run["changes"],
            "n": len(by_seed), "failures": len(by_seed) - len(done),
            "accuracy": statistics.mean(done) if done else None,
            "deviation": statistics.stdev(done) if len(done) > 1 else None,
            "difference": statistics.mean(paired[name]) if n else None,
            "uncertainty": None if p.get(name) is None else t_interval(paired[name])[1],
            "p": p.get(name), "clear": clear_ones.get(name, False),
            "tries": len(tries), "edge": bool(kept) and kept[0] in (0, len(tries) - 1),
            "parameters": any_run["parameters"], "flops": any_run["flops"],
            "seconds": statistics.median(seconds) if seconds else None})
    return [{name: round(value, 5 if name == "p" else 3) if isinstance(value, float) else value
             for name, value in row.items()} for row in rows]


def outcome(row: dict) -> str:
    """Return how a variant compares with its study's first: better or worse, where that is clear;
    failed; or why it is not clear. "too few pairs": one, or some that are all the same.
    "uncorrected": zero lies outside of its interval, but luck is not excluded by Holm."""
    if row["accuracy"] is None:
        return "failed"
    if row["clear"]:
        return "better" if row["difference"] > 0 else "worse"
    if row["uncertainty"] is None:
        if row["n"] == 1:
            return "one seed"
        return "no pairs" if row["difference"] is None else "too few pairs"
    leans = abs(row["difference"]) > row["uncertainty"]
    return "uncorrected" if leans else "no clear difference"


def by_effect(rows: list[dict]) -> list[dict]:
    """Return them from worst to best: by the difference from their study's first over the seeds
    that both have, as their seeds may differ. Before these stand, by accuracy, those that have no
    seed in common with it, and before those what failed with all."""
    def place(row: dict) -> tuple:
        compared = row["difference"] is not None
        value = row["difference"] if compared else row["accuracy"]
        return row["accuracy"] is not None, compared, 0.0 if value is None else value

    return sorted(rows, key=place)


def best(rows: list[dict]) -> dict:
    """Return changes of the best variant that beats the study's first clearly; {} if none does."""
    better = [row for row in rows if outcome(row) == "better"]
    return json.loads(by_effect(better)[-1]["changes"]) if better else {}
