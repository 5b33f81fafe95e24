"""3×3 convolution by whichever algorithm is the fastest for its shapes on the CPU at hand.

    direct    torch's own
    winograd  a quarter of the products, and transforms around them (winograd.py)
    dense     images of 2×2 pixels: every pixel sees every other, so the layer is one matrix
              product, and the 5/9 of the direct products that meet padding are left out

They agree to a few 1e-6, gradients and second derivatives too. On other devices all are direct.
"""

import functools
import time

import torch
import torch.nn.functional as F
from torch import nn

from VGG_BatchNorm import winograd

CORNERS = [(row, column) for row in range(2) for column in range(2)]


class Conv3x3(nn.Conv2d):
    """(N, in_channels, H, W) to (N, out_channels, H, W): 3×3 filters, stride 1, zero padding.

    `algorithm`, a name in `ALGORITHMS`, is used wherever it can be; elsewhere the direct one is.
    """

    algorithm = "direct"

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        applies, convolve = ALGORITHMS[self.algorithm]
        if self.algorithm == "direct" or not applies(x, self.weight):
            return super().forward(x)
        y = convolve(x, self.weight)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


class _Dense(torch.autograd.Function):
    """The matrix has a block for each pair of pixels: the filter's taps that lead from one to the other."""

    @staticmethod
    def forward(ctx, x, weight):
        (n, c, _, _), k = x.shape, len(weight)
        taps = weight.permute(0, 2, 3, 1)  # (K, 3, 3, C)
        matrix = torch.stack([taps[:, 1 - i:3 - i, 1 - j:3 - j].reshape(k, 4 * c) for i, j in CORNERS])
        matrix = matrix.view(4 * k, 4 * c)
        pixels = x.permute(0, 2, 3, 1).reshape(n, 4 * c)
        ctx.save_for_backward(x, weight, pixels, matrix)
        return (pixels @ matrix.T).view(n, 2, 2, k).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, dy):
        x, weight, pixels, matrix = ctx.saved_tensors
        if torch.is_grad_enabled():
            return winograd.direct_backward(dy, x, weight, ctx.needs_input_grad)
        (n, c, _, _), k = x.shape, len(weight)
        dy = dy.permute(0, 2, 3, 1).reshape(n, 4 * k)
        dx = (dy @ matrix).view(n, 2, 2, c).permute(0, 3, 1, 2) if ctx.needs_input_grad[0] else None
        blocks = (dy.T @ pixels).view(4, k, 2, 2, c)
        d_taps = blocks.new_zeros(k, 3, 3, c)
        for block, (i, j) in zip(blocks, CORNERS, strict=True):
            d_taps[:, 1 - i:3 - i, 1 - j:3 - j] += block
        return dx, d_taps.permute(0, 3, 1, 2)


def _dense_applies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.shape[2:] == (2, 2)


ALGORITHMS = {  # name: (whether it can be used for x and weight, the convolution)
    "direct": (lambda x, weight: True, functools.partial(F.conv2d, padding=1)),
    "winograd": (winograd.applies, winograd.conv3x3),
    "dense": (_dense_applies, _Dense.apply),
}


def conv3x3_layers(net: nn.Module) -> list[Conv3x3]:
    return [layer for layer in net.modules() if isinstance(layer, Conv3x3)]


def choose_algorithms(net: nn.Module, x: torch.Tensor) -> None:
    """Give each `Conv3x3` of `net` the fastest algorithm for batches shaped like x (N, C, H, W)."""

    def choose(layer, args, _):
        layer.algorithm = fastest(*args[0].shape, layer.out_channels)

    if x.device.type != "cpu":
        return
    hooks = [layer.register_forward_hook(choose) for layer in conv3x3_layers(net)]
    training = net.training
    with torch.no_grad():
        net.eval()(x)
    net.train(training)
    for hook in hooks:
        hook.remove()


@functools.cache
def fastest(n: int, c: int, height: int, width: int, k: int) -> str:
    """Algorithm with the shortest forward and backward pass of (n, c, height, width) to k channels here."""
    shapes = (n, c, height, width), (k, c, 3, 3), (n, k, height, width)
    x, weight, dy = (torch.ones(shape).contiguous(memory_format=torch.channels_last) for shape in shapes)
    inputs = x.requires_grad_(), weight.requires_grad_()

    @torch.enable_grad()
    def seconds(convolve) -> float:
        start = time.perf_counter()
        torch.autograd.grad(convolve(*inputs), inputs, dy)
        return time.perf_counter() - start

    usable = {name: convolve for name, (applies, convolve) in ALGORITHMS.items() if applies(*inputs)}
    best = {name: min([seconds(convolve) for _ in range(4)][1:]) for name, convolve in usable.items()}
    return min(best, key=best.get) if len(usable) > 1 else "direct"
