"""The scripts that measure, then draw, on tiny data; the numbers kept; captions."""

import importlib

import pytest
import torch
from conftest import assert_picture, drawing, save_net

from codes import visualize_filters, visualize_patches
from codes.figures.caption import caption
from codes.insight.measured import made_from, measured
from codes.insight.patches import GREY
from codes.insight.robustness import PGD_STEP
from codes.insight.similarity import SIDE
from codes.results.measurements import TOLERANCE
from codes.settings import DEFAULTS
from VGG_BatchNorm.ground.checkpoint import SHIPPED_WEIGHTS
from VGG_BatchNorm.ground.predictions import SURE_MARGIN
from VGG_BatchNorm.ground.script import UserError

PICTURES = {importlib.import_module(f"codes.visualize_{name}"): pictures for name, pictures in {
    "filters": ("filters",), "patches": ("patches", "feature_maps"),
    "attribution": ("attribution",),
    "mistakes": ("confusion", "mistakes", "calibration", "look_alikes")}.items()}


def flags(script, checkpoint, data_dir, folder) -> tuple:
    first, *more = PICTURES[script]
    out = folder / "figures" / ("" if more else f"{first}.png")
    return drawing(data_dir, folder / "results", out, "--ckpt", checkpoint)


DRAWN = [(script, network, {}) for script in PICTURES for network in ("cifarnet", "vgg_a_light")]
DRAWN += [(visualize_filters, "vgg_a", {}), (visualize_filters, "cifarnet", {"whiten": False})]


@pytest.mark.parametrize("script, network, config", DRAWN,
                         ids=lambda value: getattr(value, "__name__", str(value)))
def test_pictures_of_each_network(succeeds, data_dir, tmp_path, monkeypatch, script, network,
                                  config):
    given = flags(script, save_net(tmp_path / "w.pt", network, **config), data_dir, tmp_path)
    out = succeeds(script, *given)
    for name in PICTURES[script]:
        assert_picture(tmp_path / "figures" / f"{name}.png")
        assert f"{name}.png" in out
    insight = importlib.import_module(script.__name__.replace("visualize_", "insight."))
    monkeypatch.setattr(insight, "measure", None)  # the second time only draws
    monkeypatch.setattr(script, "save_figure", lambda *_: None)
    succeeds(script, *given)


@pytest.mark.parametrize("script", [visualize_filters, visualize_patches])
def test_an_image_that_is_not_there(refused, data_dir, tmp_path, script):
    given = flags(script, save_net(tmp_path / "w.pt"), data_dir, tmp_path)
    assert "0 to 59" in refused(script, *given, "--image", 60)


def test_numbers_are_measured_once(tmp_path):
    calls, path, about = [], tmp_path / "d.npz", {"checkpoint": "w.pt"}

    def measure(count, image):
        calls.append(image)
        return {"a": torch.arange(count), "names": ["x", "yes"], "n": count}

    first, again = (measured(path, about, measure, 3, image=7) for _ in range(2))
    assert calls == [7] and first["about"] == again["about"] == about | {"settings": {"image": 7}}
    for data in (first, again):
        assert data["a"].tolist() == [0, 1, 2] and data["names"].tolist() == ["x", "yes"]
        assert data["n"] == 3
    measured(path, about, measure, 3, image=8)
    measured(path, about | {"checkpoint": "v.pt"}, measure, 3, image=8)
    assert calls == [7, 8, 8]
    for content in (b"", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            measured(path, about, measure, 3, image=8)
        assert path.read_bytes() == content
    assert len(calls) == 3 and not list(tmp_path.glob(".*"))


def test_what_numbers_are_made_from(data_dir, tmp_path):
    paths = SHIPPED_WEIGHTS, save_net(tmp_path / "w.pt")
    shipped, mine = (made_from(path, data_dir) for path in paths)
    assert shipped["checkpoint"] == "reports/models/cifarnet.pt" and mine["checkpoint"] == "w.pt"
    assert shipped["sha1"] != mine["sha1"] and shipped["data"] == mine["data"]


def test_a_setting_that_is_newer_than_a_file_does_not_make_it_stale(tmp_path):
    def measure(**settings):
        calls.append(settings)
        return {"a": 1.0}

    path, about, calls = tmp_path / "a.npz", {"checkpoint": "x.pt"}, []
    older = {name: value for name, value in DEFAULTS.items() if name != "proxy_size"}
    for net in (older, DEFAULTS, DEFAULTS | {"proxy_size": 8}, DEFAULTS | {"proxy_size": 8}):
        measured(path, about, measure, nets={"small": net})
    assert [call["nets"]["small"].get("proxy_size") for call in calls] == [None, 8]


@pytest.mark.parametrize("constant, value", [
    ("grey", GREY), ("pgd_step", PGD_STEP), ("side", SIDE), ("sure_margin", SURE_MARGIN),
    ("tolerance", TOLERANCE)])
def test_a_constant_that_changes_makes_a_file_stale(tmp_path, constant, value):
    path, calls = tmp_path / "a.npz", []
    for about in ({}, {constant: value}, {constant: 2 * value}, {constant: 2 * value}):
        measured(path, about, lambda: calls.append(1) or {"a": 1.0})
    assert len(calls) == 2


def test_captions_say_what_was_measured():
    def draw(data):
        """A square of {size}×{size}
        pixels, {nets[vgg][epochs]} epochs."""

    known = {"size": 8, "nets": {"vgg": {"epochs": 2}}}
    assert caption(draw, known) == "A square of 8×8 pixels, 2 epochs."
    assert caption(draw, {}) == "A square of …×… pixels, … epochs."
