"""The registry of figures: each is drawn from files, without torch; what is amiss is named."""

import os
import re
import shutil
import sys

import numpy as np
import pytest
from conftest import assert_picture, assert_texts_apart, finish

from codes import draw_figures, report
from codes.figures import front, landscape, readable, registry
from codes.figures.registry import FIGURES
from VGG_BatchNorm.ground import style
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, read_npz, write_npz

DRAWN = [figure for figure in FIGURES if figure.sources]
PATH = "landscape/path.png"
PRINTED = {name: int(share or 100) / 100  # of the width of the text
           for name, share in report.PICTURE.findall(report.SOURCE.read_text(encoding="utf-8"))}


def test_every_figure_is_known_once_and_has_a_caption():
    files = [figure.file for figure in FIGURES]
    assert len(set(files)) == len(files)
    there = {path.relative_to(FIGURES_DIR).as_posix() for path in FIGURES_DIR.rglob("*.*")
             if path.suffix in (".png", ".gif")}
    assert there <= set(files)
    for figure in FIGURES:
        assert len(registry.text(figure, RESULTS_DIR)) > 40 and figure.verb.startswith("make ")


@pytest.mark.parametrize("figure", DRAWN, ids=lambda figure: figure.file)
def test_captions_lack_no_number(figure):
    caption = registry.text(figure, RESULTS_DIR)
    assert not set(caption) & set("{}\n")
    assert "…" not in caption.replace("layers, …", "") or not registry.sources(figure, RESULTS_DIR)


@pytest.mark.parametrize("name", PRINTED)
def test_the_report_prints_no_text_below_seven_points(name, monkeypatch):
    made = []
    monkeypatch.setattr(style, "save_figure", lambda figure, _: made.append(figure))
    figure = next(figure for figure in FIGURES if figure.file == f"{name}.png")
    if figure.sources:
        registry.draw(figure, RESULTS_DIR, FIGURES_DIR)
    else:
        style.draw_samples(np.zeros((10, 3, 32, 32), np.uint8), np.arange(10), FIGURES_DIR)
    drawn, = made
    drawn.canvas.draw()
    scale = report.TEXT_WIDTH * PRINTED[name] / drawn.get_figwidth()
    printed = {text.get_text(): round(scale * text.get_fontsize(), 2)
               for text in drawn.findobj(style.plt.Text)
               if text.get_visible() and re.search(r"\w", text.get_text())
               and drawn.bbox.overlaps(text.get_window_extent())}
    assert printed and not {text: size for text, size in printed.items() if size < 7}


def test_committed_numbers_are_drawn_without_torch(tmp_path):
    names = [figure.file for figure in DRAWN if figure.section in (
        "learned", "looks", "confuses", "represents") and figure.file != "learned_filters.png"]
    argv = ["draw_figures.py", *names, "--out", str(tmp_path)]
    code = (f"import runpy, sys; sys.modules['torch'] = None; sys.argv = {argv};"
            f"runpy.run_path({draw_figures.__file__!r}, run_name='__main__')")
    done = finish([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    for name in names:
        assert_picture(tmp_path / name)


@pytest.fixture
def flags(tmp_path) -> tuple:
    shutil.copytree(RESULTS_DIR / "landscape", tmp_path / "results" / "landscape")
    return "--results", tmp_path / "results", "--out", tmp_path / "figures"


def test_a_figure_is_drawn_once(succeeds, flags, tmp_path):
    path = tmp_path / "figures" / PATH
    succeeds(draw_figures, PATH, *flags)
    assert_picture(path)
    os.utime(path, (2e9, 2e9))  # after all that it depends on
    assert succeeds(draw_figures, PATH, *flags) == "" and path.stat().st_mtime == 2e9
    os.utime(tmp_path / "results" / "landscape" / "path.npz", (2.1e9, 2.1e9))
    assert "picture" in succeeds(draw_figures, PATH, *flags)
    os.utime(path, (2.2e9, 2.2e9))
    assert "picture" in succeeds(draw_figures, PATH, "--all", *flags)


def test_a_picture_is_older_than_the_code_that_its_drawing_uses(tmp_path, monkeypatch):
    figure = next(one for one in FIGURES if one.draw is front.draw_front)
    for name, time in (("front.png", 4e9), ("readable.py", 4.1e9)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    assert not registry.out_of_date(figure, RESULTS_DIR, tmp_path)
    monkeypatch.setattr(readable, "__file__", str(tmp_path / "readable.py"))
    assert registry.out_of_date(figure, RESULTS_DIR, tmp_path)


def test_what_cannot_be_drawn_is_named(succeeds, refused, flags, tmp_path):
    out = succeeds(draw_figures, "robustness.png", *flags)
    assert out.startswith("missing") and "`make insights`" in out
    plane = tmp_path / "results" / "landscape" / "plane.npz"
    data = read_npz(plane)
    # of weights that were there before
    write_npz(plane, data.pop("about") | {"sha1": "0123456789"}, data)
    assert "has changed since; `make landscape`" in succeeds(draw_figures, "landscape/surface.png",
                                                             *flags)
    assert not (tmp_path / "figures").exists()
    shutil.copy(RESULTS_DIR / "landscape" / "plane.npz", plane.with_name("plane_frozen.npz"))
    assert "of different checkpoints" in succeeds(draw_figures, "landscape/contour.png", *flags)
    assert "no.png" in refused(draw_figures, "no.png", *flags)


def test_numbers_in_captions_are_the_settings():
    given = [{"about": {"net": {"every": 10}, "settings": {"points": 3}}}, {"about": {}}]
    assert registry.settings(*given) == {"every": 10, "points": 3}


def test_a_landscapes_caption_says_of_it_only_what_is_so():
    low, high = {"loss": np.ones((3, 3))}, {"loss": np.full((3, 3), 11.0)}
    assert landscape.caption_words(low) == {"second_plane": "", "ceiling": ""}
    assert "dashed" in landscape.caption_words(low, low)["second_plane"]
    assert "shown as 10." in landscape.caption_words(low, high)["ceiling"]


@pytest.mark.parametrize("name", ["features", "look_alikes"])
def test_names_of_classes_lie_apart(name):
    figure = next(figure for figure in FIGURES if figure.file == f"{name}.png")
    drawn = figure.draw(*figure.read(registry.sources(figure, RESULTS_DIR)))
    drawn.canvas.draw()
    for axis in drawn.axes:
        assert {label.get_text() for label in axis.texts} == set(CLASSES)
        assert_texts_apart(axis)


def test_names_beside_the_marks_of_the_front_touch_nothing():
    ours, published = front.read_front([RESULTS_DIR / "runs.csv", RESULTS_DIR / "published.csv"])
    assert {1, 6} == ours[0]["errors"].keys() and all(net["name"] for net in published)
    figure = front.draw_front(ours, published)
    figure.canvas.draw()
    for axis, column in zip(figure.axes, ("parameters", "flops"), strict=True):
        shown = ["".join(net["name"].split()) for net in published + ours
                 if net[column] and net["name"] not in front.PALE]
        assert ["".join(label.get_text().split()) for label in axis.texts] == shown
        assert_texts_apart(axis)
    said = " ".join(front.draw_front.__doc__.split())
    assert {*front.PALE} < {net["name"] for net in published}
    assert all(name.replace(", ", " with ") in said for name in front.PALE)
