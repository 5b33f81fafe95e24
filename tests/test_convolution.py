"""Every algorithm of a 3×3 convolution against the direct one, and which is chosen when."""

import pytest
import torch
import torch.nn.functional as F
from conftest import needs_compiler
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


@needs_compiler
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


@needs_compiler
@pytest.mark.parametrize("name", CONVOLVE)
def test_an_activation_in_place_may_follow_and_images_need_no_gradient(name):
    x, weight = torch.randn(2, 16, 2, 2), torch.randn(32, 16, 3, 3, requires_grad=True)
    found, expected = (torch.autograd.grad(F.relu_(convolve(x, weight)).sum(), weight)[0]
                       for convolve in (CONVOLVE[name], direct))
    torch.testing.assert_close(found, expected)


@needs_compiler
@pytest.mark.parametrize("dtype, error", [(torch.float32, 2e-6), (torch.bfloat16, 0.017)], ids=str)
def test_how_much_winograd_rounds(dtype, error):
    """As winograd.py says, output and gradients of a layer of many channels."""
    tensors = [torch.randn(shape).to(dtype).requires_grad_()
               for shape in ((64, 256, 8, 8), (128, 256, 3, 3))]
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    y, expected = CONVOLVE["winograd"](*tensors), direct(*exact)
    dy = torch.randn(y.shape).to(dtype)
    found = y, *torch.autograd.grad(y, tensors, dy)
    wanted = expected, *torch.autograd.grad(expected, exact, dy.double())
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() < error * theirs.norm()


@pytest.fixture
def cpu(monkeypatch):
    """Say which units the CPU has, by torch's name and by Linux's flags."""
    def has(units: str, *flags: str) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: units)
        monkeypatch.setattr(convolution, "cpu_flags", lambda: set(flags))

    return has


@needs_compiler
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
    assert algorithm(x.bfloat16(), weight) == "direct"  # torch refuses it
    assert algorithm(x.to("meta"), weight.to("meta")) == "direct"
    assert algorithm(x.bfloat16(), weight.bfloat16()) == chosen
    cpu(units, "amx_bf16")
    assert algorithm(x.bfloat16(), weight.bfloat16()) == elsewhere
    assert algorithm(x, weight) == chosen


@needs_compiler
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

    def derivatives_of(convolve) -> list[torch.Tensor]:
        """Output, gradients, and Hessian-vector products of a loss that is not quadratic."""
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            y = convolve(x)
        first = torch.autograd.grad(y.float().sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        return [y, *first, *second]

    found = derivatives_of(layer)
    assert used == [chosen] * (chosen != "direct") and found[0].dtype == getattr(torch, precision)
    expected = derivatives_of(lambda x: F.conv2d(x, layer.weight, layer.bias, padding=1))
    error = 1e-5 if precision == "float32" else 0.05
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.float() - theirs.float()).norm() < error * theirs.float().norm()


def test_what_torch_refuses_or_takes_otherwise_is_left_to_torch():
    layer = Conv3x3(64, 64)
    for channels in (32, 128):
        with pytest.raises(RuntimeError, match="channels"):
            layer(torch.zeros(1, channels, 8, 8))
    image = torch.randn(64, 8, 8)
    torch.testing.assert_close(layer(image), layer(image[None])[0], rtol=1e-4, atol=1e-5)
    assert algorithm(torch.zeros(1, 64, 8, 8), layer.weight.to("meta")) == "direct"
    traced = torch.jit.trace(layer, image[None])
    assert "PythonOp" not in str(traced.graph) and "_convolution" in str(traced.graph)


@pytest.mark.parametrize("size", [2, 8])
def test_a_compiled_layer_is_torchs_own(size):
    """As one graph, without a break."""
    layer, x = Conv3x3(256, 256), torch.randn(2, 256, size, size)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), F.conv2d(x, layer.weight, layer.bias, padding=1))
