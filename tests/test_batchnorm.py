"""Batch norm of ours against torch's and finite differences; its noisy and Lp variants."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm.batchnorm import (
    BatchNorm2d,
    LpNorm2d,
    Noise2d,
    NoisyBatchNorm2d,
    jitter,
    theorem_4_1,
)


def pair(**options) -> tuple[nn.BatchNorm2d, BatchNorm2d]:
    """torch's layer and ours, float64, with the same γ and β."""
    theirs, ours = (kind(5, **options).double() for kind in (nn.BatchNorm2d, BatchNorm2d))
    if theirs.affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"momentum": 0.4, "eps": 1e-3},
                                     {"affine": False}, {"track_running_stats": False}])
def test_equals_torch_in_output_gradients_and_statistics(options):
    theirs, ours = pair(**options)
    for mode in (True, True, False):
        theirs.train(mode)
        ours.train(mode)
        y = (3 * torch.randn(4, 5, 6, 7, dtype=torch.float64) + 1).requires_grad_()
        g = torch.randn_like(y)
        expected = torch.autograd.grad(theirs(y), (y, *theirs.parameters()), g)
        found = torch.autograd.grad(ours(y), (y, *ours.parameters()), g)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        # a call more would move them on
        if not (mode and options.get("track_running_stats", True)):
            torch.testing.assert_close(ours(y), theirs(y), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-12, atol=1e-12)


def test_gradients_against_finite_differences_twice():
    y = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    layer = BatchNorm2d(2, track_running_stats=False).double()

    def call(y, gamma, beta):
        return torch.func.functional_call(layer, {"weight": gamma, "bias": beta}, y)

    inputs = y, *(torch.randn(2).double().requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_theorem_4_1_is_an_equality_with_1_over_m():
    """‖∂L̂/∂y‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m): batch norm takes two directions away."""
    y = torch.randn(4, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    g = torch.randn_like(y)  # the gradient that reaches batch norm's output, divided by γ
    layer = BatchNorm2d(1, eps=0.0).double()
    nn.init.constant_(layer.weight, 1.7)
    (found,) = torch.autograd.grad(layer(y), y, g)
    m, sigma = y.numel(), y.std(unbiased=False)
    normalized = (y - y.mean()) / sigma
    square = g.square().sum() - g.sum() ** 2 / m - (g * normalized).sum() ** 2 / m
    torch.testing.assert_close(found.square().sum(), 1.7**2 / sigma**2 * square)
    as_printed = g.square().sum() - g.sum() ** 2 / m - (g * normalized).sum() ** 2 / math.sqrt(m)
    assert not torch.isclose(found.square().sum(), 1.7**2 / sigma**2 * as_printed, rtol=1e-3)
    sides = theorem_4_1(y, g, layer)
    torch.testing.assert_close(sides["measured"][0], found.square().sum())
    torch.testing.assert_close(sides["equality"], sides["measured"])
    torch.testing.assert_close(sides["printed"][0], 1.7**2 / sigma**2 * as_printed)


def test_one_value_a_channel_and_wrong_axes_are_refused():
    with pytest.raises(ValueError, match="more than one value"):
        BatchNorm2d(3)(torch.randn(1, 3, 1, 1))
    with pytest.raises(ValueError, match="4D"):
        BatchNorm2d(3)(torch.randn(4, 3))


def test_noise_has_the_papers_moments_and_repeats():
    layer = NoisyBatchNorm2d(64, seed=3)
    y = torch.randn(256, 64, 4, 4)
    state = torch.get_rng_state()
    noisy = layer(y)
    assert torch.equal(torch.get_rng_state(), state)  # a generator of its own
    layer.num_batches_tracked.zero_()
    assert torch.equal(layer(y), noisy) and not torch.equal(layer(y), noisy)
    clean = nn.BatchNorm2d(64)(y)
    shift = noisy.mean(0)  # of each unit: μ, up to σ times the mean of clean, which is small
    assert abs(shift.mean()) < 0.05 and abs(shift.std() - 1 / math.sqrt(12)) < 0.05
    slope = ((noisy - noisy.mean(0)) * clean).mean(0) / clean.square().mean(0)
    assert abs(slope.mean() - 1.125) < 0.02
    layer.eval()
    torch.testing.assert_close(layer(y), F.batch_norm(y, layer.running_mean, layer.running_var))


@pytest.mark.parametrize("by, moved", [("channel", True), ("pixel", False)])
def test_noise_by_channel_moves_a_channels_mean_and_by_pixel_hardly(by, moved):
    y = torch.randn(64, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    shift = jitter(y, 0, by).mean((0, 2, 3)) - y.mean((0, 2, 3))
    assert (shift.std() > 0.2) == moved and (shift.std() < 0.03) != moved
    layer = Noise2d(seed=2)
    assert not torch.equal(layer(y), layer(y)) and torch.equal(layer.eval()(y), y)


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_lp_norms(p):
    y = torch.randn(8, 3, 4, 4, dtype=torch.float64) + 2
    layer = LpNorm2d(3, p, momentum=1.0).double()
    flat = y.transpose(0, 1).flatten(1)
    average = flat.abs().amax(1) if p == math.inf else flat.abs().pow(p).mean(1) ** (1 / p)
    expected = (flat - flat.mean(1, keepdim=True)) / average[:, None]
    found = layer(y)
    torch.testing.assert_close(found.transpose(0, 1).flatten(1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.eval()(y), found)  # momentum 1: the last batch's statistics
    layer.train()(torch.zeros(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)).sum().backward()
    assert layer.weight.grad.isfinite().all()
