"""3×3 convolution by Winograd's minimal filtering F(4×4, 3×3), for training on a CPU.

A 4×4 tile of the output takes 36 products a channel pair in place of 144 (Lavin & Gray 2016,
arXiv 1509.09308, section 4.3):

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A,    d: 6×6 input tile, g: 3×3 filter, Y: 4×4 output tile.

Written with matrix products only: the two-sided transforms are Kronecker products on the
flattened tiles, the ⊙ summed over channels is 36 products of (tiles × C) by (C × K). The
backward pass is the exact adjoint, step by step. Images go through in chunks whose
intermediate results fit the cache. Relative error against a direct convolution: about 4e-6.

convolution.py says where it is used.
"""

import torch

_BT = torch.tensor([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1.0]])
_G = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24.0]]) / 24
_AT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0],
                    [0, 1, -1, 8, -8, 1.0]])
INPUT = torch.kron(_BT, _BT)  # (36, 36): 6×6 tile of pixels to the transformed tile
FILTER = torch.kron(_G, _G)  # (36, 9)
OUTPUT = torch.kron(_AT, _AT)  # (16, 36)
CHUNK_BYTES = 6 << 20  # of transformed tiles at a time: the caches of two cores, measured


class Winograd(torch.autograd.Function):
    """`F.conv2d(x, weight, padding=1)` for x (N, C, H, W) and weight (K, C, 3, 3), channels last.

    Second derivatives are those of the direct convolution.
    """

    @staticmethod
    def forward(ctx, x, weight):
        (n, c, height, width), k = x.shape, len(weight)
        h, w = -(-height // 4), -(-width // 4)  # tiles
        u = (FILTER @ weight.permute(2, 3, 1, 0).reshape(9, c * k)).view(36, c, k)
        y = torch.empty(n, h, 4, w, 4, k)
        for part in _chunks(n, h * w * max(c, k)):
            m = torch.bmm(_transformed_tiles(x[part], h, w), u)  # (36, tiles, K)
            y[part] = (OUTPUT @ m.view(36, -1)).view(4, 4, -1, h, w, k).permute(2, 3, 0, 4, 1, 5)
        ctx.save_for_backward(x, weight, u)
        return y.view(n, 4 * h, 4 * w, k)[:, :height, :width].permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, dy):
        x, weight, u = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return direct_backward(dy, x, weight, ctx.needs_input_grad)
        (n, c, height, width), k = x.shape, u.shape[2]
        h, w = -(-height // 4), -(-width // 4)
        dy = dy.permute(0, 2, 3, 1)
        if (height % 4, width % 4) != (0, 0):
            dy = torch.nn.functional.pad(dy, (0, 0, 0, 4 * w - width, 0, 4 * h - height))
        dy = dy.reshape(n, h, 4, w, 4, k)
        du, dx = torch.zeros_like(u), None
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(x, memory_format=torch.channels_last)
        for part in _chunks(n, h * w * max(c, k)):
            dm = (OUTPUT.T @ dy[part].permute(2, 4, 0, 1, 3, 5).reshape(16, -1)).view(36, -1, k)
            du.baddbmm_(_transformed_tiles(x[part], h, w).transpose(1, 2), dm)
            if dx is not None:
                d = INPUT.T @ torch.bmm(dm, u.transpose(1, 2)).view(36, -1)
                dx[part] = _overlap_add(d.view(6, 6, -1, h, w, c))[:, :, 1:height + 1, 1:width + 1]
        d_weight = (FILTER.T @ du.view(36, -1)).view(3, 3, c, k).permute(3, 2, 0, 1)
        return dx, torch.empty_like(weight).copy_(d_weight)  # laid out as the weight is


def direct_backward(dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor,
                    needed: tuple[bool, bool]) -> tuple:
    """Return gradients of `F.conv2d(x, weight, padding=1)` by both, differentiable again."""
    one, zero = (1, 1), (0, 0)
    return torch.ops.aten.convolution_backward(dy, x, weight, None, one, one, one, False, zero, 1,
                                               (*needed, False))[:2]


def _chunks(n: int, floats_an_image: int) -> list[slice]:
    size = max(1, CHUNK_BYTES // (36 * 4 * floats_an_image))
    return [slice(i, i + size) for i in range(0, n, size)]


def _transformed_tiles(x: torch.Tensor, h: int, w: int) -> torch.Tensor:
    """(n, C, H, W) to (36, n·h·w, C): every overlapping 6×6 tile, transformed."""
    n, c, height, width = x.shape
    padded = x.new_zeros(n, 4 * h + 2, 4 * w + 2, c)
    padded[:, 1:height + 1, 1:width + 1] = x.permute(0, 2, 3, 1)
    image, row, column, channel = padded.stride()
    strides = row, column, image, 4 * row, 4 * column, channel
    tiles = padded.as_strided((6, 6, n, h, w, c), strides)
    return (INPUT @ tiles.reshape(36, -1)).view(36, -1, c)


def _overlap_add(tiles: torch.Tensor) -> torch.Tensor:
    """(6, 6, n, h, w, C) to (n, C, 4h+4, 4w+4): the adjoint of cutting tiles out."""
    _, _, n, h, w, c = tiles.shape
    d = tiles.permute(2, 3, 0, 4, 1, 5)  # (n, h, 6, w, 6, C)
    out = tiles.new_zeros(n, h + 1, 4, w + 1, 4, c)
    out[:, :h, :, :w] = d[:, :, :4, :, :4]
    out[:, 1:, :2, :w] += d[:, :, 4:, :, :4]
    out[:, :h, :, 1:, :2] += d[:, :, :4, :, 4:]
    out[:, 1:, :2, 1:, :2] += d[:, :, 4:, :, 4:]
    return out.view(n, 4 * h + 4, 4 * w + 4, c).permute(0, 3, 1, 2)
