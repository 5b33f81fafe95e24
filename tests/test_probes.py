"""Probes against known answers and finite differences; they leave a network as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm import probes
from VGG_BatchNorm.probes import curvature, internal_covariate_shift, probe, trainable, weight_names
from VGG_BatchNorm.VGG import VGG

BATCH = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8)


class Quadratic(nn.Module):
    """L(θ) = ½ Σ h θ²: gradient h θ, Hessian diag(h)."""

    def __init__(self, h, theta):
        super().__init__()
        self.h = torch.tensor(h, dtype=torch.float64)
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, x):
        return (0.5 * self.h * self.theta**2).sum() + 0 * x.sum()


def value(output, target):
    return output


def net(norm="none", **options):
    torch.manual_seed(0)
    return VGG("A", norm=norm, width=1 / 16, **options)


def test_a_quadratic_with_known_answers():
    h, theta, lr = torch.tensor([1.0, 3.0]).double(), torch.tensor([2.0, -1.0]).double(), 0.1
    found = probe(Quadratic(h.tolist(), theta.tolist()), value, BATCH, lr)
    g = h * theta
    assert found["loss"] == pytest.approx(3.5)
    assert found["gradient_norm"] == pytest.approx(g.norm().item())
    for i, s in enumerate((0.5, 1.0, 2.0, 4.0)):
        there = theta - s * lr * g
        assert found["losses"][i] == pytest.approx((0.5 * h * there**2).sum().item())
        assert found["distances"][i] == pytest.approx((s * lr * h * g).norm().item())
        assert found["smoothness"][i] == pytest.approx(((h * g).norm() / g.norm()).item())
        assert found["cosines"][i] == pytest.approx(F.cosine_similarity(h * there, g, dim=0).item())


def test_sums_are_exact_for_any_shape_and_layout(monkeypatch):
    monkeypatch.setattr(probes, "PART", 100)
    shapes = [(), (0,), (7,), (5, 300), (6, 4, 3, 3), (250, 2, 1, 1)]
    a, b = ({str(s): torch.randn(s) for s in shapes} for _ in range(2))
    b["(6, 4, 3, 3)"] = b["(6, 4, 3, 3)"].to(memory_format=torch.channels_last)
    expected = sum((a[name].double() * b[name].double()).sum().item() for name in a)
    assert probes.dot(a, b) == pytest.approx(expected, rel=1e-12)
    assert probes.norm(a) == pytest.approx(probes.dot(a, a) ** 0.5, rel=1e-12)


def test_curvature_of_a_quadratic_and_its_own_step():
    model = Quadratic([1.0, 3.0], [2.0, -1.0])
    h, g = torch.tensor([1.0, 3.0]).double(), torch.tensor([2.0, -3.0]).double()
    found = curvature(model, value, BATCH)
    assert found["hessian_norm"] == pytest.approx(((h * g).norm() / g.norm()).item())
    assert found["rayleigh"] == pytest.approx(((g * h * g).sum() / g.dot(g)).item())
    along = probe(model, value, BATCH, 1.0, multipliers=(1.0,),
                  update={"theta": torch.tensor([0.0, 1.0]).double()})
    assert along["distances"] == [pytest.approx(3.0)]
    assert along["smoothness"] == [pytest.approx(3.0)]


def test_a_gradient_that_vanishes_at_once_is_limited_by_the_grid():
    class Kink(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(torch.tensor([1e-4]))

        def forward(self, x):
            return self.theta.relu().sum()

    found = probe(Kink(), value, BATCH, 0.1)
    assert found["distances"] == [found["gradient_norm"]] * 4
    assert found["smoothness"][0] == max(found["smoothness"]) == pytest.approx(1 / 0.05)


@pytest.mark.parametrize("norm", ["none", "batch", "own_batch", "noisy_batch", "l1"])
def test_nothing_is_disturbed(norm):
    model = net(norm, dropout=0.3).train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    probe(model, F.cross_entropy, BATCH, 0.1)
    curvature(model, F.cross_entropy, BATCH)
    internal_covariate_shift(model, F.cross_entropy, BATCH, trainable(model), trainable(model))
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_training_goes_the_same_way_probed_or_not_in_any_order():
    def train(*probes) -> torch.Tensor:
        model = net("batch").train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            for measure in probes:
                measure(model)
            optimizer.zero_grad()
            F.cross_entropy(model(BATCH[0]), BATCH[1]).backward()
            optimizer.step()
        return torch.cat([t.flatten().double() for t in model.state_dict().values()])

    found = []
    first, second = (lambda model: found.append(probe(model, F.cross_entropy, BATCH, 0.1)),
                     lambda model: found.append(curvature(model, F.cross_entropy, BATCH)))
    plain = train()
    assert torch.equal(train(first, second), plain)
    assert torch.equal(train(second, first), plain)
    assert found[:6:2] == found[7::2] and found[1:6:2] == found[6::2]


def test_the_first_point_is_where_training_goes():
    model = net("batch").train()
    found = probe(model, F.cross_entropy, BATCH, 0.1)
    loss = F.cross_entropy(model(BATCH[0]), BATCH[1])
    loss.backward()
    assert found["loss"] == loss.item()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    loss = F.cross_entropy(model(BATCH[0]), BATCH[1])
    assert found["losses"][1] == pytest.approx(loss.item(), rel=1e-5)


def test_rescaled_weights_before_batch_norm_are_the_same_function_of_other_smoothness():
    """W → cW leaves the loss; the gradient by W goes with 1/c, its derivative with 1/c²."""
    model = net("batch").double().train()
    batch = (BATCH[0].double(), BATCH[1])
    name = "features.0.weight"
    plain = curvature(model, F.cross_entropy, batch)
    before = probe(model, F.cross_entropy, batch, 0.1)
    with torch.no_grad():
        model.get_parameter(name).mul_(2)
    scaled = curvature(model, F.cross_entropy, batch)
    after = probe(model, F.cross_entropy, batch, 0.1)
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-3)
    assert scaled["layer_rayleigh"][name] == pytest.approx(plain["layer_rayleigh"][name] / 4,
                                                           rel=1e-2)


@pytest.mark.parametrize("norm", ["none", "own_batch"])
def test_hessian_vector_product_against_finite_differences(norm):
    model = net(norm).double().train()
    batch = (BATCH[0].double(), BATCH[1])
    exact = curvature(model, F.cross_entropy, batch)["hessian_norm"]
    small = probe(model, F.cross_entropy, batch, 1e-6)["smoothness"][1]
    assert small == pytest.approx(exact, rel=1e-3)


def test_covariate_shift():
    model = net("batch").train()
    before = trainable(model)
    after = {name: p - 0.1 * torch.ones_like(p) for name, p in before.items()}
    found = internal_covariate_shift(model, F.cross_entropy, BATCH, before, after)
    first, *later = weight_names(model)
    assert list(found) == [first, *later] and len(found) == 11
    assert found[first]["difference"] == 0 and found[first]["cosine"] == pytest.approx(1)
    assert all(found[name]["difference"] > 0 for name in later)
    with torch.no_grad():  # by hand, for the second layer
        moved = copy.deepcopy(model)
        for name, p in moved.named_parameters():
            if name.startswith(("features.0.", "features.1.")):
                p.copy_(after[name])
    gradients = []
    for net_ in (model, moved):
        net_.zero_grad()
        F.cross_entropy(net_(BATCH[0]), BATCH[1]).backward()
        gradients.append(net_.get_parameter("features.4.weight").grad)
    assert later[0] == "features.4.weight"
    assert found[later[0]]["difference"] == pytest.approx(
        (gradients[0] - gradients[1]).norm().item(), rel=1e-4)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_loss_and_gradient_that_are_known_need_not_be_found_again(norm):
    model = net(norm).train()
    loss = F.cross_entropy(copy.deepcopy(model)(BATCH[0]), BATCH[1])
    twin = copy.deepcopy(model)
    F.cross_entropy(twin(BATCH[0]), BATCH[1]).backward()
    at = loss.item(), {name: p.grad for name, p in twin.named_parameters()}
    again = probe(model, F.cross_entropy, BATCH, 0.1)
    assert probe(model, F.cross_entropy, BATCH, 0.1, at=at) == again


def test_unused_parameters_and_linear_losses():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = (nn.Parameter(torch.ones(2)) for _ in range(2))

        def forward(self, x):
            return 3 * self.used.sum()

    found = probe(Partly(), value, BATCH, 0.1)
    assert found["gradient_norm"] == pytest.approx(18**0.5) and found["distances"] == [0, 0, 0, 0]
    assert curvature(Partly(), value, BATCH)["hessian_norm"] == 0


def test_bad_input():
    with pytest.raises(ValueError, match="above 0"):
        probe(net(), F.cross_entropy, BATCH, 0.0)
    with pytest.raises(ValueError, match="no trainable"):
        probe(nn.Flatten(), F.cross_entropy, BATCH, 0.1)


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
def test_curvature_from_losses_on_a_quadratic(size):
    """L = Σ cᵢ wᵢ² / 2: along g = c·w the curvature is Σ c³w² / Σ c²w², whatever the step."""
    c, w = torch.tensor([[3.0, 1, -0.5], [1, -2, 4]]).double()
    model = nn.Linear(3, 1, bias=False).double()
    model.weight.data[0] = w
    found = probes.curvature_from_losses(
        model, lambda out, target: (c * model.weight[0].square()).sum() / 2,
        (torch.zeros(1, 3).double(), torch.zeros(1)), [size])
    expected = (c**3 * w**2).sum() / (c**2 * w**2).sum()
    assert found["curvature"][0] == pytest.approx(expected.item(), rel=1e-6)
    assert found["gradient_norm"] == pytest.approx((c * w).norm().item(), rel=1e-6)
