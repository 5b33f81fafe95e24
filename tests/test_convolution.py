import pytest
import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm import convolution
from VGG_BatchNorm.convolution import ALGORITHMS, Conv3x3, choose_algorithms, conv3x3_layers
from VGG_BatchNorm.VGG import VGG


def derivatives(convolve, x, weight, directions) -> list[torch.Tensor]:
    """Output, gradients, and Hessian-vector products of a loss that is not quadratic."""
    y = convolve(x, weight)
    plain = torch.autograd.grad(y.sin().sum(), (x, weight))
    gradients = torch.autograd.grad(convolve(x, weight).sin().sum(), (x, weight), create_graph=True)
    along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    return [y, *plain, *gradients, *torch.autograd.grad(along, (x, weight))]


@pytest.mark.parametrize("algorithm, size", [("dense", 2), ("winograd", 8), ("winograd", 5)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_algorithms_agree_in_output_gradients_and_second_derivatives(algorithm, size, memory_format):
    torch.manual_seed(0)
    x, weight, *directions = (
        torch.randn(shape).mul(0.3).contiguous(memory_format=memory_format).requires_grad_()
        for shape in 2 * [(3, 5, size, size), (7, 5, 3, 3)]
    )
    expected = derivatives(ALGORITHMS["direct"][1], x, weight, directions)
    for ours, theirs in zip(
        derivatives(ALGORITHMS[algorithm][1], x, weight, directions), expected, strict=True
    ):
        assert ours.shape == theirs.shape and (ours - theirs).norm() < 2e-5 * theirs.norm()


def test_dense_images_that_need_no_gradient():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    ALGORITHMS["dense"][1](torch.randn(2, 3, 2, 2), weight).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_layer_takes_its_algorithm_where_it_can_and_the_direct_one_elsewhere(algorithm, monkeypatch):
    used = []
    for name, (applies, convolve) in list(ALGORITHMS.items()):
        spy = lambda x, w, name=name, convolve=convolve: used.append(name) or convolve(x, w)  # noqa: E731
        monkeypatch.setitem(ALGORITHMS, name, (applies, spy))
    layer = Conv3x3(64, 64)
    nn.init.normal_(layer.bias)
    layer.algorithm = algorithm
    for size in (1, 2, 8):
        x = torch.randn(2, 64, size, size)
        expected = F.conv2d(x, layer.weight, layer.bias, padding=1)
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert used == {"direct": [], "winograd": ["winograd"], "dense": ["dense"]}[algorithm]


def test_the_fastest_is_chosen_for_the_shapes_at_hand_and_nothing_else_changes(monkeypatch):
    asked = []
    monkeypatch.setattr(convolution, "fastest", lambda *shape: asked.append(shape) or "dense")
    net = VGG("A", norm="batch", width=1 / 16).train()
    before = [tensor.clone() for tensor in net.state_dict().values()]
    state = torch.get_rng_state()
    choose_algorithms(net, torch.randn(2, 3, 32, 32, generator=torch.Generator()))
    assert asked[:2] == [(2, 3, 32, 32, 4), (2, 4, 16, 16, 8)] and asked[-1] == (2, 32, 2, 2, 32)
    assert {layer.algorithm for layer in conv3x3_layers(net)} == {"dense"} and len(asked) == 8
    assert net.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))


def test_the_fastest_is_the_one_that_took_the_shortest(monkeypatch):
    import time

    def slow(x, weight):
        time.sleep(0.02)
        return F.conv2d(x, weight, padding=1)

    always = lambda x, weight: True  # noqa: E731
    never = lambda x, weight: False  # noqa: E731
    fast = ALGORITHMS["direct"][1]
    for table, expected in (
        ({"direct": (always, slow), "dense": (always, fast)}, "dense"),
        ({"direct": (always, fast), "dense": (always, slow)}, "direct"),
        ({"direct": (always, slow), "dense": (never, fast)}, "direct"),
    ):
        monkeypatch.setattr(convolution, "ALGORITHMS", table)
        convolution.fastest.cache_clear()
        assert convolution.fastest(2, 3, 2, 2, 4) == expected
    convolution.fastest.cache_clear()
