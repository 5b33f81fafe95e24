"""3×3 convolution by Winograd's minimal filtering F(4×4, 3×3), for training on a CPU.

A 4×4 tile of the output takes 36 products a channel pair in place of 144 (Lavin & Gray 2016,
arXiv 1509.09308, section 4.3):

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A,    d: 6×6 input tile, g: 3×3 filter, Y: 4×4 output tile.

With the ⊙ summed over channels these are 36 matrix products of (tiles × C) by (C × K); the
transforms around them are functions of kernels.c. The backward pass is the exact adjoint, step by
step. Images go through in chunks whose intermediate results fit the cache.

A, B and G follow from six points at which polynomials are evaluated. Those here are 0, ±√½, ±√2
and ∞, not the usual 0, ±1, ±2 and ∞: values of more even size lose half as much to rounding. The
relative error is 1e-6 in float32, 2e-6 that of a filter's gradient; in bfloat16 it is 1.6 %, where
that of a direct convolution, whose output alone is rounded, is 0.2 %.

convolution.py says where it is used."""

from collections.abc import Iterator

import torch

from VGG_BatchNorm.ground.kernels import call, empty_images, pixels

CHUNK_BYTES = 6 << 20  # of transformed tiles at a time: the caches of two cores, measured


class Winograd(torch.autograd.Function):
    """`F.conv2d(x, weight, padding=1)` for x (N, C, H, W) and weight (K, C, 3, 3), channels last.

    C and K are multiples of `kernels.LANES`. Second derivatives are those of the direct
    convolution."""

    @staticmethod
    def forward(ctx, x, weight):
        u = x.new_empty(36, *weight.shape[:2])
        call("transform_filter", pixels(weight), u)
        images = pixels(x)
        y = empty_images(len(x), len(weight), *x.shape[2:], x.dtype)
        for part, tiles, products in _chunks(images, u):
            call("transform_input", images[part], tiles)
            torch.bmm(tiles, u.transpose(1, 2), out=products)
            call("transform_output", pixels(y[part]), products)
        ctx.save_for_backward(x, weight, u)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, u = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return direct_backward(dy, x, weight, ctx.needs_input_grad)
        x, dy = pixels(x), pixels(dy)
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_filters = d_weight = None
        if ctx.needs_input_grad[1]:
            shape = len(weight), 3, 3, weight.shape[1]
            d_filters = torch.zeros(shape, dtype=torch.float32, device="cpu")
        for part, tiles, products in _chunks(x, u):
            call("transform_output_adjoint", dy[part], products)
            if d_filters is not None:
                call("transform_input", x[part], tiles)
                du = torch.bmm(products.transpose(1, 2), tiles)
                call("transform_filter_adjoint", d_filters, du)
            if dx is not None:
                torch.bmm(products, u, out=tiles)
                call("transform_input_adjoint", dx[part], tiles)
        if d_filters is not None:  # laid out as the weight is
            d_weight = torch.empty_like(weight).copy_(d_filters.permute(0, 3, 1, 2))
        return None if dx is None else dx.permute(0, 3, 1, 2), d_weight


def direct_backward(dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor,
                    needed: tuple[bool, bool]) -> tuple:
    """Return gradients of `F.conv2d(x, weight, padding=1)` by both, differentiable again."""
    one, zero = (1, 1), (0, 0)
    return torch.ops.aten.convolution_backward(dy, x, weight, None, one, one, one, False, zero, 1,
                                               (*needed, False))[:2]


def _chunks(x: torch.Tensor, u: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield slices of images x (N, H, W, C), with room for their tiles (36, tiles, C) and for the
    products (36, tiles, K) with transformed filters u (36, K, C)."""
    (n, height, width, _), (_, k, c) = x.shape, u.shape
    tiles = -(-height // 4) * -(-width // 4)  # an image
    size = max(1, min(n, CHUNK_BYTES // (36 * tiles * max(c, k) * x.element_size())))
    for start in range(0, n, size):
        shape = 36, min(size, n - start) * tiles
        yield slice(start, start + size), x.new_empty(*shape, c), x.new_empty(*shape, k)
