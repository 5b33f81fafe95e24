"""Every algorithm of a 3×3 convolution against the direct one, and which is chosen when."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm.ground import convolution, winograd
from VGG_BatchNorm.ground.convolution import CONVOLVE, Conv3x3, algorithm


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
    ("dense", 3, 5, 7, 2, 2), ("winograd", 3, 16, 32, 8, 8), ("winograd", 1, 32, 16, 16, 12),
    ("winograd", 5, 16, 48, 7, 9), ("winograd", 2, 32, 32, 3, 3), ("winograd", 3, 16, 16, 5, 1)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype, error", [(torch.float32, 3e-6), (torch.bfloat16, 0.04)], ids=str)
def test_algorithms_agree_in_output_gradients_and_second_derivatives(
        name, n, c, k, height, width, memory_format, dtype, error, monkeypatch):
    # several chunks, the last one smaller
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 36 * 4 * 2 * 32 * 8)
    tensors = [torch.randn(shape).mul(0.3).to(dtype).contiguous(memory_format=memory_format)
               .requires_grad_() for shape in 2 * [(n, c, height, width), (k, c, 3, 3)]]
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    expected = derivatives(direct, *exact[:2], exact[2:])
    for ours, theirs in zip(derivatives(CONVOLVE[name], *tensors[:2], tensors[2:]), expected,
                            strict=True):
        assert ours.shape == theirs.shape and ours.dtype == dtype
        assert (ours - theirs).norm() < error * theirs.norm()


@pytest.mark.parametrize("name", CONVOLVE)
def test_images_that_need_no_gradient(name):
    weight = torch.randn(32, 16, 3, 3, requires_grad=True)
    CONVOLVE[name](torch.randn(2, 16, 2, 2), weight).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", CONVOLVE)
def test_an_activation_in_place_may_follow(name):
    x, weight = torch.randn(2, 16, 2, 2), torch.randn(32, 16, 3, 3, requires_grad=True)
    found, expected = (torch.autograd.grad(F.relu_(convolve(x, weight)).sum(), weight)[0]
                       for convolve in (CONVOLVE[name], direct))
    torch.testing.assert_close(found, expected)


def test_winograd_rounds_little_more_than_a_direct_convolution_in_float32():
    x, weight = torch.randn(8, 256, 8, 8), torch.randn(64, 256, 3, 3)
    exact = direct(x.double(), weight.double())
    ours, theirs = ((y - exact).norm() / exact.norm()
                    for y in (CONVOLVE["winograd"](x, weight), direct(x, weight)))
    assert ours < 1.5e-6 and ours < 10 * theirs


@pytest.fixture
def cpu(monkeypatch):
    """Say which units the CPU has, by torch's name and by Linux's flags."""
    def has(units: str, *flags: str) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: units)
        monkeypatch.setattr(convolution, "cpu_flags", lambda: set(flags))

    return has


@pytest.mark.parametrize("units, c, k, size, chosen", [
    ("AVX2", 64, 64, 8, "winograd"), ("AVX512", 64, 64, 8, "winograd"),
    ("AVX512", 64, 64, 6, "direct"), ("AVX512", 256, 256, 6, "winograd"),
    ("AVX512", 256, 256, 5, "direct"), ("AVX512", 32, 32, 16, "direct"),
    ("AVX512", 64, 72, 8, "direct"), ("AVX512", 72, 64, 8, "direct"),
    ("AVX512", 256, 256, 2, "dense"), ("AVX512", 256, 256, 1, "direct"),
    ("DEFAULT", 256, 256, 8, "direct")])
def test_the_algorithm_follows_from_cpu_and_shapes(cpu, units, c, k, size, chosen):
    cpu(units)
    x, weight = torch.zeros(1, c, size, size), torch.zeros(k, c, 3, 3)
    elsewhere = "dense" if size == 2 else "direct"
    assert algorithm(x, weight) == chosen
    assert algorithm(x.double(), weight.double()) == elsewhere
    assert algorithm(x.bfloat16(), weight) == elsewhere  # torch refuses it, outside of autocast
    assert algorithm(x.to("meta"), weight.to("meta")) == "direct"
    with torch.autocast("cpu", torch.bfloat16):
        assert algorithm(x, weight) == algorithm(x.bfloat16(), weight) == chosen
        cpu(units, "amx_bf16")
        assert algorithm(x, weight) == elsewhere
    assert algorithm(x, weight) == chosen


@pytest.mark.parametrize("size, chosen", [(1, "direct"), (2, "dense"), (8, "winograd")])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_layer_computes_what_a_direct_convolution_does(cpu, monkeypatch, size, chosen, precision):
    """Output and gradients; in bfloat16 to its three digits."""
    cpu("AVX2")
    used = []
    for name, convolve in list(CONVOLVE.items()):
        def spy(x, w, name=name, convolve=convolve):
            return used.append(name) or convolve(x, w)

        monkeypatch.setitem(CONVOLVE, name, spy)
    layer, x = Conv3x3(64, 80), torch.randn(2, 64, size, size, requires_grad=True)
    nn.init.normal_(layer.bias)
    inputs = x, layer.weight, layer.bias
    expected = F.conv2d(*inputs, padding=1)
    wanted = torch.autograd.grad(expected.sin().sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        y = layer(x)
    assert used == [chosen] * (chosen != "direct") and y.dtype == getattr(torch, precision)
    found = torch.autograd.grad(y.float().sin().sum(), inputs)
    error = 1e-5 if precision == "float32" else 0.04
    for ours, theirs in zip((y, *found), (expected, *wanted), strict=True):
        assert (ours.float() - theirs).norm() < error * theirs.norm()


def test_a_compiled_net_is_torchs_own(cpu):
    cpu("AVX2")
    x, weight = torch.zeros(1, 64, 8, 8), torch.zeros(64, 64, 3, 3)
    chosen = []

    @torch.compile(backend="eager")
    def layer(x):
        chosen.append(algorithm(x, weight))
        return x + 1

    layer(x)
    assert chosen == ["direct"] and algorithm(x, weight) == "winograd"
