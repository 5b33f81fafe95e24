"""The figures of the page of `make gallery`, in the order of a lecture, and the numbers behind them.

    FIGURES["confuses"][0].title             # by section; a figure's caption is its draw function's docstring
    FIGURES["confuses"][0].tables(results)   # whose notes are captions, from files in the folder of results
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from codes import draw_landscape as landscape
from codes.documents.comparisons import by_study, study_table
from codes.documents.readme_tables import accuracy_table, preset_runs
from codes.figures import comparisons, features, mistakes
from codes.figures.attribution import draw_attribution
from codes.figures.filters import draw_filters
from codes.figures.patches import draw_feature_maps, draw_patches
from codes.visualize_learning import draw_frames
from codes.visualize_robustness import draw_robustness
from VGG_BatchNorm import findings, plot_study
from VGG_BatchNorm.ground.files import read_json
from VGG_BatchNorm.ground.tables import Table


class Figure(NamedTuple):
    file: str  # in the folder of figures
    title: str
    caption: Callable | str  # of a function, its docstring
    sources: tuple[str, ...] = ()  # in the folder of results, patterns
    tables: Callable[[Path], list[Table]] = lambda results: []
    verb: str = "make figures"  # makes it


# --- tables of the main numbers ---------------------------------------------------------------


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def captioned(caption: str, table: Table) -> list[Table]:
    """The table with that caption; none if it has no row."""
    return [table._replace(note=caption)] if table.rows else []


def run_tables(results: Path) -> list[Table]:
    return captioned("The presets, mean ± standard deviation over seeds; minutes are of training "
                     "alone", accuracy_table(preset_runs(results / "runs.csv")))


def claim_tables(results: Path) -> list[Table]:
    """The paper's claims beside the runs."""
    table = findings.table(findings.read_runs(results / "bn" / "evening"))
    return captioned(f"The paper's claims and these runs. {table.note}", table)


def study_tables(studies: tuple[str, ...], results: Path) -> list[Table]:
    found = by_study(results / "compare" / "quick")
    return [table for name in studies if name in found
            for table in captioned(name.replace("_", " "), study_table(found[name]))]


def confusion_tables(results: Path) -> list[Table]:
    tables, mistakes, evaluation = [], results / "mistakes.json", results / "evaluation.json"
    if mistakes.exists():
        rows = [[row["true"], row["said"], str(row["images"])]
                for row in read_json(mistakes)["most_frequent_mistakes"]]
        tables.append(Table("The most frequent mistakes, one view",
                            ["class", "the net says", "test images"], rows))
    if evaluation.exists():
        shares = read_json(evaluation)["accuracy_by_class_six_views"]
        tables.append(Table("Accuracy with six views", ["class", "accuracy (%)"],
                            [[name, percent(share)] for name, share in shares.items()]))
    return tables


def calibration_tables(results: Path) -> list[Table]:
    errors = read_json(results / "mistakes.json")["calibration_error"]
    return [Table("Expected calibration error", ["views", "ECE (%)"],
                  [[name, percent(error)] for name, error in errors.items()])]


def look_alike_tables(results: Path) -> list[Table]:
    rows = read_json(results / "mistakes.json")["by_class"].items()
    return [Table("Accuracy and look-alikes", ["class", "accuracy (%)", "look-alikes"],
                  [[name, percent(row["accuracy"]), str(row["look_alikes"])]
                   for name, row in rows])]


def robustness_tables(results: Path) -> list[Table]:
    found = read_json(results / "robustness.json")
    curves = {name: [found["clean"], *shares] for name, shares in found["corruptions"].items()}
    severities = range(1, max(map(len, curves.values())))
    return [Table("Accuracy (%) by severity", ["corruption", "clean", *map(str, severities)],
                  [[name, *map(percent, shares)] for name, shares in curves.items()]),
            Table("Accuracy (%) by ε, the largest change of a pixel in 1/255",
                  ["attack", *(f"{eps:g}" for eps in found["epsilons"])],
                  [[name, *map(percent, shares)] for name, shares in found["attacks"].items()])]


# --- figures by section -----------------------------------------------------------------------


SAMPLES = "The first training images of each class, a row a class."
CURVES = """The run whose weights are shipped: training loss, and error on augmented training images, over
epochs; the lines are the error on the test set, read once at the end. A sudden fall is the change from
small images to whole ones. It is one run; the table has the spread over seeds."""
RUNS = {"01_training": "[pr]a*", "07_edge_of_stability": "[pr]a*",  # pair and rates
        "02_learning_rate_envelope": "envelope", "05_rescues": "rescue"}


FIGURES = {
    "data": [Figure("samples.png", "Training images", SAMPLES),
             Figure("training_curves.png", "Training curves", CURVES, ("runs.csv", "cifarnet/*"))],
    "better": [Figure(f"compare/quick/{name}.png", name[3:].replace("_", " ").capitalize(), draw,
                      ("compare/quick/*.csv",), partial(study_tables, comparisons.STUDIES_OF[name]),
                      "make compare") for name, draw in comparisons.FIGURES.items()],
    "learned": [Figure("filters.png", "First-layer filters", draw_filters, ("filters.npz",)),
                Figure("patches.png", "Patches that excite a channel", draw_patches, ("patches.npz",)),
                Figure("feature_maps.png", "Feature maps", draw_feature_maps, ("patches.npz",))],
    "looks": [Figure("attribution.png", "Attribution", draw_attribution, ("attribution.npz",))],
    "confuses": [Figure("confusion.png", "Confusion matrix", mistakes.draw_confusion,
                        ("mistakes.npz", "mistakes.json", "evaluation.json"), confusion_tables),
                 Figure("mistakes.png", "The most confident mistakes", mistakes.draw_mistakes,
                        ("mistakes.json", "mistakes.npz")),
                 Figure("calibration.png", "Calibration", mistakes.draw_calibration,
                        ("mistakes.npz", "mistakes.json"), calibration_tables),
                 Figure("look_alikes.png", "Look-alikes", mistakes.draw_look_alikes,
                        ("mistakes.npz", "mistakes.json"), look_alike_tables)],
    "represents": [Figure("features.png", "Features", features.draw_features,
                          ("features/principal_components.npz", "features/t_sne.npz")),
                   Figure("similarity.png", "Similarity of layers", features.draw_similarity,
                          ("features/similarity.npz",))],
    "breaks": [Figure("robustness.png", "Robustness", draw_robustness,
                      ("robustness.json", "robustness_*.npz"), robustness_tables)],
    "learns": [Figure("learning.gif", "A small net while it learns", draw_frames, ("learning/learning.npz",)),
               Figure("landscape/surface.png", "Loss surface", landscape.draw_surface,
                      ("landscape/plane.npz",)),
               Figure("landscape/contour.png", "The same from above", landscape.draw_contours,
                      ("landscape/plane*.npz",)),
               Figure("landscape/compare.png", "Four small nets", landscape.draw_compare,
                      ("landscape/compare_*.npz",)),
               Figure("landscape/path.png", "The path of the weights", landscape.draw_path,
                      ("landscape/path.npz",))],
    "norm": [Figure(f"bn/evening/{name}.png", name[3:].replace("_", " ").capitalize(), draw,
                    ("bn/evening/summary.csv", f"bn/evening/{RUNS.get(name, 'pair')}/*.npz"),
                    verb='make bn-landscape ARGS="--preset evening"')
             for name, draw in plot_study.FIGURES.items()],
}
