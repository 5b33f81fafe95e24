"""The registry of figures: each is drawn from files, without torch; what is amiss is named."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, assert_picture

from codes import draw_figures
from codes.figures import front, registry
from codes.figures.registry import FIGURES
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, read_npz, write_npz

DRAWN = [figure for figure in FIGURES if figure.sources]
PATH = "landscape/path.png"


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
    assert "…" not in caption.replace("layers, …", "") or not registry.sources(figure, RESULTS_DIR)


ROOMS = (f"codes.figures.{name}" for name in "robustness learning landscape curves gallery".split())


@pytest.mark.parametrize("module", [", ".join((*ROOMS, "VGG_BatchNorm.draw_own")),
                                    "codes.draw_figures"])
def test_drawings_need_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.fixture
def flags(tmp_path) -> tuple:
    shutil.copytree(RESULTS_DIR / "landscape", tmp_path / "results" / "landscape")
    return "--results", tmp_path / "results", "--out", tmp_path / "figures"


def test_a_figure_is_drawn_once(call, flags, tmp_path):
    path = tmp_path / "figures" / PATH
    assert call(draw_figures, PATH, *flags)[0] == 0
    assert_picture(path)
    os.utime(path, (2e9, 2e9))  # after all that it depends on
    assert call(draw_figures, PATH, *flags)[1] == "" and path.stat().st_mtime == 2e9
    os.utime(tmp_path / "results" / "landscape" / "path.npz", (2.1e9, 2.1e9))
    assert "picture" in call(draw_figures, PATH, *flags)[1]
    os.utime(path, (2.2e9, 2.2e9))
    assert "picture" in call(draw_figures, PATH, "--all", *flags)[1]


def test_what_cannot_be_drawn_is_named(call, refused, flags, tmp_path):
    code, out, _ = call(draw_figures, "robustness.png", *flags)
    assert code == 0 and out.startswith("missing") and "`make insights`" in out
    plane = tmp_path / "results" / "landscape" / "plane.npz"
    data = read_npz(plane)
    # of weights that were there before
    write_npz(plane, data.pop("about") | {"sha1": "0123456789"}, data)
    code, out, _ = call(draw_figures, "landscape/surface.png", *flags)
    assert code == 0 and "has changed since; `make landscape`" in out
    assert not (tmp_path / "figures").exists()
    shutil.copy(RESULTS_DIR / "landscape" / "plane.npz", plane.with_name("plane_frozen.npz"))
    assert "of different checkpoints" in call(draw_figures, "landscape/contour.png", *flags)[1]
    assert "no.png" in refused(draw_figures, "no.png", *flags)


def test_numbers_in_captions_are_the_settings():
    given = [{"about": {"net": {"every": 10}, "settings": {"points": 3}}}, {"about": {}}]
    assert registry.settings(*given) == {"every": 10, "points": 3}
    assert np.all([figure.section for figure in FIGURES])


def test_names_beside_the_marks_of_the_front_touch_nothing():
    ours, published = front.read_front([RESULTS_DIR / "runs.csv", RESULTS_DIR / "published.csv"])
    assert {1, 6} == ours[0]["errors"].keys() and all(net["name"] for net in published)
    figure = front.draw_front(ours, published)
    figure.canvas.draw()
    for axis, column in zip(figure.axes, ("parameters", "flops"), strict=True):
        shown = [net["name"] for net in published + ours if net[column]]
        assert [label.get_text() for label in axis.texts] == shown
        boxes = [label.get_window_extent() for label in axis.texts]
        assert sum(box.count_overlaps(boxes) for box in boxes) == len(boxes)  # each with itself
    front.plt.close(figure)
