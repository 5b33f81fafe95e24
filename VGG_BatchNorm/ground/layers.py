"""Max pooling and GELU as torch has them, faster in training on a CPU, by functions of kernels.c.

Pooling gives the same bits; GELU, in bfloat16 alone, is the exact one, but for the last digit.
What the kernels do not take goes to torch."""

import torch
from torch import nn

from VGG_BatchNorm.ground.kernels import available, call, empty_images, pixels


class MaxPool2x2(nn.MaxPool2d):
    """(N, C, H, W) to (N, C, H/2, W/2), rounded down: the largest of every 2×2 pixels."""

    def __init__(self):
        super().__init__(kernel_size=2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _suits(x) and not any(side % 2 for side in x.shape[2:]):
            return _Kernel.apply(x, "max_pool", super().forward, 2)
        return super().forward(x)


class GELU(nn.GELU):
    """x·Φ(x), Φ(x) the share of a normal distribution below x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _suits(x) and x.dtype == torch.bfloat16 and self.approximate == "none":
            return _Kernel.apply(x, "gelu", super().forward, 1)
        return super().forward(x)


class _Kernel(torch.autograd.Function):
    """The layer `name` of kernels.c; `plain` is torch's own, for second derivatives.

    Its output has 1/`side` of the height and of the width of x (N, C, H, W)."""

    @staticmethod
    def forward(ctx, x, name, plain, side):
        n, c, height, width = x.shape
        y = empty_images(n, c, height // side, width // side, x.dtype)
        call(name, pixels(x), pixels(y))
        ctx.save_for_backward(x)
        ctx.kernel, ctx.plain = name, plain
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *torch.autograd.grad(ctx.plain(x), x, dy, create_graph=True), None, None, None
        dx = empty_images(*x.shape, x.dtype)
        call(f"{ctx.kernel}_adjoint", pixels(x), pixels(dx), pixels(dy))
        return dx, None, None, None


def _suits(x: torch.Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and available(x)
