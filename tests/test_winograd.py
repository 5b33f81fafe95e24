"""Winograd's convolution against a direct one, and its tables against the definition."""

import pytest
import torch
import torch.nn.functional as F

from VGG_BatchNorm.ground import winograd


@pytest.mark.parametrize("n, c, k, height, width",
                         [(3, 5, 7, 8, 8), (1, 4, 4, 16, 12), (5, 8, 6, 7, 9), (2, 3, 3, 3, 3)])
def test_equals_a_direct_convolution(n, c, k, height, width, monkeypatch):
    # several chunks, the last one smaller
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 36 * 4 * 2 * 6 * 8)
    torch.manual_seed(0)
    x = torch.randn(n, c, height, width, requires_grad=True)
    weight = torch.randn(k, c, 3, 3, requires_grad=True)
    expected = F.conv2d(x, weight, padding=1)
    dy = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, (x, weight), dy)
    y = winograd.conv3x3(x, weight)
    for ours, theirs in zip((y, *torch.autograd.grad(y, (x, weight), dy)), (expected, *gradients),
                            strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def test_images_that_need_no_gradient():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    winograd.conv3x3(torch.randn(2, 3, 8, 8), weight).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_the_tables_are_exact():
    """Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A is the convolution, to the last digits of float64."""
    torch.manual_seed(0)
    d, g = torch.randn(6, 6, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    bt, at = winograd._BT.double(), winograd._AT.double()
    table = (winograd._G.double() * 24).round() / 24
    y = at @ ((table @ g @ table.T) * (bt @ d @ bt.T)) @ at.T
    torch.testing.assert_close(y, F.conv2d(d[None, None], g[None, None])[0, 0], atol=1e-12, rtol=0)
