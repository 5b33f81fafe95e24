"""The scripts that draw patches, attribution and mistakes, on tiny data; numbers that are kept for them."""

import pytest
import torch
from test_scripts import assert_picture

from codes import visualize_attribution, visualize_mistakes, visualize_patches
from codes.computed import computed, made_from
from codes.networks import build
from VGG_BatchNorm.ground.checkpoint import SHIPPED_WEIGHTS, load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.style import plt

PICTURES = {
    visualize_patches: ("patches", "feature_maps"),
    visualize_attribution: ("attribution",),
    visualize_mistakes: ("confusion", "mistakes", "calibration", "look_alikes"),
}
scripts = pytest.mark.parametrize("script", PICTURES, ids=lambda script: script.__name__)


def save_weights(folder, network="cifarnet", **config):
    torch.manual_seed(0)
    save_checkpoint(folder / "w.pt", network, config, build(network, **config).state_dict())
    return folder / "w.pt"


def flags(script, checkpoint, data_dir, folder) -> tuple:
    out = folder / "figures"
    return ("--ckpt", checkpoint, "--data-dir", data_dir, "--device", "cpu", "--results", folder / "results",
            "--out", out / "attribution.png" if script is visualize_attribution else out)  # fmt: skip


@scripts
@pytest.mark.parametrize("network, config", [("cifarnet", {"widths": (8, 8)}), ("vgg_a_light", {})], ids=str)
def test_pictures_of_each_network(call, data_dir, tmp_path, monkeypatch, script, network, config):
    given = flags(script, save_weights(tmp_path, network, **config), data_dir, tmp_path)
    code, out, _ = call(script, *given)
    assert code == 0
    for name in PICTURES[script]:
        assert_picture(tmp_path / "figures" / f"{name}.png")
        assert f"{name}.png" in out
    monkeypatch.setattr(script, "measure", None)  # the second time only draws
    monkeypatch.setattr(script, "save_figure", lambda figure, _: plt.close(figure))
    assert call(script, *given)[0] == 0


@scripts
@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda path: path.write_bytes(b"no checkpoint"), "damaged"),
        (lambda path: torch.save(load_checkpoint(path) | {"config": {"widths": (8, 9)}}, path), "do not fit"),
        (lambda path: path.unlink(), "no checkpoint"),
    ],
    ids=["damaged", "another network", "missing"],
)
def test_a_bad_checkpoint_is_one_line(call, data_dir, tmp_path, script, spoil, text):
    path = save_weights(tmp_path, widths=(8, 8))
    spoil(path)
    code, _, err = call(script, *flags(script, path, data_dir, tmp_path))
    assert code == 2 and text in err and len(err.splitlines()) == 1
    assert not (tmp_path / "results").exists() and not (tmp_path / "figures").exists()


def test_an_image_that_is_not_there(call, data_dir, tmp_path):
    given = flags(visualize_patches, save_weights(tmp_path, widths=(8, 8)), data_dir, tmp_path)
    code, _, err = call(visualize_patches, *given, "--image", 60)
    assert code == 2 and "0 to 59" in err


def test_numbers_are_computed_once(tmp_path):
    calls, path, about = [], tmp_path / "d.npz", {"checkpoint": "w.pt", "image": 7}

    def compute():
        calls.append(1)
        return {"a": torch.arange(3), "names": ["x", "yes"], "n": 3}

    first, again = computed(path, about, compute), computed(path, about, compute)
    assert len(calls) == 1 and first["about"] == again["about"] == about
    for data in (first, again):
        assert data["a"].tolist() == [0, 1, 2] and data["names"].tolist() == ["x", "yes"] and data["n"] == 3
    computed(path, about | {"image": 8}, compute)
    assert len(calls) == 2
    for content in (b"", path.read_bytes()[:-40]):
        path.write_bytes(content)
        computed(path, about, compute)
    assert len(calls) == 4 and not list(tmp_path.glob(".*"))


def test_what_numbers_are_made_from(data_dir, tmp_path):
    paths = SHIPPED_WEIGHTS, save_weights(tmp_path, widths=(8, 8))
    shipped, mine = (made_from(path, data_dir) for path in paths)
    assert shipped["checkpoint"] == "reports/models/cifarnet.pt" and mine["checkpoint"] == "w.pt"
    assert shipped["sha1"] != mine["sha1"] and shipped["data"] == mine["data"]
