import pytest
import torch

from codes.networks import build
from codes.optimizers import Muon, orthogonalize
from codes.settings import DEFAULTS
from codes.trainer import image_size, make_optimizers, schedule


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (8, 8)])
def test_orthogonalize_keeps_the_singular_vectors_and_evens_the_values(shape):
    torch.manual_seed(0)
    u, s, vt = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    s = torch.linspace(1, 0.2, len(s), dtype=torch.float64)
    out = orthogonalize(u @ torch.diag(s) @ vt, steps=5)
    inside = u.T @ out @ vt.T
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-6
    assert 0.6 < inside.diagonal().min() and inside.diagonal().max() < 1.25


def test_muon_step_by_hand():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 2, 3, 3))
    expected, buffer = weight.detach().clone(), torch.zeros(6, 2, 3, 3)
    optimizer = Muon([weight], lr=0.1, momentum=0.6)
    for _ in range(3):
        weight.grad = torch.randn_like(weight)
        buffer = 0.6 * buffer + weight.grad
        nesterov = (weight.grad + 0.6 * buffer).flatten(1)
        expected = expected * 6**0.5 / expected.norm() - 0.1 * orthogonalize(nesterov).view_as(expected)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected)


def test_muon_state_round_trip_goes_on_with_the_same_bits():
    def run(interrupted: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
        optimizer = Muon([weight])
        for i in range(6):
            if interrupted and i == 3:
                state, optimizer = optimizer.state_dict(), Muon([weight])
                optimizer.load_state_dict(state)
            weight.grad = torch.randn_like(weight)
            optimizer.step()
        return weight.detach()

    assert torch.equal(run(False), run(True))


def test_muon_minimises():
    torch.manual_seed(0)
    weight, target = torch.nn.Parameter(torch.randn(4, 2, 3, 3)), torch.randn(4, 2, 3, 3)
    target *= 2 / target.norm()
    optimizer = Muon([weight])
    first = (weight - target).square().sum().item()
    for i in range(60):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - i / 60)
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
    assert (weight - target).square().sum() < 0.01 * first


def test_schedule_rises_falls_and_ends_at_zero():
    assert [schedule(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    rates = [schedule(step, 100, warmup=0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (19, 20) and rates[-1] < 0.02
    assert all(b < a for a, b in zip(rates[20:], rates[21:], strict=False))


def test_small_images_come_first():
    settings = DEFAULTS | {"small_size": 16, "small_share": 0.3}
    assert [image_size(step, 10, settings) for step in range(10)] == [16] * 3 + [32] * 7


@pytest.mark.parametrize("optimizer", ["muon", "sgd", "adamw"])
def test_every_trained_parameter_is_in_one_group(optimizer):
    net = build("cifarnet", widths=(8, 8), whiten=False)
    groups = [g for o in make_optimizers(net, DEFAULTS | {"optimizer": optimizer}) for g in o.param_groups]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters() if p.requires_grad)
