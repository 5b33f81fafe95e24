"""The optimizers against torch's, their formulas by hand, and the schedules."""

import copy
import io
from functools import partial

import pytest
import torch

from codes import optimizers
from codes.networks import build
from codes.optimizers import OPTIMIZERS, Muon, make_optimizers, orthogonalize
from codes.schedule import image_size, schedule
from codes.settings import Settings


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (8, 8)])
def test_orthogonalize_keeps_the_singular_vectors_and_evens_the_values(shape):
    u, s, vt = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    s = torch.linspace(1, 0.2, len(s), dtype=torch.float64)
    out = orthogonalize(u @ torch.diag(s) @ vt, steps=5)
    inside = u.T @ out @ vt.T
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-6
    assert 0.6 < inside.diagonal().min() and inside.diagonal().max() < 1.25


def test_muon_step_by_hand():
    weight = torch.nn.Parameter(torch.randn(6, 2, 3, 3))
    expected, buffer = weight.detach().clone(), torch.zeros(6, 2, 3, 3)
    optimizer = Muon([weight], lr=0.1, momentum=0.6)
    for _ in range(3):
        weight.grad = torch.randn_like(weight)
        buffer = 0.6 * buffer + weight.grad
        nesterov = (weight.grad + 0.6 * buffer).flatten(1)
        step = 0.1 * orthogonalize(nesterov).view_as(expected)
        expected = expected * 6**0.5 / expected.norm() - step
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected)


OURS = {"sgd": lambda p: optimizers.SGD(p, 0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
        "adam": lambda p: optimizers.Adam(p, 1e-2, weight_decay=1e-2),
        "adamw": lambda p: optimizers.AdamW(p, 1e-2), "muon": lambda p: optimizers.Muon(p),
        "damped_muon": lambda p: optimizers.DampedMuon(p)}


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_state_round_trip_goes_on_with_the_same_bits(make):
    def run(interrupted: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
        optimizer = make([weight])
        for i in range(6):
            if interrupted and i == 3:
                file = io.BytesIO()
                torch.save(optimizer.state_dict(), file)
                file.seek(0)
                optimizer = copy.deepcopy(make([weight]))
                weight = optimizer.param_groups[0]["params"][0]
                optimizer.load_state_dict(torch.load(file, weights_only=True))
            weight.grad = torch.randn_like(weight)
            optimizer.step()
        return weight.detach()

    assert torch.equal(run(False), run(True))


def end(make, start: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Where an optimizer takes a weight by these gradients."""
    weight = torch.nn.Parameter(start.clone())
    optimizer = make([weight])
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("name, settings",
                         [("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, weight_decay=1e-2)),
                          ("SGD", dict(lr=0.05, momentum=0.9, weight_decay=1e-2)),
                          ("SGD", dict(lr=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True)),
                          ("Adam", dict(lr=1e-3)),
                          ("Adam", dict(lr=1e-3, betas=(0.8, 0.95), weight_decay=1e-2)),
                          ("AdamW", dict(lr=1e-3, weight_decay=0.1))], ids=str)
def test_the_textbooks_equal_those_of_torch(name, settings):
    start, gradients = torch.randn(6, 4, 3, 3).double(), torch.randn(100, 6, 4, 3, 3).double()
    mine, theirs = (end(partial(getattr(module, name), **settings), start, gradients)
                    for module in (optimizers, torch.optim))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch is older than 2.9")
@pytest.mark.parametrize("shape", [(24, 40), (32, 32)])
def test_muon_equals_that_of_torch_on_matrices(shape):
    start, gradients = torch.randn(shape), torch.randn(5, *shape)
    mine, theirs = (end(make, start, gradients) - start for make in (
        lambda p: Muon(p, 0.1, momentum=0.9, steps=5, rescale=False),
        lambda p: torch.optim.Muon(p, 0.1, weight_decay=0.0, momentum=0.9)))
    assert (mine - theirs).norm() < 0.03 * theirs.norm()  # theirs iterates in bfloat16


def test_muons_to_compare_differ_in_one_thing():
    start, gradient = 3 * torch.randn(6, 2, 3, 3), torch.randn(1, 6, 2, 3, 3)
    free, rescaling = (end(lambda p, name=name: OPTIMIZERS[name].make(p, 0.1), start, gradient)
                       for name in ("muon_free", "muon"))
    torch.testing.assert_close(free - start, rescaling - start * 6**0.5 / start.norm())
    kinds = {name: OPTIMIZERS[name].make([torch.nn.Parameter(start)], 0.1).defaults
             for name in OPTIMIZERS if name.startswith("damped_muon")}
    assert {name: (kind["damping"], kind["anneal"], kind["full_length"])
            for name, kind in kinds.items()} == {
        "damped_muon": (2, True, False), "damped_muon_constant": (1, False, False),
        "damped_muon_half": (1, True, False), "damped_muon_flat": (2, False, False),
        "damped_muon_long": (2, True, True)}


def test_undamped_muon_is_muon():
    start, gradients = torch.randn(6, 2, 3, 3), torch.randn(4, 6, 2, 3, 3)
    makers = Muon, lambda p: optimizers.DampedMuon(p, damping=0.0)
    torch.testing.assert_close(*(end(make, start, gradients) for make in makers))


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_damping_follows_its_formula(shape):
    weight = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = optimizers.DampedMuon([weight], steps=6)
    group, variance = optimizer.param_groups[0], torch.tensor(0.05, dtype=torch.float64)
    matrix = torch.randn(shape, dtype=torch.float64)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    rho = 1.6**2 + 0.6**4 / (1 - 0.6**2)
    # falls with lr from its highest on
    for lr, damping in ((0.1, 2), (0.24, 2), (0.06, 0.5), (0.24, 2)):
        group["lr"] = lr
        expected = s / (s**2 + damping**2 * 0.05 * rho * 30).sqrt()
        inside = u.T @ optimizer.direction(matrix, {"variance": variance}, group) @ vt.T
        assert (inside - inside.diagonal().diag()).abs().max() < 1e-6
        ratio = inside.diagonal() / expected  # the iteration takes them to 0.7 … 1.2, not to 1
        assert 0.65 < ratio.min() and ratio.max() < 1.25
    damped = optimizer.direction(matrix, {"variance": variance}, group)
    longer = optimizer.direction(matrix, {"variance": variance}, group | {"full_length": True})
    assert damped.norm() < 0.9 * 8**0.5
    torch.testing.assert_close(longer, damped * (8**0.5 / damped.norm()))


def test_damped_muon_measures_the_noise():
    weight = torch.nn.Parameter(torch.zeros(50, 40))
    optimizer, signal = optimizers.DampedMuon([weight]), torch.randn(50, 40)
    variance, singular = [], []
    for _ in range(300):
        noise = 0.5 * torch.randn_like(weight)
        weight.grad = signal + noise
        optimizer.step()
        state = optimizer.state[weight]
        variance.append(state["variance"].item())
        # what is left, once it has filled, is noise
        momentum = state["momentum"] - signal / (1 - 0.6)
        # mean s² of the smaller side
        singular.append((noise + 0.6 * momentum).square().sum().item() / 40)
    assert weight.isfinite().all()
    assert sum(variance[50:]) / 250 == pytest.approx(0.25, rel=0.05)
    rho = (1 + 0.6) ** 2 + 0.6**4 / (1 - 0.6**2)  # as the docstring says
    assert sum(singular[50:]) / 250 == pytest.approx(0.25 * rho * 50, rel=0.05)


def test_schedule_rises_falls_and_ends_where_it_should():
    assert [schedule(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    ends = [schedule(step, 4, end=0.2) for step in range(5)]
    assert ends == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    rates = [schedule(step, 100, warmup=0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (19, 20) and rates[-1] < 0.02
    assert all(b < a for a, b in zip(rates[20:], rates[21:], strict=False))
    factors = [schedule(step, 25, warmup=0.1) for step in range(25)]  # 2.5 steps of warm-up
    assert factors[:3] == pytest.approx([0.4, 0.8, 1.0]) and max(factors) == 1
    assert factors[-1] < 0.05


def test_small_images_come_first_then_those_of_the_middle_size():
    settings = Settings(small_size=16, small_share=0.3, middle_size=20, middle_share=0.6)
    sizes = [image_size(step, 10, settings) for step in range(10)]
    assert sizes == [16] * 3 + [20] * 3 + [32] * 4


@pytest.mark.parametrize("name, choice", OPTIMIZERS.items(), ids=list(OPTIMIZERS))
def test_the_table_says_what_an_optimizer_trains_and_takes(name, choice):
    net = build("cifarnet", widths=(8, 8))
    settings = Settings(optimizer=name, lr=0.125, momentum=0.25, weight_decay=1e-5)
    made = make_optimizers(net, settings)
    held = [id(p) for each in made for group in each.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert len(made) == 1 + choice.filters_only and choice.about
    group = made[-1].param_groups[0]
    assert all(p.ndim == 4 for p in group["params"]) == choice.filters_only
    assert group["lr"] == 0.125
    assert (group.get("momentum") == 0.25) == ("momentum" in choice.takes)
    assert (group.get("weight_decay") == 1e-5) == ("weight_decay" in choice.takes)
    Settings(optimizer=name, **choice.start)


def test_beside_muon_sgd_trains_all_that_is_no_filter():
    net = build("cifarnet", widths=(8, 8))
    net.places = torch.nn.Parameter(torch.zeros(1, 4, 8))
    sgd, _ = make_optimizers(net, Settings())
    assert any(p is net.places for group in sgd.param_groups for p in group["params"])
