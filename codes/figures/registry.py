"""Every figure: where it stands, what it is drawn from and by which function, what measures that.

    for figure in FIGURES:
        draw(figure, RESULTS_DIR, FIGURES_DIR)

To add one, write its drawing function in a file of this folder, with the caption as its docstring,
and a row here: codes/draw_figures.py draws it, and the page of `make gallery` shows it. So the row
of robustness.png: `sources` are robustness.npz and robustness_noise.npz; `read` makes (data, noise)
of them; draw_robustness(data, noise) draws; caption_words(data, noise) gives {"images": "2,000", …}
for the fields of its docstring, such as {images}."""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from codes.figures import comparisons, features, horizons, landscape, mistakes, robustness
from codes.figures.attribution import draw_attribution
from codes.figures.caption import caption
from codes.figures.curves import draw_curves, read_log
from codes.figures.filters import draw_filters, draw_learned_filters
from codes.figures.front import draw_front, read_front
from codes.figures.learning import draw_frames, write_gif
from codes.figures.patches import draw_feature_maps, draw_patches
from codes.results.comparisons import Comparisons
from VGG_BatchNorm import draw_own, measures
from VGG_BatchNorm.ground import style
from VGG_BatchNorm.ground.files import ROOT, digest, read_npz
from VGG_BatchNorm.ground.script import UserError


def settings(*given: dict) -> dict:
    """Return the settings with which numbers were measured, and those of their net."""
    abouts = [data["about"] for data in given]
    return {name: value for about in abouts
            for name, value in {**about.get("net", {}), **about.get("settings", {})}.items()}


@cache
def read_folder(read: Callable[[Path], object], folder: Path) -> tuple:
    """Return what `read` gives of a folder, as the one argument of `draw`: in a tuple."""
    return (read(folder),)


def read_comparisons(folder: Path, name: str) -> tuple[Comparisons]:
    """Return the comparisons in `folder`, if they hold what the figure `name` draws.
    Raises measures.NotRun: they do not."""
    found, = read_folder(Comparisons, folder)
    if not comparisons.shows(name, found):
        raise measures.NotRun
    return (found,)


class Figure(NamedTuple):
    """A row of FIGURES.

    Args:
        section: of the page.
        file: in the folder of figures.
        draw: of what `read` gives; its docstring is the caption. Text: the caption of a figure
            that is drawn from the data set alone.
        sources: patterns in the folder of results. Nothing is drawn where one has no file.
        verb: measures the numbers.
        beside: patterns of further files, that hold numbers behind it.
        read: given the files of `sources`, returns the arguments of `draw`.
        caption_words: given the same arguments, returns those that the caption names."""

    section: str
    file: str
    title: str
    draw: Callable | str
    sources: tuple[str, ...]
    verb: str
    beside: tuple[str, ...] = ()
    read: Callable[[list[Path]], tuple] = lambda paths: tuple(map(read_npz, paths))
    caption_words: Callable[..., dict] = settings


def comparison(base: str, name: str, draw_: Callable) -> Figure:
    longer = ", longer runs" * (base == "long")
    return Figure("better", f"compare/{base}/{name}.png", title_of(name) + longer, draw_,
                  (f"compare/{base}/*.csv",), f'make compare ARGS="--base {base}"',
                  read=lambda paths: read_comparisons(paths[0].parent, name))


def of_study(name: str, draw_: Callable) -> Figure:
    return Figure("norm", f"bn/full/{name}.png", title_of(name), draw_,
                  ("bn/full/summary.csv", "bn/full/*/*.npz"),
                  'make bn-landscape ARGS="--preset full --precision bfloat16"',
                  read=lambda paths: read_folder(measures.read_runs, paths[0].parent))


def of_landscape(name: str, title: str, draw_: Callable, *sources_: str) -> Figure:
    return Figure("learns", f"landscape/{name}.png", title, draw_,
                  tuple(f"landscape/{file}.npz" for file in sources_), "make landscape",
                  caption_words=lambda *planes: (settings(*planes)
                                                 | landscape.caption_words(*planes)))


def title_of(name: str) -> str:
    """Return the title: "02_learning_rates" is "02 Learning rates"; captions name the number."""
    return f"{name[:2]} {name[3:].replace('_', ' ').capitalize()}".replace("4 1", "4.1")


SAMPLES = "The first training images of each class, a row a class."
FILTERS, INSIGHTS = "make filters", "make insights"

FIGURES = [  # in the order of the page, which is that of a lecture
    Figure("data", "samples.png", "Training images", SAMPLES, (), "make figures"),
    Figure("data", "training_curves.png", "Training curves", draw_curves,
           ("cifarnet/log.csv", "cifarnet/result.json"), "make train", ("runs.csv",),
           lambda paths: read_log(paths[0].parent), lambda *_: {}),
    Figure("data", "front.png", "Beside published nets", draw_front,
           ("runs.csv", "published.csv"), "make train", (), read_front,
           lambda *_: {}),
    *(comparison(base, name, draw) for base in ("quick", "long")
      for name, draw in comparisons.FIGURES.items()),
    Figure("better", "compare/horizons.png", "Two horizons", horizons.draw_horizons,
           tuple(f"compare/{base}/{file}" for base in ("quick", "long")
                 for file in ("summary.csv", "base.json")), 'make compare ARGS="--base long"',
           read=lambda paths: horizons.read_horizons(paths[0].parent, paths[-1].parent),
           caption_words=horizons.caption_words),
    Figure("learned", "filters.png", "First-layer filters", draw_filters, ("filters.npz",),
           FILTERS),
    Figure("learned", "learned_filters.png", "Learned filters, before and after",
           draw_learned_filters, ("learned_filters.npz",), FILTERS),
    Figure("learned", "patches.png", "Patches that excite a channel", draw_patches,
           ("patches.npz",), FILTERS),
    Figure("learned", "feature_maps.png", "Feature maps", draw_feature_maps,
           ("patches.npz",), FILTERS),
    Figure("looks", "attribution.png", "Attribution", draw_attribution,
           ("attribution.npz",), INSIGHTS),
    Figure("confuses", "confusion.png", "Confusion matrix", mistakes.draw_confusion,
           ("mistakes.npz",), INSIGHTS, ("mistakes.json", "evaluation.json")),
    Figure("confuses", "mistakes.png", "The most confident mistakes", mistakes.draw_mistakes,
           ("mistakes.npz",), INSIGHTS, ("mistakes.json",)),
    Figure("confuses", "calibration.png", "Calibration", mistakes.draw_calibration,
           ("mistakes.npz",), INSIGHTS, ("mistakes.json",)),
    Figure("confuses", "look_alikes.png", "Look-alikes", mistakes.draw_look_alikes,
           ("mistakes.npz",), INSIGHTS, ("mistakes.json",)),
    Figure("represents", "features.png", "Features", features.draw_features,
           ("features/principal_components.npz", "features/t_sne.npz"), INSIGHTS),
    Figure("represents", "similarity.png", "Similarity of layers", features.draw_similarity,
           ("features/similarity.npz",), INSIGHTS),
    Figure("breaks", "robustness.png", "Robustness", robustness.draw_robustness,
           ("robustness.npz", "robustness_noise.npz"), INSIGHTS, ("robustness.json",),
           caption_words=robustness.caption_words),
    Figure("learns", "learning.gif", "A small net while it learns", draw_frames,
           ("learning/learning.npz",), INSIGHTS),
    of_landscape("surface", "Loss surface", landscape.draw_surface, "plane"),
    of_landscape("contour", "The same from above", landscape.draw_contours, "plane*"),
    of_landscape("compare", "Four small nets", landscape.draw_compare,
                 *(f"compare_{name}" for name in landscape.COMPARED)),
    of_landscape("path", "The path of the weights", landscape.draw_path, "path"),
    *(of_study(name, draw) for name, draw in draw_own.FIGURES.items()),]


def sources(figure: Figure, results: Path) -> list[Path]:
    """Return the files that it is drawn from; none where one is missing."""
    found = [sorted(results.glob(pattern)) for pattern in figure.sources]
    return [path for some in found for path in some] if all(found) else []


def text(figure: Figure, results: Path) -> str:
    """Return the caption; "…" for each number that is not known."""
    if isinstance(figure.draw, str):
        return figure.draw
    paths = sources(figure, results) if "{" in figure.draw.__doc__ else []
    return caption(figure.draw, figure.caption_words(*figure.read(paths)) if paths else {})


def out_of_date(figure: Figure, results: Path, folder: Path) -> bool:
    """Return whether the picture is missing, or older than its sources or its code: the drawing's
    module, and those of drawings and measures that it has functions from."""
    path = folder / figure.file
    used = vars(inspect.getmodule(inspect.unwrap(figure.draw))).values()
    rooms = {one.__name__ if inspect.ismodule(one) else str(getattr(one, "__module__", ""))
             for one in used}
    code = [sys.modules[name].__file__ for name in rooms if name.startswith(
        ("codes.figures.", "codes.results.", "VGG_BatchNorm.draw_", "VGG_BatchNorm.measures",
         "VGG_BatchNorm.paper_curves"))] + [style.__file__]
    newest = max(Path(name).stat().st_mtime for name in [*code, *sources(figure, results)])
    return not path.exists() or path.stat().st_mtime < newest


def draw(figure: Figure, results: Path, folder: Path) -> None:
    """Write the picture into `folder`, from files in `results` alone. Raises UserError: these are
    damaged, or of different checkpoints, or of one that has changed since. Raises measures.NotRun:
    runs that it needs are missing."""
    given = figure.read(sources(figure, results))
    abouts = [one["about"] for one in given
              if isinstance(one, dict) and "checkpoint" in one.get("about", {})]
    if len({about["sha1"] for about in abouts}) > 1:
        raise UserError(f"its numbers are of different checkpoints; `{figure.verb}` measures them")
    for path, about in ((ROOT / about["checkpoint"], about) for about in abouts):
        if path.is_file() and digest(path) != about["sha1"]:
            raise UserError(f"{path.name} has changed since; `{figure.verb}` measures it")
    made, path = figure.draw(*given), folder / figure.file
    write_gif(made, path) if path.suffix == ".gif" else style.save_figure(made, path)
