"""Runs of a comparison on disk, and what they say: means, paired differences, how sure they are."""

import json
import math
import statistics
from pathlib import Path

from codes.studies import STUDIES
from VGG_BatchNorm.ground.files import read_json, read_table, write_csv, write_json
from VGG_BatchNorm.ground.script import UserError


class Results:
    """runs.csv and curves.csv in `folder`, whole at every moment.

    Raises:
        UserError: the folder holds runs of another base, or a damaged file.
    """

    def __init__(self, folder: Path, base: dict | None = None):
        self.folder = folder
        known = base is None or (folder / "base.json").exists()
        self.held = read_json(folder / "base.json") if known else {}
        self.base = self.held | (base or {})
        differing = [name for name in self.held if self.held[name] != self.base[name]]
        if differing:
            raise UserError(f"{folder} holds runs with {differing[0]} {self.held[differing[0]]}, not "
                            f"{self.base[differing[0]]}; name another folder with --out")
        self.rows = read_table(folder / "runs.csv")
        self.curves = read_table(folder / "curves.csv")

    def seeds(self, changes: str) -> dict[int, dict]:
        """The runs of a variant by seed, in their order; seed 0, which tries, left out."""
        return {int(row["seed"]): row for row in sorted(self.rows, key=lambda row: int(row["seed"]))
                if row["changes"] == changes and row["seed"] != "0"}

    def find(self, changes: dict, seed: int) -> dict | None:
        """The row of a run, or None. `changes` may name settings that equal the base's."""
        text = key(changes, self.base)
        return next((row for row in self.rows if (row["changes"], row["seed"]) == (text, str(seed))), None)

    def add(self, changes: dict, seed: int, row: dict, curve: list[dict]) -> None:
        """Keep a run; a kill leaves it whole or not there."""
        head = {"changes": key(changes, self.base), "seed": str(seed)}
        if self.held != self.base:  # the first run, or a setting that is new since
            write_json(self.folder / "base.json", self.base)
            self.held = self.base
        mine = tuple(head.values())
        others = [point for point in self.curves if (point["changes"], point["seed"]) != mine]
        self.curves = others + [head | point for point in curve]
        write_csv(self.folder / "curves.csv", self.curves)  # first: runs.csv says what is done
        self.rows.append(head | {name: str(value) for name, value in row.items()})
        write_csv(self.folder / "runs.csv", self.rows)


def key(changes: dict, base: dict) -> str:
    """What differs from the base, as runs.csv has it."""
    return json.dumps({name: changes[name] for name in sorted(changes) if changes[name] != base[name]})


def judged(row: dict) -> float:
    """Accuracy in percent of a run that did not fail, on whatever it was judged by."""
    name = "test_accuracy" if row["validation_accuracy"] == "" else "validation_accuracy"
    return 100 * float(row[name])


def summary(study: str, settled: dict[str, dict], tried: dict[str, tuple[dict, ...]],
            results: Results) -> list[dict]:
    """A row for each variant of a study, in its order; of all its runs but those of seed 0.

    Columns: accuracies in percent, of the runs that did not fail; `difference` from the first
    variant, mean over the seeds that both have; `uncertainty` of that mean, over seeds, for these
    images: two standard errors, from the variant's own standard deviation or the pooled one of the
    study, whichever is larger (three seeds alone can agree by luck); `tries`: how many rates or
    strengths were tried; `edge`: the one that was kept is the first or the last.
    """
    runs = {name: results.seeds(key(changes, results.base)) for name, changes in settled.items()}
    runs = {name: mine for name, mine in runs.items() if mine}
    right = {name: {seed: judged(row) for seed, row in mine.items() if not row["failure"]}
             for name, mine in runs.items()}
    first = next(iter(right.values()), {})
    paired = {name: [value - first[seed] for seed, value in mine.items() if seed in first]
              for name, mine in right.items()}
    own = {name: deviation(values) for name, values in paired.items()}
    pooled = math.sqrt(statistics.mean([value**2 for value in list(own.values())[1:] if value != ""] or [0]))
    rows = []
    for name, mine in runs.items():
        done, tries, n = list(right[name].values()), tried.get(name, ()), len(paired[name])
        whole = results.base | settled[name]
        kept = [index for index, one in enumerate(tries) if one.items() <= whole.items()]
        seconds = [float(row["seconds"]) for row in mine.values() if not row["failure"]]
        some = next(iter(mine.values()))
        rows.append({
            "study": study, "variant": name, "changes": some["changes"], "n": len(mine),
            "failures": len(mine) - len(done), "accuracy": statistics.mean(done) if done else "",
            "deviation": deviation(done), "difference": statistics.mean(paired[name]) if n else "",
            "uncertainty": 2 * max(own[name], pooled) / math.sqrt(n) if n > 1 and rows else "",
            "tries": len(tries), "edge": bool(kept) and kept[0] in (0, len(tries) - 1),
            "parameters": some["parameters"], "flops": some["flops"],
            "seconds": statistics.median(seconds) if done else ""})
    return [{name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
            for row in rows]


def deviation(values: list[float]) -> float | str:
    return statistics.stdev(values) if len(values) > 1 else ""


def clear(row: dict) -> bool:
    """Whether the difference from the study's first variant is more than its uncertainty."""
    return row["uncertainty"] != "" and abs(float(row["difference"])) > float(row["uncertainty"])


def sorted_by_effect(rows: list[dict]) -> list[dict]:
    """From worst to best; what failed with all seeds first."""
    return sorted(rows, key=lambda row: -math.inf if row["accuracy"] == "" else float(row["accuracy"]))


def best(rows: list[dict]) -> dict:
    """Changes of the best variant that beats the study's first clearly; {} where none does."""
    better = [row for row in rows if clear(row) and float(row["difference"]) > 0]
    return json.loads(sorted_by_effect(better)[-1]["changes"]) if better else {}


def with_spread(value: str | float, spread: str | float, sign: str = "") -> str:
    """"1.20 ± 0.30", or what there is of it."""
    if value == "":
        return "–"
    return f"{float(value):{sign}.2f}" + (f" ± {float(spread):.2f}" if spread != "" else "")


def verdict(row: dict) -> str:
    """The difference from the first variant, and whether it is clear."""
    return with_spread(row["difference"], row["uncertainty"], "+") + ("" if clear(row) else ", not clear")


def table(rows: list[dict]) -> str:
    """A study's rows in Markdown, best first."""
    judge = "test" if rows[0]["study"] == "final" else "validation"
    head = ("variant", f"{judge} accuracy (%)", "seeds", "difference (points)", "tries", "parameters",
            "PFLOP to train", "seconds")
    lines = [head, ["---"] * len(head)]
    for row in reversed(sorted_by_effect(rows)):
        failed = f" ({row['failures']} failed)" if int(row["failures"]) else ""
        edge = ", best at the edge" if str(row["edge"]) == "True" else ""
        tries = f"{row['tries']}{edge}" if int(row["tries"]) else "–"
        lines.append((row["variant"], with_spread(row["accuracy"], row["deviation"]), f"{row['n']}{failed}",
                      "compared with" if row is rows[0] else verdict(row), tries,
                      f"{int(row['parameters']) / 1e6:.3f} M", f"{float(row['flops']) / 1e15:.4f}",
                      f"{float(row['seconds']):.0f}" if row["seconds"] != "" else "–"))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def by_study(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of summary.csv in the folder of a base, by study, in their order; {} where it is missing."""
    rows = read_table(folder / "summary.csv")
    return {name: mine for name in STUDIES if (mine := [row for row in rows if row["study"] == name])}


def overview(studies: dict[str, list[dict[str, str]]]) -> str:
    """One line a study in Markdown: what was best, and what was worst."""
    lines = ["| study | compared with | best | points | worst | points |", "|---|---|---|---|---|---|"]
    for name, rows in studies.items():
        others = sorted_by_effect(rows[1:])
        ends = [f"{row['variant']} | {verdict(row)}" for row in (others[-1], others[0])] if others else []
        first = f"{rows[0]['variant']}: {with_spread(rows[0]['accuracy'], rows[0]['deviation'])} %"
        lines.append(" | ".join((f"| {name}", first, *(ends or ["–"] * 4))) + " |")
    return "\n".join(lines)
