"""Every algorithm of a 3×3 convolution against the direct one, and which is chosen when."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm.ground import winograd
from VGG_BatchNorm.ground.convolution import CONVOLVE, WINOGRAD_FROM, Conv3x3, algorithm


def direct(x, weight):
    return F.conv2d(x, weight, padding=1)


def derivatives(convolve, x, weight, directions) -> list[torch.Tensor]:
    """Output, gradients, and Hessian-vector products of a loss that is not quadratic."""
    y = convolve(x, weight)
    plain = torch.autograd.grad(y.sin().sum(), (x, weight))
    gradients = torch.autograd.grad(convolve(x, weight).sin().sum(), (x, weight), create_graph=True)
    along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    return [y, *plain, *gradients, *torch.autograd.grad(along, (x, weight))]


@pytest.mark.parametrize("name, n, c, k, height, width", [
    ("dense", 3, 5, 7, 2, 2), ("winograd", 3, 5, 7, 8, 8), ("winograd", 1, 4, 4, 16, 12),
    ("winograd", 5, 8, 6, 7, 9), ("winograd", 2, 3, 3, 3, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_algorithms_agree_in_output_gradients_and_second_derivatives(
        name, n, c, k, height, width, memory_format, monkeypatch):
    # several chunks, the last one smaller
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 36 * 4 * 2 * 6 * 8)
    x, weight, *directions = (
        torch.randn(shape).mul(0.3).contiguous(memory_format=memory_format).requires_grad_()
        for shape in 2 * [(n, c, height, width), (k, c, 3, 3)])
    expected = derivatives(direct, x, weight, directions)
    for ours, theirs in zip(derivatives(CONVOLVE[name], x, weight, directions), expected,
                            strict=True):
        assert ours.shape == theirs.shape and (ours - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("name", CONVOLVE)
def test_images_that_need_no_gradient(name):
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    CONVOLVE[name](torch.randn(2, 3, 2, 2), weight).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_the_tables_of_winograd_are_exact():
    """Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A is the convolution, to the last digits of float64."""
    d, g = torch.randn(6, 6, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    bt, at = winograd._BT.double(), winograd._AT.double()
    table = (winograd._G.double() * 24).round() / 24
    y = at @ ((table @ g @ table.T) * (bt @ d @ bt.T)) @ at.T
    torch.testing.assert_close(y, F.conv2d(d[None, None], g[None, None])[0, 0], atol=1e-12, rtol=0)


def cpu(monkeypatch, units: str) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: units)


@pytest.mark.parametrize("units, channels, size, chosen", [
    ("AVX2", 64, 8, "winograd"), ("AVX2", 32, 8, "direct"), ("AVX512", 64, 8, "direct"),
    ("AVX512", 256, 8, "winograd"), ("AVX512", 256, 2, "dense"), ("AVX512", 256, 1, "direct"),
    ("DEFAULT", 256, 8, "direct")])
def test_the_algorithm_follows_from_cpu_and_shapes(monkeypatch, units, channels, size, chosen):
    cpu(monkeypatch, units)
    x, weight = torch.zeros(1, channels, size, size), torch.zeros(channels, channels, 3, 3)
    assert algorithm(x, weight) == chosen
    elsewhere = "dense" if size == 2 else "direct"
    assert algorithm(x.double(), weight.double()) == elsewhere
    with torch.autocast("cpu", torch.bfloat16):
        assert algorithm(x, weight) == elsewhere
    assert algorithm(x.to("meta"), weight.to("meta")) == "direct"


@pytest.mark.parametrize("size, chosen", [(1, "direct"), (2, "dense"), (8, "winograd")])
def test_a_layer_computes_what_a_direct_convolution_does(monkeypatch, size, chosen):
    cpu(monkeypatch, "AVX2")
    used = []
    for name, convolve in list(CONVOLVE.items()):
        def spy(x, w, name=name, convolve=convolve):
            return used.append(name) or convolve(x, w)

        monkeypatch.setitem(CONVOLVE, name, spy)
    layer = Conv3x3(WINOGRAD_FROM["AVX2"], 64)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 64, size, size)
    expected = F.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert used == [chosen] * (chosen != "direct")


def test_dense_images_in_bfloat16():
    """Output and gradients as a direct convolution's, to bfloat16's three digits."""
    layer, x = Conv3x3(24, 40), torch.randn(6, 24, 2, 2, requires_grad=True)
    expected = layer(x)
    wanted = torch.autograd.grad(expected.sin().sum(), (x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    found = torch.autograd.grad(y.float().sin().sum(), (x, layer.weight, layer.bias))
    for ours, theirs in zip((y, *found), (expected, *wanted), strict=True):
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()
