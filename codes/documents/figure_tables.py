"""The main numbers behind the figures of the page of `make gallery`, as tables.

    TABLES["confusion.png"](results)   # captions, heads and rows, from files in the folder of results
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from codes import compare_results, plot_compare
from codes.summarise import accuracy_table
from VGG_BatchNorm import findings
from VGG_BatchNorm.ground.files import read_json

Table = tuple[str, list[str], list[list[str]]]  # caption, head, rows


# --- tables of the main numbers ---------------------------------------------------------------


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def from_markdown(caption: str, text: str) -> list[Table]:
    """The table in `text`; none if it has no row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return [(caption, head, rows)] if rows else []


def run_tables(results: Path) -> list[Table]:
    return from_markdown("The presets, mean ± standard deviation over seeds; minutes are of training alone",
                         accuracy_table(compare_results.read_table(results / "runs.csv")))


def claim_tables(results: Path) -> list[Table]:
    """The paper's claims beside the runs; what stands below that table becomes its caption."""
    text = findings.table(findings.read_runs(results / "bn" / "evening"))
    _, _, below = text.rpartition("\n\n")
    return from_markdown(f"The paper's claims and these runs. {below}", text)


def study_tables(studies: tuple[str, ...], results: Path) -> list[Table]:
    found = compare_results.by_study(results / "compare" / "quick")
    return [table for name in studies if name in found
            for table in from_markdown(name.replace("_", " "), compare_results.table(found[name]))]


def confusion_tables(results: Path) -> list[Table]:
    tables, mistakes, evaluation = [], results / "mistakes.json", results / "evaluation.json"
    if mistakes.exists():
        tables.append(("The most frequent mistakes, one view", ["class", "the net says", "test images"],
                       [[row["true"], row["said"], str(row["images"])]
                        for row in read_json(mistakes)["most_frequent_mistakes"]]))
    if evaluation.exists():
        tables.append(("Accuracy with six views", ["class", "accuracy (%)"],
                       [[name, percent(share)] for name, share
                        in read_json(evaluation)["accuracy_by_class_six_views"].items()]))
    return tables


def calibration_tables(results: Path) -> list[Table]:
    errors = read_json(results / "mistakes.json")["calibration_error"]
    return [("Expected calibration error", ["views", "ECE (%)"],
             [[name, percent(error)] for name, error in errors.items()])]


def look_alike_tables(results: Path) -> list[Table]:
    rows = read_json(results / "mistakes.json")["by_class"].items()
    return [("Accuracy and look-alikes", ["class", "accuracy (%)", "look-alikes"],
             [[name, percent(row["accuracy"]), str(row["look_alikes"])] for name, row in rows])]


def robustness_tables(results: Path) -> list[Table]:
    found = read_json(results / "robustness.json")
    curves = {name: [found["clean"], *shares] for name, shares in found["corruptions"].items()}
    severities = range(1, max(map(len, curves.values())))
    return [("Accuracy (%) by severity", ["corruption", "clean", *map(str, severities)],
             [[name, *map(percent, shares)] for name, shares in curves.items()]),
            ("Accuracy (%) by ε, the largest change of a pixel in 1/255",
             ["attack", *(f"{eps:g}" for eps in found["epsilons"])],
             [[name, *map(percent, shares)] for name, shares in found["attacks"].items()])]


# --- which stand under which figure -----------------------------------------------------------


TABLES: dict[str, Callable[[Path], list[Table]]] = {  # by the file of a figure
    "confusion.png": confusion_tables, "calibration.png": calibration_tables,
    "look_alikes.png": look_alike_tables, "robustness.png": robustness_tables,
    **{f"compare/quick/{name}.png": partial(study_tables, studies)
       for name, (studies, _) in plot_compare.FIGURES.items()},
}
