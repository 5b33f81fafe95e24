"""Every gradient written by hand equals autograd's."""

import pytest
import torch
import torch.nn.functional as F

from codes import from_scratch
from codes.results.presets import SCRATCH_RUN
from VGG_BatchNorm.ground.files import read_csv, write_csv


@pytest.fixture(autouse=True)
def in_double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def conv(layer, x):
    weight = layer.weight.view(3, 3, -1, layer.weight.shape[1]).permute(3, 2, 0, 1)
    return F.conv2d(x.permute(0, 3, 1, 2), weight, layer.bias, padding=1).permute(0, 2, 3, 1)


def pool(layer, x):
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


LAYERS = [(from_scratch.Linear(7, 5), (4, 7), lambda layer, x: x @ layer.weight + layer.bias),
          (from_scratch.Conv3x3(3, 5), (2, 6, 4, 3), conv),
          (from_scratch.MaxPool2x2(), (2, 6, 4, 3), pool),
          (from_scratch.ReLU(), (4, 7), lambda layer, x: x.relu()),
          (from_scratch.Flatten(), (2, 6, 4, 3), lambda layer, x: x.flatten(1))]


@pytest.mark.parametrize("layer, shape, reference", LAYERS, ids=lambda v: type(v).__name__)
def test_layer_equals_autograd(layer, shape, reference):
    weights = []
    if isinstance(layer, from_scratch.Linear):
        layer.weight, layer.bias = layer.weight.double(), torch.randn(len(layer.bias))
        weights = [layer.weight, layer.bias]
    x = torch.randn(shape)
    y = layer.forward(x)
    dy = torch.randn(y.shape)
    mine = [layer.backward(dy), *(w.grad for w in weights)]
    leaves = [x.requires_grad_(), *(w.requires_grad_() for w in weights)]
    expected = reference(layer, x)
    torch.testing.assert_close(y, expected.detach(), rtol=0, atol=1e-10)
    for got, wanted in zip(mine, torch.autograd.grad(expected, leaves, dy), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_the_whole_net_equals_autograd():
    net = from_scratch.Network(widths=(4, 5, 6), hidden=8)
    x, labels = torch.randn(3, 32, 32, 3), torch.tensor([1, 9, 0])
    loss, gradient = from_scratch.cross_entropy(net.forward(x), labels)
    net.backward(gradient)
    mine = [p.grad.clone() for p in net.parameters()]
    leaves = [p.requires_grad_() for p in net.parameters()]
    for p in leaves:
        p.grad = None
    y = x
    for layer in net.layers:
        y = next(ref for kind, _, ref in LAYERS if type(kind) is type(layer))(layer, y)
    expected = F.cross_entropy(y, labels)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    for got, wanted in zip(mine, torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_it_trains(succeeds, refused, data_dir, tmp_path):
    torch.set_default_dtype(torch.float32)
    path = tmp_path / "s.csv"
    flags = ("--data-dir", data_dir, "--out", path, "--epochs", 4, "--batch-size", 30)
    out = succeeds(from_scratch, *flags)
    assert "test accuracy" in out
    losses = [float(line.split()[-1]) for line in out.splitlines() if line.startswith("epoch")]
    assert losses[-1] < losses[0] - 0.3
    write_csv(path, [read_csv(path, SCRATCH_RUN)[0] | {"seed": seed, "torch": "old"}
                     for seed in (0, 1)])
    succeeds(from_scratch, *flags)
    rows = read_csv(path, SCRATCH_RUN)
    assert [(row["seed"], row["torch"] == "old") for row in rows] == [(0, False), (1, True)]
    assert "lower --lr" in refused(from_scratch, *flags, "--lr", 1e30, "--out", tmp_path / "t.csv")


def test_a_file_of_another_recipe_or_a_damaged_one_is_refused_before_training(
        refused, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(from_scratch, "train", None)
    path = tmp_path / "s.csv"
    flags = ("--data-dir", data_dir, "--out", path)
    row = dict.fromkeys(SCRATCH_RUN, 1) | {"images": 300, "epochs": 4, "lr": 0.05,
                                            "batch_size": 128}
    write_csv(path, [row])
    for flag, value, said in (("--epochs", 1, "epochs 4, not 1"), ("--lr", 0.1, "lr 0.05, not 0.1"),
                              ("--n-items", 200, "images 300, not 200"),
                              ("--batch-size", 50, "batch_size 128, not 50")):
        assert said in refused(from_scratch, *flags, flag, value)
    path.write_text("seed\nx")
    assert "is damaged" in refused(from_scratch, *flags)
