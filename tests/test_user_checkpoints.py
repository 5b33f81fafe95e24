"""Weights that users bring along: what is opened, as what, and what is refused in one line."""

import importlib
import inspect
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_net
from torch import nn
from torch.optim.swa_utils import AveragedModel

from codes import evaluate, visualize_filters, visualize_landscape
from codes.networks import NETWORKS, CifarNet, build
from codes.open_weights import open_network, read_checkpoint
from VGG_BatchNorm.ground.checkpoint import CHECKPOINT_FORMAT, load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.VGG import VGG, VGG_A_Light

SCRIPTS = [importlib.import_module(f"codes.{name}") for name in """evaluate gallery
    visualize_filters visualize_patches visualize_attribution visualize_mistakes visualize_features
    visualize_robustness visualize_landscape""".split()]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return VGG_A_Light().eval()


def renamed(net: nn.Module, prefix: str) -> OrderedDict:
    return OrderedDict((prefix + name, t) for name, t in net.state_dict().items())


WAYS = {
    "bare": lambda net: net.state_dict(),
    "net": lambda net: {"net": net.state_dict(), "acc": 93.1, "epoch": 7},
    "state_dict": lambda net: {"epoch": 7, "best": torch.tensor(1), "state_dict": net.state_dict(),
                               "optimizer": torch.optim.Adam(net.parameters()).state_dict()},
    "model": lambda net: {"model": net.state_dict(), "loss": [1.0, 0.5]},
    "model_state_dict": lambda net: {"model_state_dict": net.state_dict()},
    "weights": lambda net: {"epoch": 7, "weights": net.state_dict()},
    "twice nested": lambda net: {"model": {"state_dict": net.state_dict()}},
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "compiled": lambda net: renamed(net, "_orig_mod."),
    "both, nested": lambda net: {"net": renamed(net, "module._orig_mod."), "acc": 93.1},
    "averaged": lambda net: AveragedModel(net).state_dict(),
    "numpy's numbers": lambda net: {"net": net.state_dict(), "acc": np.float64(93.1),
                                    "epoch": np.int64(7)},
    "a module of training steps": lambda net: {"state_dict": renamed(net, "model.")},
    "half": lambda net: {name: t.half() for name, t in net.state_dict().items()}}


@pytest.mark.parametrize("way", WAYS)
def test_a_state_dict_is_opened_however_it_was_saved(net, tmp_path, way):
    torch.save(WAYS[way](net), tmp_path / "own.pth")
    loose = 1e-2 if way == "half" else 0.0
    for named in (None, "vgg_a_light"):
        _, opened = open_network(tmp_path / "own.pth", network=named)
        assert type(opened) is VGG_A_Light and not opened.training
        torch.testing.assert_close(opened.state_dict(), net.state_dict(), atol=loose, rtol=loose)


def of_shapes(path, network: str, **config):
    """Save a state_dict of these shapes without their size: every tensor is one number."""
    with torch.device("meta"):
        shapes = build(network, **config).state_dict()
    torch.save({name: torch.zeros((), dtype=t.dtype).expand(t.shape)
                for name, t in shapes.items()}, path)
    return path


@pytest.mark.parametrize("network, config, found", [
    ("vgg_a", {}, {}), ("vgg_a", {"num_classes": 100, "inp_ch": 1}, {}), ("vgg_batchnorm", {}, {}),
    ("vgg_a_dropout", {}, {}), ("cifarnet", {}, {}),
    ("vgg", dict(configuration="D", norm="batch", width=0.3, dropout=0.2),
     dict(configuration="D", norm="batch", width=154 / 512, dropout=0.5)),
    ("vgg", dict(configuration="A-LRN"),
     dict(configuration="A-LRN", norm="none", width=1.0, dropout=0.0))], ids=str)
def test_a_network_is_told_by_its_shapes(tmp_path, capsys, network, config, found):
    checkpoint = read_checkpoint(of_shapes(tmp_path / "own.pth", network, **config))
    data = {key: config.get(key, default) for key, default in (("num_classes", 10), ("inp_ch", 3))
            if key in inspect.signature(NETWORKS[network]).parameters}
    assert checkpoint["network"] == network and checkpoint["config"] == data | found
    assert f"network    {network}(" in capsys.readouterr().out


def test_a_width_is_told_exactly_and_counters_may_lack(tmp_path):
    net = VGG("B", norm="batch", width=0.07).eval()
    torch.save({name: t for name, t in net.state_dict().items() if "tracked" not in name},
               tmp_path / "own.pth")
    x = torch.randn(2, 3, 32, 32)
    for named in (None, "vgg"):
        torch.testing.assert_close(open_network(tmp_path / "own.pth", network=named)[1](x), net(x))


class Twin(VGG_A_Light):
    """Another net of the same shapes."""


def test_what_fits_none_or_several_is_one_line(net, tmp_path, monkeypatch):
    path = of_shapes(tmp_path / "own.pth", "vgg", norm="group", width=0.5)
    with pytest.raises(UserError, match="several networks alike, .*'layer'.*'group'.*'instance'"):
        read_checkpoint(path)
    for config in ({"widths": (8, 8)}, {"depth": 3}):
        with pytest.raises(UserError, match="no network here as it is by default"):
            read_checkpoint(of_shapes(path, "cifarnet", **config))
    with pytest.raises(UserError, match="do not fit its network vgg_a: "):
        open_network(path, network="vgg_a")
    with pytest.raises(UserError, match="unknown network 'resnet'"):
        read_checkpoint(path, "resnet")
    torch.save(net.state_dict(), path)
    monkeypatch.setitem(NETWORKS, "twin", Twin)
    with pytest.raises(UserError, match="several networks alike"):
        read_checkpoint(path)
    assert type(open_network(path, network="twin")[1]) is Twin


def test_a_checkpoint_of_ours_says_its_network_itself(tmp_path, capsys):
    path = save_net(tmp_path / "w.pt")
    for named in (None, "cifarnet"):
        assert read_checkpoint(path, named).keys() == load_checkpoint(path).keys()
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="is of the network cifarnet, not vgg_a"):
        read_checkpoint(path, "vgg_a")


class Payload:
    """What a hostile pickle would do."""

    def __reduce__(self):
        return os.mkdir, ("should-not-exist",)


@pytest.mark.parametrize("content, text", [
    (VGG_A_Light(), r"Python objects \(VGG_BatchNorm.VGG.VGG_A_Light\)"),
    ({"model": VGG_A_Light(), "acc": 0.9}, "Python objects"),
    ({"net": Payload()}, r"Python objects \(\w+.mkdir\)"),
    ({"format": CHECKPOINT_FORMAT, "weights": Payload()}, r"Python objects \(\w+.mkdir\)"),
    ([torch.ones(2)], "another format, without a state_dict"),
    ({"epoch": 3, "net": {}}, "another format, without a state_dict"),
    ({"a": torch.ones(3)}, "no network here")], ids=lambda value: type(value).__name__)
def test_what_is_no_state_dict_is_refused_and_not_run(tmp_path, monkeypatch, content, text):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "own.pth")
    with pytest.raises(UserError, match=text) as refused:
        open_network(tmp_path / "own.pth")
    said = str(refused.value)
    assert "state_dict" in said or "save_checkpoint" in said
    assert "delete" not in said and "\n" not in said and os.listdir() == ["own.pth"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_as_such_by_any_protocol(net, tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    torch.save(net, "saved.pth", pickle_protocol=protocol)
    for name, content in ("dumped.pkl", net), ("hostile.pkl", Payload()):
        Path(name).write_bytes(pickle.dumps(content, protocol))
    for name in (held := sorted(os.listdir())):
        with pytest.raises(UserError, match="holds Python objects .*state_dict"):
            read_checkpoint(name)
    assert len(held) == 3 and sorted(os.listdir()) == held


def given(script, data_dir, folder, *more) -> tuple:
    if script is not evaluate:
        more = (*more, "--results", folder / "results")
    if script is visualize_landscape:
        more = (*more, "--n-items", 100)  # of the few there are
    return ("--data-dir", data_dir, "--device", "cpu", "--out", folder / "out", *more)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_script_opens_a_users_weights_and_names_what_is_wrong(refused, data_dir, tmp_path,
                                                                   script):
    path = tmp_path / "own.pth"
    flags = "--ckpt", path, *given(script, data_dir, tmp_path, "--network", "vgg_a_light")
    assert "no checkpoint" in refused(script, *flags)
    spoilt = VGG_A_Light().state_dict()
    spoilt["stage2.0.bias"][3] = float("nan")
    torch.save(spoilt, path)
    assert "stage2.0.bias holds NaN" in refused(script, *flags)
    assert os.listdir(tmp_path) == ["own.pth"]


class Linear(nn.Module):
    """A network without convolutions."""

    def __init__(self, hidden: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, hidden), nn.Linear(hidden, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_a_network_of_ones_own_needs_its_name_or_its_arguments(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "linear", Linear)
    path = tmp_path / "own.pth"
    torch.save(Linear().state_dict(), path)
    assert type(open_network(path)[1]) is type(open_network(path, network="linear")[1]) is Linear
    torch.save(Linear(4).state_dict(), path)
    with pytest.raises(UserError, match="do not fit its network linear: .*save_checkpoint"):
        open_network(path, network="linear")
    save_checkpoint(path, "linear", {"hidden": 4}, Linear(4).state_dict())
    assert type(open_network(path)[1]) is Linear


@pytest.mark.parametrize("name", ["filters", "patches", "attribution"])
def test_a_net_without_convolutions_has_no_such_pictures(refused, data_dir, tmp_path, monkeypatch,
                                                         name):
    monkeypatch.setitem(NETWORKS, "linear", Linear)
    save_checkpoint(tmp_path / "w.pt", "linear", {}, Linear().state_dict())
    script = importlib.import_module(f"codes.visualize_{name}")
    assert "no convolution" in refused(script, "--ckpt", tmp_path / "w.pt",
                                       *given(script, data_dir, tmp_path))


@pytest.mark.parametrize("change, text", [
    ({"config": {"widths": (8, 16)}}, "do not fit its network cifarnet"),
    ({"network": "resnet"}, "unknown network 'resnet'"),
    ({"config": {"colour": 1}}, "does not take these arguments")])
def test_our_own_format_with_the_name_of_another_network_is_refused(tmp_path, change, text):
    torch.save(load_checkpoint(save_net(tmp_path / "w.pt")) | change, tmp_path / "w.pt")
    with pytest.raises(UserError, match=text):
        open_network(tmp_path / "w.pt")


@pytest.mark.parametrize("config, text", [({"inp_ch": 1}, "colour images of 32×32"),
                                          ({"num_classes": 100}, "100 classes")])
def test_a_net_for_other_images_or_classes_is_refused(tmp_path, config, text):
    """In our own format, and as a state_dict."""
    ours = save_net(tmp_path / "w.pt", "vgg_a_light", **config)
    torch.save(load_checkpoint(ours)["weights"], tmp_path / "own.pth")
    for path in (ours, tmp_path / "own.pth"):
        with pytest.raises(UserError, match=text):
            open_network(path)


def test_a_users_weights_are_evaluated_and_drawn(succeeds, net, data_dir, tmp_path):
    torch.save({"net": renamed(net, "module."), "acc": 93.1}, tmp_path / "own.pth")
    for script in (evaluate, visualize_filters):
        out = succeeds(script, "--ckpt", tmp_path / "own.pth",
                       *given(script, data_dir, tmp_path / script.__name__))
        assert "network    vgg_a_light(" in out


class Subclass(torch.Tensor):
    """As torchvision's images are."""


def test_what_save_accepts_load_opens(tmp_path):
    path, config = tmp_path / "a.pt", {"widths": (np.int64(8), 8), "dropout": np.float32(0.5)}
    net = CifarNet(widths=(8, 8))
    save_checkpoint(path, np.str_("cifarnet"), config, net.state_dict(), best=np.float64(0.9),
                    done=np.bool_(True), rows=[{"loss": np.float64(0.5)}], order=np.arange(3),
                    none=None, by_class={np.int64(3): 1}, image=Subclass(torch.ones(2)))
    content = load_checkpoint(path)
    assert type(content["best"]) is float and content["best"] == 0.9 and content["done"] is True
    assert content["config"] == {"widths": (8, 8), "dropout": 0.5}
    assert content["rows"] == [{"loss": 0.5}] and content["by_class"] == {3: 1}
    assert content["order"].tolist() == [0, 1, 2]
    assert type(content["image"]) is torch.Tensor and content["image"].tolist() == [1, 1]
    assert type(open_network(path)[1]) is CifarNet
    before = path.read_bytes()
    for extra, place in (({"best": [path]}, r"checkpoint\['best'\]\[0\]"), ({"x": Payload()}, "x"),
                         ({"x": np.longdouble(1)}, "x"), ({"x": {1, 2}}, "x")):
        with pytest.raises(TypeError, match=place):
            save_checkpoint(path, "cifarnet", {}, {}, **extra)
    assert path.read_bytes() == before
