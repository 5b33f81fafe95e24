"""The main numbers behind the figures of the page of `make gallery`, as tables.

    TABLES["confusion.png"](results)   # from files in the folder of results; notes are captions"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from codes.documents.preset_tables import accuracy_table
from codes.figures import comparisons
from codes.results.comparisons import by_study, study_table
from codes.results.presets import PRESET_RUN
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.ground.files import read_csv, read_json
from VGG_BatchNorm.ground.tables import Table


def in_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def captioned(caption: str, table: Table) -> list[Table]:
    """Return the table with that caption; none if it has no row."""
    return [table._replace(note=caption)] if table.rows else []


def run_tables(results: Path) -> list[Table]:
    table = accuracy_table(read_csv(results / "runs.csv", PRESET_RUN))
    return captioned("The presets, mean ± standard deviation over seeds; minutes are of training "
                     "alone", table)


def claim_tables(results: Path) -> list[Table]:
    table = claims.claims_table(measures.read_runs(results / "bn" / "full"))
    return captioned(f"The paper's claims and these runs. {table.note}", table)


def study_tables(figure: str, results: Path) -> list[Table]:
    found = by_study(results / "compare" / "quick")
    return [table for name in comparisons.studies_of(figure, found)
            for table in captioned(name.replace("_", " "), study_table(found[name]))]


def made_alike(*paths: Path) -> bool:
    """Return whether JSON files are of the same weights."""
    found = [read_json(path) for path in paths]
    return len({one.get("about", one).get("sha1") for one in found}) == 1


def confusion_tables(results: Path) -> list[Table]:
    tables, mistakes, evaluation = [], results / "mistakes.json", results / "evaluation.json"
    if mistakes.exists():
        rows = [[row["true"], row["said"], str(row["images"])]
                for row in read_json(mistakes)["most_frequent_mistakes"]]
        tables.append(Table("The most frequent mistakes, one view",
                            ["class", "the net says", "test images"], rows))
    if evaluation.exists() and (not tables or made_alike(mistakes, evaluation)):
        shares = read_json(evaluation)["accuracy_by_class_six_views"]
        tables.append(Table("Accuracy with six views", ["class", "accuracy (%)"],
                            [[name, in_percent(share)] for name, share in shares.items()]))
    return tables


def calibration_tables(results: Path) -> list[Table]:
    errors = read_json(results / "mistakes.json")["calibration_error"]
    return [Table("Expected calibration error", ["views", "ECE (%)"],
                  [[name, in_percent(error)] for name, error in errors.items()])]


def look_alike_tables(results: Path) -> list[Table]:
    rows = read_json(results / "mistakes.json")["by_class"].items()
    return [Table("Accuracy and look-alikes", ["class", "accuracy (%)", "look-alikes"],
                  [[name, in_percent(row["accuracy"]), str(row["look_alikes"])]
                   for name, row in rows])]


def robustness_tables(results: Path) -> list[Table]:
    found = read_json(results / "robustness.json")
    curves = {name: [found["clean"], *shares] for name, shares in found["corruptions"].items()}
    severities = range(1, max(map(len, curves.values())))
    return [Table("Accuracy (%) by severity", ["corruption", "clean", *map(str, severities)],
                  [[name, *map(in_percent, shares)] for name, shares in curves.items()]),
            Table("Accuracy (%) by ε, the largest change of a pixel in 1/255",
                  ["attack", *(f"{eps:g}" for eps in found["epsilons"])],
                  [[name, *map(in_percent, shares)] for name, shares in found["attacks"].items()])]


TABLES: dict[str, Callable[[Path], list[Table]]] = {  # by the file of a figure
    "confusion.png": confusion_tables, "calibration.png": calibration_tables,
    "look_alikes.png": look_alike_tables, "robustness.png": robustness_tables,
    **{f"compare/quick/{name}.png": partial(study_tables, name) for name in comparisons.FIGURES}}
