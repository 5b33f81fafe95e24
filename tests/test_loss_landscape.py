"""The loss landscape: directions, losses, eigenvalues and paths with known answers; the script."""

import copy
import hashlib
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import assert_picture, drawing, save_net
from torch import nn

from codes import visualize_landscape
from codes.insight import loss_landscape, small_nets
from codes.insight.loss_landscape import displaced, filter_normalized, for_landscape, loss_at
from codes.networks import build
from codes.results.measurements import TOLERANCE
from VGG_BatchNorm.ground.files import read_npz
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.probes import trainable

top_eigenvalue = loss_landscape.top_eigenvalue


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.fixture
def net() -> nn.Module:
    """With dropout, and with running statistics that are far from those of any image."""
    net = build("cifarnet", widths=(8, 8), dropout=0.5)
    for layer in norms(net):
        layer.running_mean.fill_(3.0)
    return net


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(40, 3, 32, 32, generator=seeded()), torch.arange(40) % 10


@torch.no_grad()
def in_evaluation(net: nn.Module, batch) -> float:
    return F.cross_entropy(net.eval()(batch[0]), batch[1]).item()


@torch.no_grad()
def recomputed_by_hand(net: nn.Module, batch) -> nn.Module:
    """A copy whose running statistics are those of the batch."""
    net = copy.deepcopy(net).eval()
    for layer in norms(net):
        layer.reset_running_stats()
        layer.momentum = None  # the mean over batches; there is one
        layer.train()
    net(batch[0])
    return net.eval()


def test_the_origin_is_the_loss_of_the_net(net, batch):
    centre = trainable(net)
    origin = displaced(centre, (0.0, filter_normalized(centre, seeded())))
    expected = in_evaluation(copy.deepcopy(net), batch)
    assert loss_at(for_landscape(net, frozen=True), origin,
                   batch).item() == pytest.approx(expected, rel=1e-5)
    expected = in_evaluation(recomputed_by_hand(net, batch), batch)
    assert loss_at(for_landscape(net), origin, batch).item() == pytest.approx(expected, abs=2e-3)


def test_statistics_are_those_of_the_displaced_weights(net, batch):
    centre = trainable(net)
    point = displaced(centre, (0.7, filter_normalized(centre, seeded())))
    moved = copy.deepcopy(net)
    moved.load_state_dict(point, strict=False)
    expected = in_evaluation(recomputed_by_hand(moved, batch), batch)
    assert loss_at(for_landscape(net), point, batch).item() == pytest.approx(expected, abs=2e-3)
    assert abs(loss_at(for_landscape(net, frozen=True), point, batch).item() - expected) > 0.02


def test_a_net_without_running_statistics_has_none_to_freeze():
    for_landscape(build("cifarnet", widths=(8, 8), norm="none"))
    with pytest.raises(UserError, match="no running statistics"):
        for_landscape(build("cifarnet", widths=(8, 8), norm="none"), frozen=True)
    scaled = for_landscape(build("vgg", norm="l2", width=0.0625))
    assert all(layer.training for layer in scaled.modules() if hasattr(layer, "running_mean"))
    with pytest.raises(UserError, match="noise after batch norm"):
        for_landscape(build("vgg", norm="noisy_batch", width=0.0625))


def test_a_direction_has_the_norm_of_each_filter(net):
    centre = trainable(net)
    direction = filter_normalized(centre, seeded())
    assert direction.keys() == centre.keys()
    assert "stem.weight" not in centre  # the whitening is no weight
    for name, p in centre.items():
        if p.ndim > 1:
            torch.testing.assert_close(direction[name].flatten(1).norm(dim=1),
                                       p.flatten(1).norm(dim=1))
            assert F.cosine_similarity(direction[name].flatten(), p.flatten(), dim=0).abs() < 0.5
        else:
            assert not direction[name].any()
    again, other = filter_normalized(centre, seeded()), filter_normalized(centre, seeded(1))
    assert torch.equal(again["head.weight"], direction["head.weight"])
    assert not torch.equal(other["head.weight"], direction["head.weight"])


def test_displaced_adds_up_and_unflat_undoes_flat(net):
    centre = trainable(net)
    one, two = filter_normalized(centre, seeded(1)), filter_normalized(centre, seeded(2))
    there = displaced(centre, (2.0, one), (-0.5, two))
    for name, p in loss_landscape.unflat(loss_landscape.flat(centre.values()), centre).items():
        assert torch.equal(p, centre[name]) and p.stride() == centre[name].stride()
        torch.testing.assert_close(there[name], p + 2 * one[name] - two[name] / 2)


@pytest.mark.parametrize("spectrum", [(4.0, 2.0, 1.0, -1.0, 0.5), (-6.0, 3.0, 1.0, 0.0, -2.0)],
                         ids=str)
def test_top_eigenvalue_of_a_quadratic(spectrum):
    basis = torch.linalg.qr(torch.randn(5, 5, generator=seeded(), dtype=torch.float64)).Q
    matrix = basis @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ basis.T
    a, b = (torch.ones(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 1), (3,)))

    def loss() -> torch.Tensor:
        x = torch.cat([a.flatten(), b])
        return x @ matrix @ x / 2

    value, residual = top_eigenvalue(loss, [a, b], seeded(1), iterations=500, tolerance=1e-8)
    assert value == pytest.approx(max(spectrum), rel=1e-6) and residual < 1e-6
    rough, residual = top_eigenvalue(loss, [a, b], seeded(1), iterations=4, tolerance=0.0)
    assert rough <= max(spectrum) and min(abs(rough - one) for one in spectrum) <= residual + 1e-9


def test_the_second_search_is_as_sharp_as_the_first():
    spectrum = torch.tensor([-10.0, 1.0] + [0.5] * 98, dtype=torch.float64)
    x = torch.ones(100, dtype=torch.float64, requires_grad=True)
    value, residual = top_eigenvalue(lambda: spectrum @ x.square() / 2, [x], seeded(1), 500)
    assert value == pytest.approx(1, rel=TOLERANCE) and residual <= TOLERANCE


def test_the_net_is_left_as_it_was(net, batch):
    net.train()
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    for frozen in (False, True):
        ready, centre = for_landscape(net, frozen), trainable(net)
        statistics = copy.deepcopy(ready.state_dict())
        loss_at(ready, displaced(centre, (1.0, filter_normalized(centre, seeded()))), batch)
        point = {name: p.clone().requires_grad_() for name, p in centre.items()}
        value, _ = top_eigenvalue(
            lambda ready=ready, point=point: loss_at(ready, point, batch), list(point.values()),
            seeded(), iterations=2)
        assert np.isfinite(value)
        for model, kept in ((net, before), (ready, statistics)):
            assert all(torch.equal(t, kept[name]) for name, t in model.state_dict().items())
    assert net.training and all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_path_in_a_plane_is_explained_whole():
    path = torch.randn(9, 2, generator=seeded()) @ torch.randn(2, 50, generator=seeded(1)) + 5
    directions, coordinates, explained = loss_landscape.principal_plane(path)
    assert explained.sum().item() == pytest.approx(1, abs=1e-9) and explained[0] > explained[1]
    torch.testing.assert_close(directions @ directions.T, torch.eye(2, dtype=torch.float64))
    assert not coordinates[-1].any()
    torch.testing.assert_close(path[-1] + coordinates @ directions, path.double(), atol=1e-4,
                               rtol=0)
    cross = torch.cat([torch.eye(3), -torch.eye(3)])  # three directions alike
    assert loss_landscape.principal_plane(cross)[2].sum().item() == pytest.approx(2 / 3)


def test_an_interrupted_grid_resumes(tmp_path):
    xs, ys, seen = np.linspace(-1, 1, 3), np.linspace(0, 1, 4), []

    def loss(x: float, y: float) -> float:
        seen.append((x, y))
        if len(seen) == 8:  # in the third row
            raise KeyboardInterrupt
        return x * x + y

    def plane(first=dict, f=loss, span=1.0) -> tuple:
        return span * xs, ys, f, first

    cut, about = tmp_path / "cut.npz", {"sha1": "a"}
    with pytest.raises(KeyboardInterrupt):
        loss_landscape.fill(cut, about, lambda **given: plane(first=lambda: {"eigenvalue": 2.0},
                                                              **given), span=1.0)
    assert read_npz(cut)["loss"].shape == (2, 3)
    resumed = loss_landscape.fill(
        cut, about, lambda **_: plane(first=lambda: pytest.fail("it is there")), span=1.0)
    whole = loss_landscape.fill(tmp_path / "whole.npz", about,
                                lambda **_: plane(f=lambda x, y: x * x + y), span=1.0)
    assert np.array_equal(resumed["loss"], whole["loss"]) and len(seen) == 8 + 6
    assert np.array_equal(whole["loss"], xs * xs + ys[:, None])
    assert read_npz(cut)["eigenvalue"] == 2
    assert read_npz(cut)["about"] == about | {"settings": {"span": 1.0}}
    loss_landscape.fill(cut, about, lambda **_: pytest.fail("it is complete"), span=1.0)
    loss_landscape.fill(cut, about | {"sha1": "b"}, plane, span=1.0)  # of other weights
    assert len(seen) == 14 + 12
    wider = loss_landscape.fill(cut, about | {"sha1": "b"}, plane, span=2.0)  # with other settings
    assert len(seen) == 14 + 24 and wider["xs"].tolist() == [-2, 0, 2]
    cut.write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged"):
        loss_landscape.fill(cut, about, plane, span=1.0)


@pytest.fixture
def flags(monkeypatch, quick, data_dir, tmp_path) -> tuple:
    """The script's flags for a tiny run; whatever it trains goes to the test's folder."""
    monkeypatch.setitem(visualize_landscape.HESSIAN, "iterations", 2)
    monkeypatch.setattr(small_nets, "EVERY", 1)
    return drawing(data_dir, tmp_path / "numbers", tmp_path / "pictures", "--n-items", 40,
                   "--points", 3)


@pytest.mark.parametrize("network, config, more",
                         [("cifarnet", {}, ("--frozen",)),
                          ("vgg", {"norm": "batch", "width": 1 / 16}, ())], ids=str)
def test_pictures_of_each_network(succeeds, flags, tmp_path, network, config, more):
    asked = (*flags, "--ckpt", save_net(tmp_path / "w.pt", network, **config), *more)
    succeeds(visualize_landscape, *asked)
    for name in ("surface", "contour"):
        assert_picture(tmp_path / "pictures" / f"{name}.png")
    numbers = tmp_path / "numbers" / "plane.npz"
    plane, written = read_npz(numbers), numbers.stat().st_mtime_ns
    assert plane["loss"].shape == (3, 3) and np.isfinite(plane["loss"]).all()
    assert plane["about"]["checkpoint"] == "w.pt" and plane["about"]["settings"]["n_items"] == 40
    assert plane["xs"].tolist() == [-1, 0, 1]
    assert (tmp_path / "numbers" / "plane_frozen.npz").exists() == bool(more)
    sha1 = hashlib.sha1((tmp_path / "w.pt").read_bytes()).hexdigest()
    assert plane["about"]["sha1"] == sha1[:10]
    succeeds(visualize_landscape, *asked)
    assert numbers.stat().st_mtime_ns == written


def test_small_nets_side_by_side_and_the_path_of_one(succeeds, flags, tmp_path, monkeypatch):
    succeeds(visualize_landscape, *flags, "--compare")
    assert_picture(tmp_path / "pictures" / "compare.png")
    compared = visualize_landscape.COMPARED
    planes = [read_npz(tmp_path / "numbers" / f"compare_{name}.npz") for name in compared]
    assert len({plane["loss"][1, 1] for plane in planes}) == 4
    trained = tmp_path / "runs" / "small" / "batch_norm-s0" / "last.pt"
    before = trained.stat().st_mtime_ns
    succeeds(visualize_landscape, *flags, "--path")
    assert trained.stat().st_mtime_ns == before
    assert_picture(tmp_path / "pictures" / "path.png")
    path = read_npz(tmp_path / "numbers" / "path.npz")
    shutil.rmtree(tmp_path / "runs")  # what is complete is drawn without the nets
    monkeypatch.setattr(small_nets, "PathTrainer", None)
    for what in ("--compare", "--path"):
        succeeds(visualize_landscape, *flags, what)
    assert path["coordinates"].shape == (3, 2) and not path["coordinates"][-1].any()
    # two steps: three points, which lie in a plane
    assert path["explained"].sum() == pytest.approx(1)
    for along, ticks in zip(path["coordinates"].T, (path["xs"], path["ys"]), strict=True):
        assert ticks[0] < along.min() and along.max() < ticks[-1]


def test_bad_input_is_one_line(refused, flags, tmp_path):
    wrong = {"2 to 270": ("--n-items", 5000),
             "--compare does not use --ckpt": ("--compare", "--ckpt", tmp_path / "w.pt"),
             "--path does not use --network": ("--path", "--network", "vgg"),
             "--path does not use --span": ("--path", "--span", 1)}
    for said, more in wrong.items():
        assert said in refused(visualize_landscape, *flags, *more)
    assert not list(tmp_path.iterdir())
