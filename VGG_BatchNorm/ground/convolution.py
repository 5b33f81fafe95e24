"""3×3 convolution by the algorithm that suits its shapes, its precision and the CPU.

    direct    torch's own
    winograd  a quarter of the products, and transforms around them (winograd.py)
    dense     images of 2×2 pixels: every pixel sees every other, so the layer is one matrix
              product, and the 5/9 of the direct products that meet padding are left out

They agree to a few 1e-6 in float32, gradients and second derivatives too. `algorithm` chooses by a
rule, never by a stop-watch: the same command gives the same bits on one machine, busy or not. On
other devices than a CPU, and in bfloat16 (but for 2×2 images), all are direct.
"""

import torch
from torch import nn

from VGG_BatchNorm.ground import winograd

CORNERS = [(row, column) for row in range(2) for column in range(2)]
# Winograd's transforms wait for memory, so it pays from the more channels on, the faster the CPU
# multiplies. Measured with two threads, forward and backward (milliseconds, direct / Winograd), for
# 128 images: 64 to 128 channels of 16×16 pixels: AVX2 75 / 60, AVX-512 66 / 90; 256 to 256 of 8×8:
# 131 / 98, 121 / 97; 512 to 512 of 4×4: 158 / 90, 128 / 89.
WINOGRAD_FROM = {"AVX2": 64, "AVX512": 256}  # channels in and out, by torch's name of the units


class Conv3x3(nn.Conv2d):
    """(N, in_channels, H, W) to (N, out_channels, H, W): 3×3 filters, stride 1, zero padding."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = algorithm(x, self.weight)
        if chosen == "direct":
            return super().forward(x)
        y = CONVOLVE[chosen](x, self.weight)
        return y if self.bias is None else y + self.bias.to(y.dtype).view(1, -1, 1, 1)


def algorithm(x: torch.Tensor, weight: torch.Tensor) -> str:
    """Return the name of the algorithm for images x (N, C, H, W) and filters (K, C, 3, 3)."""
    if x.device.type != "cpu":
        return "direct"
    if x.shape[2:] == (2, 2):
        return "dense"
    least = WINOGRAD_FROM.get(torch.backends.cpu.get_cpu_capability())
    plain = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    suits = least and plain and min(weight.shape[:2]) >= least and min(x.shape[2:]) >= 3
    return "winograd" if suits else "direct"


class _Dense(torch.autograd.Function):
    """A matrix with a block for each pair of pixels: the filter's taps from one to the other."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # where autocast is on
    def forward(ctx, x, weight):
        (n, c, _, _), k = x.shape, len(weight)
        taps = weight.permute(0, 2, 3, 1)  # (K, 3, 3, C)
        blocks = [taps[:, 1 - i:3 - i, 1 - j:3 - j].reshape(k, 4 * c) for i, j in CORNERS]
        matrix = torch.stack(blocks).view(4 * k, 4 * c)
        pixels = x.permute(0, 2, 3, 1).reshape(n, 4 * c)
        ctx.save_for_backward(x, weight, pixels, matrix)
        return (pixels @ matrix.T).view(n, 2, 2, k).permute(0, 3, 1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
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
