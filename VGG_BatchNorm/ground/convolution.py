"""3×3 convolution by the algorithm that suits its shapes, its precision and the CPU.

    direct    torch's own
    winograd  a quarter of the products, and transforms around them (winograd.py)
    dense     images of 2×2 pixels: every pixel sees every other, so the layer is one matrix
              product, and the 5/9 of the direct products that meet padding are left out

They agree to 2e-6 in float32, output and gradients; in bfloat16 to 1.6 %.
`algorithm` chooses by a rule, never by a stop-watch: on one machine, busy or not, with one C
compiler, the same command gives the same bits. On other devices than a CPU all are direct."""

import torch
from torch import nn

from VGG_BatchNorm.ground import kernels, winograd
from VGG_BatchNorm.ground.machine import cpu_flags

CORNERS = [(row, column) for row in range(2) for column in range(2)]
# Winograd's transforms move C + K values for C·K products, so it pays from so many products a value
# on, and where little of the last tiles lies outside of the image. Measured with two threads on an
# AVX-512 CPU, direct / Winograd in milliseconds, forward and backward, of 128 images:
#                    16×16: 32 to 32    64 to 64    64 to 256    8×8: 256 to 256    4×4: 512 to 512
#     float32                 8 / 6     32 / 17    122 / 55          114 / 55           109 / 62
#     bfloat16              4.5 / 4.9   16 / 9      66 / 31           58 / 26            56 / 29
LEAST_WORK = 20  # C·K / (C + K); from 128 on, more waste pays, too


class Conv3x3(nn.Conv2d):
    """(N, in_channels, H, W) to (N, out_channels, H, W): 3×3 filters, stride 1, zero padding."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x, weight = (t.to(torch.get_autocast_dtype("cpu")) if t.dtype == torch.float32 else t
                         for t in (x, weight))
        chosen = algorithm(x, weight)
        if chosen == "direct":
            return super().forward(x)
        y = CONVOLVE[chosen](x, weight)
        return y if self.bias is None else y + self.bias.to(y.dtype).view(1, -1, 1, 1)


def algorithm(x: torch.Tensor, weight: torch.Tensor) -> str:
    """Return the name of the algorithm for images x (N, C, H, W) and filters (K, C, 3, 3)."""
    if kernels.traced() or {x.device.type, weight.device.type} != {"cpu"}:
        return "direct"
    if x.ndim != 4 or x.shape[1] != weight.shape[1] or x.dtype != weight.dtype:
        return "direct"
    if x.shape[2:] == (2, 2):
        return "dense"
    if not _pays(*weight.shape[:2], *x.shape[2:]) or weight.shape[0] % kernels.LANES:
        return "direct"
    if x.dtype == torch.bfloat16 and "amx_bf16" in cpu_flags():  # so fast; Winograd was not tried
        return "direct"
    suits = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return "winograd" if suits and kernels.available(x) else "direct"


def _pays(k: int, c: int, height: int, width: int) -> bool:
    work = c * k / (c + k)
    tiles = -(-height // 4) * -(-width // 4)
    return work >= LEAST_WORK and 16 * tiles < (1.8 if work >= 128 else 1.5) * height * width


class _Dense(torch.autograd.Function):
    """A matrix with a block for each pair of pixels: the filter's taps from one to the other."""

    @staticmethod
    def forward(ctx, x, weight):
        (n, c, _, _), k = x.shape, len(weight)
        taps = weight.permute(0, 2, 3, 1)  # (K, 3, 3, C)
        blocks = [taps[:, 1 - i:3 - i, 1 - j:3 - j].reshape(k, 4 * c) for i, j in CORNERS]
        matrix = torch.stack(blocks).view(4 * k, 4 * c)
        pixels = x.permute(0, 2, 3, 1).reshape(n, 4 * c)
        ctx.save_for_backward(x, weight, pixels, matrix)
        y = kernels.empty_images(n, k, 2, 2, x.dtype)
        torch.mm(pixels, matrix.T, out=y.permute(0, 2, 3, 1).view(n, 4 * k))
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, pixels, matrix = ctx.saved_tensors
        if torch.is_grad_enabled():
            return winograd.direct_backward(dy, x, weight, ctx.needs_input_grad)
        (n, c, _, _), k = x.shape, len(weight)
        dy = dy.permute(0, 2, 3, 1).reshape(n, 4 * k)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ matrix).view(n, 2, 2, c).permute(0, 3, 1, 2)
        blocks = (dy.T @ pixels).view(4, k, 2, 2, c).float()
        d_taps = blocks.new_zeros(k, 3, 3, c)
        for block, (i, j) in zip(blocks, CORNERS, strict=True):
            d_taps[:, 1 - i:3 - i, 1 - j:3 - j] += block
        d_weight = d_taps.permute(0, 3, 1, 2)
        return dx, torch.empty_like(weight).copy_(d_weight)  # laid out as the weight is


CONVOLVE = {"winograd": winograd.Winograd.apply, "dense": _Dense.apply}
