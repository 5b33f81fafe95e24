"""Kernels in C against torch's layers, and what happens where they cannot be compiled."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, needs_compiler
from torch import nn

from VGG_BatchNorm.ground import kernels
from VGG_BatchNorm.ground.layers import GELU, MaxPool2x2


def last(x: torch.Tensor) -> torch.Tensor:
    """A leaf that has the same values, channels last."""
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def used(y: torch.Tensor) -> str:
    return type(y.grad_fn).__name__


@needs_compiler
@pytest.mark.parametrize("dtype", kernels.FLAGS, ids=str)
@pytest.mark.parametrize("n, c, height, width", [(3, 16, 4, 6), (2, 48, 2, 2), (1, 32, 10, 8)])
def test_max_pooling_has_torchs_bits(dtype, n, c, height, width):
    """Of few values, so that many are largest at once, and with NaN and infinity among them."""
    values = torch.tensor([-1, 0, 0, 1, 1, torch.nan, torch.inf, -torch.inf], dtype=dtype)
    x = values[torch.randint(len(values), (n, c, height, width))]
    x = last(x)
    ours, theirs = MaxPool2x2()(x), F.max_pool2d(x, 2)
    assert used(ours) == "_KernelBackward"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    dy = torch.randn(ours.shape).to(dtype)
    found, expected = (torch.autograd.grad(y, x, dy)[0] for y in (ours, theirs))
    assert torch.equal(found, expected)


@needs_compiler
def test_gelu_is_exact_to_the_digits_of_bfloat16():
    x = torch.cat([torch.linspace(-20, 20, 16 * 5000), torch.randn(16 * 5000)]).bfloat16()
    x = last(x.view(1, 16, 100, -1))
    y, dy = GELU()(x), torch.randn(x.shape).bfloat16()
    assert used(y) == "_KernelBackward"
    exact = x.detach().double().requires_grad_()
    outputs = F.gelu(exact)
    wanted = torch.autograd.grad(outputs, exact, dy.double())[0]
    for ours, theirs in ((y, outputs), (torch.autograd.grad(y, x, dy)[0], wanted)):
        assert ((ours - theirs).abs() <= 2**-8 * theirs.abs() + 2e-6).all()
    assert GELU()(torch.full((1, 16, 1, 1), torch.nan).bfloat16()).isnan().all()


@needs_compiler
@pytest.mark.parametrize("ours, torchs, dtype", [
    (MaxPool2x2(), nn.MaxPool2d(2), torch.float32), (GELU(), nn.GELU(), torch.bfloat16)], ids=str)
def test_second_derivatives(ours, torchs, dtype):
    x = last(torch.randn(2, 16, 4, 4, dtype=dtype))
    found, expected = (
        torch.autograd.grad(torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)[0]
                            .sin().sum(), x)[0] for layer in (ours, torchs))
    error = 1e-6 if dtype == torch.float32 else 0.03
    assert (found - expected).float().norm() <= error * expected.float().norm()


@needs_compiler
def test_what_the_kernels_do_not_take_is_left_to_torch():
    x = last(torch.randn(2, 16, 4, 4))
    assert used(GELU()(x)) == "GeluBackward0" and used(MaxPool2x2()(x)) == "_KernelBackward"
    assert used(GELU("tanh")(last(x.detach().bfloat16()))) == "GeluBackward0"
    for other in (last(torch.randn(2, 16, 5, 4)), last(torch.randn(2, 8, 4, 4)),
                  last(x.detach().double()), x.detach()[0].requires_grad_(),
                  x.detach().contiguous().requires_grad_()):
        y = MaxPool2x2()(other)
        assert torch.equal(y, F.max_pool2d(other, 2)) and used(y) != "_KernelBackward"
    squares = torch.func.grad(lambda x: MaxPool2x2()(x).square().sum())(x.detach())
    assert torch.equal(squares, torch.autograd.grad(F.max_pool2d(x, 2).square().sum(), x)[0])


def test_an_activation_in_place_may_follow():
    x = last(torch.randn(2, 16, 4, 4))
    gradients = [torch.autograd.grad(F.relu_(pool(x)).sum(), x)[0]
                 for pool in (MaxPool2x2(), nn.MaxPool2d(2))]
    assert torch.equal(*gradients)


def test_tensors_of_another_layout_or_dtype_are_refused():
    x = torch.zeros(2, 4, 4, 16)
    for wrong in (x.transpose(1, 2), x.double()):
        with pytest.raises(ValueError, match="max_pool takes contiguous tensors of one dtype"):
            kernels.call("max_pool", wrong, torch.zeros(2, 2, 2, 16))


LAYERS = """
import torch
from codes.networks import build
net = build("cifarnet", widths=(64, 64))
for enabled in (False, True):
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        y = net(torch.randn(2, 3, 16, 16))
    y.float().sum().backward()
print(torch.isfinite(net.head.weight.grad).all().item())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          timeout=120, cwd=ROOT, env=os.environ | environment)


NO_FOLDER = "import tempfile; tempfile._candidate_tempdir_list = lambda: []"  # that can be written


@pytest.mark.parametrize("before, environment", [
    ("", {"CC": "no-such-compiler"}), ("", {"CC": "false -O0"}), (NO_FOLDER, {})])
def test_without_a_compiler_one_line_says_that_it_is_slower(before, environment):
    done = run(before + LAYERS, **environment)
    assert done.stdout == "True\n"
    assert len(done.stderr.splitlines()) == 1
    assert "kernels.c could not be compiled" in done.stderr and "slower" in done.stderr


@needs_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads as Linux does")
def test_the_kernels_run_on_torchs_threads():
    """One pool of OpenMP threads: as many after the first call as torch alone had started."""
    done = run("""
import os, torch
from VGG_BatchNorm.ground import kernels
torch.mm(*torch.randn(2, 600, 600)), torch.randn(4000, 400).sin()
before = len(os.listdir("/proc/self/task"))
x = torch.randn(30, 8, 8, 16)
kernels.available(x.permute(0, 3, 1, 2))
kernels.call("max_pool", x, torch.empty(30, 4, 4, 16))
print(before > 2, len(os.listdir("/proc/self/task")) - before)
""", OMP_NUM_THREADS="3")
    assert done.stdout == "True 0\n"


def test_the_openmp_library_is_torchs():
    maps = """7f00-7f01 r-xp 00000000 fe:00 11 /env/scikit_learn.libs/libgomp-e9.so.1.0.0
7f02-7f03 r--p 00000000 fe:00 12 /home/a b/torch/lib/libgomp.so.1
7f02-7f03 rw-p 00000000 00:00 0
7f04-7f05 r--p 00000000 fe:00 13 /home/a b/torch/lib/libtorch_cpu.so
"""
    assert kernels.openmp(maps) == "/home/a b/torch/lib/libgomp.so.1"
    assert kernels.openmp("\n".join(maps.splitlines()[:1])).endswith("libgomp-e9.so.1.0.0")
    assert kernels.openmp(maps.splitlines()[3]) is None
