"""The comparisons that `make compare` left, by study, and their tables."""

import json
import math
from pathlib import Path

from codes.results.advice import short
from codes.results.compare_results import FACTOR, SUMMARY, Results, by_effect, judged, outcome
from codes.results.words import with_spread
from VGG_BatchNorm.ground.files import read_csv, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table

ORDER = ("optimizers", "damped_muon", "whole_images", "activations", "components", "augmentation",
         "widths", "depth", "recipe", "losses", "losses_muon",
         "final")  # of studies on a page; others follow
ASIDE = ("damped_muon", "recipe", "losses_muon")  # these are run and reported where asked for
CHANGES = {  # in words, with both accuracies before: study and variant
    "Adam, one rate for all weights, no decay, in place of Muon with rescaling":
        ("optimizers", "Adam"),
    "batch norm taken away (under AdamW, from {0:.1f} and {1:.1f} %)": ("components", "none"),
    "CutMix": ("augmentation", "with CutMix"), "twice the filters": ("widths", "× 2")}


def by_study(folder: Path) -> dict[str, list[dict]]:
    """Return the rows of a base's summary.csv, by study, in ORDER; {} without the file."""
    found: dict[str, list[dict]] = {}
    for row in read_csv(folder / "summary.csv", SUMMARY):
        found.setdefault(row["study"], []).append(row)
    return in_order(found)


def in_order(studies: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Return them in ORDER; others follow."""
    return {name: studies[name] for name in (*ORDER, *studies) if name in studies}


class Comparisons(Results):
    """The runs of a base, and summary.csv by study."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.studies = by_study(folder)
        if not self.studies:
            raise UserError(f"no finished study in {folder}; `make compare` makes one")

    def tries(self, row: dict) -> tuple[list[tuple[float, float]], tuple[float, float]]:
        """Return (learning rate, accuracy in % on seed 0) pairs of all tries, sorted, and the pair
        that was kept.

        Rates that are no powers of FACTOR away from the one kept are another study's tries."""
        changes = json.loads(row["changes"])
        kept, others = self.lr(changes), {k: v for k, v in changes.items() if k != "lr"}
        runs = [(json.loads(run["changes"]), run) for run in self.rows
                if run["seed"] == 0 and not run["failure"]]
        found = sorted((self.lr(tried), judged(run)) for tried, run in runs
                       if {k: v for k, v in tried.items() if k != "lr"} == others
                       and abs((steps := math.log(self.lr(tried) / kept, FACTOR)) - round(steps))
                       < 0.1)
        return found, next((one for one in found if one[0] == kept), (float("nan"),) * 2)

    def lr(self, changes: dict) -> float:
        return changes.get("lr", self.base["lr"])


def verdict(row: dict) -> str:
    """Return the difference from the first variant, and how sure it is."""
    return with_spread(row["difference"], row["uncertainty"], "+") + (
        "" if row["clear"] else f", {outcome(row)}")


def study_table(rows: list[dict]) -> Table:
    """Return a study's rows, best first; with seconds, where they are known of any."""
    timed = any(row["seconds"] is not None for row in rows)
    judge = "test" if rows[0]["study"] == "final" else "validation"
    head = ("variant", f"{judge} accuracy (%)", "seeds", "difference (points)", "tries",
            "parameters", "PFLOP to train", *("seconds",) * timed)
    lines = []
    for row in reversed(by_effect(rows)):
        failed = f" ({row['failures']} failed)" if row["failures"] else ""
        edge = ", best at the edge" if row["edge"] else ""
        lines.append((row["variant"], with_spread(row["accuracy"], row["deviation"]),
                      f"{row['n']}{failed}", "compared with" if row is rows[0] else verdict(row),
                      f"{row['tries']}{edge}" if row["tries"] else "–",
                      f"{row['parameters'] / 1e6:.3f} M", f"{row['flops'] / 1e15:.4f}",
                      *("–" if row["seconds"] is None else f"{row['seconds']:.0f}",) * timed))
    return Table("", head, lines)


def overview(studies: dict[str, list[dict]]) -> Table:
    """Return one line a study: what was best, and what was worst."""
    lines = []
    for name, rows in studies.items():
        others = by_effect(rows[1:])
        ends = [cell for row in (others[-1], others[0]) for cell in (row["variant"], verdict(row))
                ] if others else ["–"] * 4
        first = with_spread(rows[0]["accuracy"], rows[0]["deviation"])
        lines.append((name, f"{rows[0]['variant']}: {first} %", *ends))
    return Table("", ("study", "compared with", "best", "points", "worst", "points"), lines)


def without_effect_table(studies: dict[str, list[dict]]) -> Table:
    """Return all that did not help, with numbers: what is not clearly better than its study's first
    variant."""
    lines = [(row["study"], row["variant"], with_spread(row["difference"], row["uncertainty"], "+"),
              outcome(row))
             for rows in studies.values() for row in reversed(by_effect(rows[1:]))
             if outcome(row) != "better"]
    return Table("", ("study", "variant", "difference (points)", ""), lines)


def changes_table(compare: Path) -> Table:
    """Return what one change does to both bases, in points; bold: clear after correction.
    Raises KeyError: a variant, or a whole summary.csv, is not there. Raises UserError: a base.json
    is not."""
    columns, heads, firsts = [], [], []
    for name in ("quick", "long"):
        studies = by_study(compare / name)
        base, epochs = studies["widths"][0], read_json(compare / name / "base.json", "epochs")
        heads.append(f"{base['parameters'] / 1e6:.2f} M parameters, {epochs['epochs']} epochs: "
                     f"{base['accuracy']:.1f} % right")
        found = {(study, short(row)): row for study, rows in studies.items() for row in rows[1:]}
        columns.append([f"**{verdict(row)}**" if row["clear"] else verdict(row)
                        for row in map(found.__getitem__, CHANGES.values())])
        firsts.append([studies[study][0]["accuracy"] for study, _ in CHANGES.values()])
    changes = [text.format(*of) for text, *of in zip(CHANGES, *firsts, strict=True)]
    return Table("", ("change", *heads), list(zip(changes, *columns, strict=True)))
