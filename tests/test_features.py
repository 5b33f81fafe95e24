"""CKA against its definition, features of the right layers, the pictures of visualize_features."""

import sys

import numpy as np
import pytest
import torch
from conftest import assert_picture, drawing, save_net
from PIL import Image
from torch.nn import functional as F

from codes import visualize_features
from codes.insight import small_nets
from codes.insight.similarity import cka_matrix, layer_outputs, penultimate
from codes.networks import build
from codes.trainer import Trainer
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import load_cifar10, split_validation


def random(*shape, seed: int = 0, **options) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def linear_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    return cka_matrix([x], [y]).item()


def hsic(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Eq. 3 of Kornblith et al. 2019, with the centring matrix written out."""
    n = len(k)
    centre = torch.eye(n, dtype=k.dtype) - 1 / n
    return torch.trace(k @ centre @ m @ centre) / (n - 1) ** 2


def test_cka_is_that_of_the_definition():
    x, y = random(30, 7, dtype=torch.float64) + 3, random(30, 12, seed=1, dtype=torch.float64)
    y[:, :7] += x
    k, m = x @ x.T, y @ y.T
    expected = hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt()
    assert linear_cka(x, y) == pytest.approx(expected.item(), rel=1e-9)
    x, y = x - x.mean(0), y - y.mean(0)
    by_covariance = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert linear_cka(x, y) == pytest.approx(by_covariance.item(), rel=1e-9)


def test_cka_of_unrelated_features_is_small():
    x, y = random(2000, 5), random(2000, 5, seed=1)
    assert linear_cka(x, y) < 0.02
    assert linear_cka(x, torch.ones(2000, 3)) == 0  # a dead layer


def test_cka_matrix_is_its_entries():
    first, second = ([random(40, d, seed=d) for d in sizes] for sizes in ((3, 5), (5, 6, 7)))
    matrix = cka_matrix(first, second)
    assert matrix.shape == (2, 3) and matrix[1, 0].item() == pytest.approx(1, abs=1e-5)
    expected = [[linear_cka(x, y) for y in second] for x in first]
    torch.testing.assert_close(matrix, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ["gelu", "relu", "none"])
def test_outputs_of_every_block_of_a_cifarnet(activation):
    net = build("cifarnet", widths=(8, 16, 4), activation=activation, residual=True).eval()
    x = random(5, 3, 32, 32)
    found = layer_outputs(net, x, batch_size=2)
    assert [f.shape for f in found] == [(5, 16 * c) for c in (24, 8, 8, 16, 16, 4, 4)]
    with torch.no_grad():
        stem = net.activation(net.stem(F.pad(x, (0, 1, 0, 1), mode="replicate")))
        maps = {0: F.adaptive_avg_pool2d(stem, 4), 2: F.avg_pool2d(net.groups[0](stem), 4),
                -1: net.groups(stem)}  # 4 × 4 as it is
        for index, expected in maps.items():
            torch.testing.assert_close(found[index], expected.flatten(1), atol=1e-4, rtol=1e-4)
    assert not any(layer._forward_hooks for layer in net.modules())


def test_outputs_of_every_convolution_of_vgg_a():
    net = build("vgg_a").eval()
    x = random(2, 3, 32, 32)
    found = layer_outputs(net, x)
    pixels = [(64, 16), (128, 16), (256, 16), (256, 16), (512, 16), (512, 16), (512, 4), (512, 4)]
    assert [f.shape[1] for f in found] == [channels * area for channels, area in pixels]
    with torch.no_grad():
        torch.testing.assert_close(found[-1], net.features[:-1](x).flatten(1))
        torch.testing.assert_close(net.classifier[-1](penultimate(net, x)), net(x))


def test_penultimate_features_are_what_the_head_sees():
    net = build("cifarnet", widths=(8, 16), dropout=0.5).eval()
    x = random(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(penultimate(net, x), net.features(x))
        light = build("vgg_a_light").eval()
        torch.testing.assert_close(light.classifier[-1](penultimate(light, x)), light(x))
    assert not any(layer._forward_pre_hooks for layer in net.modules())


@pytest.fixture
def flags(quick, data_dir, tmp_path) -> tuple:
    return drawing(data_dir, tmp_path / "results", tmp_path, "--ckpt", save_net(tmp_path / "w.pt"),
                   "--n-items", 40)


def width(path) -> int:
    with Image.open(path) as picture:
        return picture.size[0]


def test_the_pictures(succeeds, flags, tmp_path, monkeypatch):
    """Without scikit-learn, with it, and again, when nothing is left to compute."""
    for name in ("sklearn", "sklearn.manifold"):
        monkeypatch.setitem(sys.modules, name, None)
    out = succeeds(visualize_features, *flags)
    assert "without its t-SNE panel" in out
    assert out.count("training the small net") == 4
    assert_picture(tmp_path / "features.png")
    assert_picture(tmp_path / "similarity.png")
    one = width(tmp_path / "features.png")
    found = np.load(tmp_path / "results" / "similarity.npz")
    assert found["cka"].shape == (3, 5, 5) and found["accuracy"].shape == (3, 2)
    assert (found["cka"] > -1e-5).all() and (found["cka"] < 1 + 1e-5).all()
    whitening = found["cka"][:, 0, 0]
    assert (whitening > 0.8).all()  # the same filters in all nets, the biases but little trained
    points = np.load(tmp_path / "results" / "principal_components.npz")
    assert points["points"].shape == (60, 2) and 0 < points["shares"].sum() <= 1 + 1e-9
    np.testing.assert_allclose(points["points"].mean(0), 0, atol=1e-5)
    assert points["points"][:, 0].std() >= points["points"][:, 1].std()

    for name in ("sklearn", "sklearn.manifold"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(Trainer, "train_epoch", None)
    assert "without" not in succeeds(visualize_features, *flags)
    assert width(tmp_path / "features.png") > 1.8 * one
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    succeeds(visualize_features, *flags)
    assert width(tmp_path / "features.png") > 1.8 * one

    save_net(tmp_path / "w.pt", dropout=0.5)  # of another net, t-SNE's points are not drawn
    succeeds(visualize_features, *flags)
    assert width(tmp_path / "features.png") == one


def test_small_nets_are_kept_and_trained_anew_for_other_settings(quick, data_dir, monkeypatch):
    train = split_validation(load_cifar10(data_dir)[0])[0]
    settings = small_nets.net_settings("plain", 1, "md5")
    assert settings["lr"] == pytest.approx(quick["lr"] / 9, rel=0.05)
    first = load_checkpoint(small_nets.small_net("plain", 1, train, "md5"))
    assert not any("norm" in name for name in first["weights"])
    monkeypatch.setattr(Trainer, "train_epoch", None)
    again = load_checkpoint(small_nets.small_net("plain", 1, train, "md5"))
    torch.testing.assert_close(again["weights"], first["weights"])
    with pytest.raises(TypeError):  # it would train
        small_nets.small_net("plain", 1, train, "other data")


def test_wrong_input_is_one_line(refused, flags, tmp_path):
    assert "20 or" in refused(visualize_features, *flags, "--n-items", 5)
    assert not (tmp_path / "features.png").exists()
