"""Batch normalisation from its equation, forward and backward, and the variants that question it.

For each channel, over the batch and both spatial axes (m = N·H·W values; Ioffe & Szegedy 2015,
arXiv 1502.03167, algorithm 1):

    ŷ = (y − μ) / √(σ² + ε),    μ = mean(y),  σ² = mean((y − μ)²),    out = γ ŷ + β

and with g = ∂L/∂out, means and sums over the same values:

    ∂L/∂y = γ/√(σ² + ε) · (g − mean(g) − ŷ · mean(g ŷ)),    ∂L/∂γ = Σ g ŷ,    ∂L/∂β = Σ g

In evaluation, running averages stand in for μ and σ². The variants are those of Santurkar et al.
2018 (arXiv 1805.11604): noise added after batch norm (appendix A, algorithm 1), and other
norms in place of the standard deviation (section 3.3)."""

import torch
from torch import nn


class _BatchNorm(torch.autograd.Function):
    """γ ŷ + β with batch statistics; the backward pass is written out, and differentiable again."""

    @staticmethod
    def forward(ctx, y, gamma, beta, eps):
        centre, scale = _statistics(y, eps)
        ctx.save_for_backward(y, gamma, centre, scale)
        ctx.eps = eps
        return (y - centre) * (scale * _by_channel(gamma)) + _by_channel(beta)

    @staticmethod
    def backward(ctx, g):
        y, gamma, centre, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: it flows through μ and σ too
            centre, scale = _statistics(y, ctx.eps)
        normalized = (y - centre) * scale
        d_beta = g.sum((0, 2, 3))
        d_gamma = (g * normalized).sum((0, 2, 3))
        m = y.numel() / y.shape[1]
        removed = _by_channel(d_beta) + normalized * _by_channel(d_gamma)
        d_y = (g - removed / m) * (scale * _by_channel(gamma))
        return d_y, d_gamma, d_beta, None


@torch.enable_grad()
def theorem_4_1(y: torch.Tensor, g: torch.Tensor, layer: nn.BatchNorm2d) -> dict[str, torch.Tensor]:
    """Return both sides of theorem 4.1 of Santurkar et al. 2018, for each channel of a layer.

        ‖∂L/∂y‖² = γ²/(σ² + ε) (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m),    m = N·H·W

    `y`, `g`: (N, C, H, W), what the layer is given in training, and the loss's gradient by what it
    returns.

    Returns:
        measured: the left side, by the backward pass of `BatchNorm2d`; equality: the right side;
        printed: with ⟨g, ŷ⟩²/√m, as the paper has it. Each (C,), float64."""
    y, g = y.detach().double().requires_grad_(), g.double()
    gamma, beta = (p.detach().double() for p in (layer.weight, layer.bias))
    (back,) = torch.autograd.grad(_BatchNorm.apply(y, gamma, beta, layer.eps), y, g)
    y, m = y.detach(), y.numel() / y.shape[1]
    centre, scale = _statistics(y, layer.eps)

    def total(values: torch.Tensor) -> torch.Tensor:
        return values.sum((0, 2, 3))

    factor = gamma.square() * scale.flatten().square()
    along = total(g * (y - centre) * scale).square()
    without = total(g.square()) - total(g).square() / m
    return {"measured": total(back.square()), "equality": factor * (without - along / m),
            "printed": factor * (without - along / m**0.5)}


def _statistics(y: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return μ and 1/√(σ² + ε) of y (N, C, H, W), both (1, C, 1, 1)."""
    centre = y.mean((0, 2, 3), keepdim=True)
    variance = (y - centre).square().mean((0, 2, 3), keepdim=True)
    return centre, (variance + eps).rsqrt()


def _by_channel(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)


def _wide(y: torch.Tensor) -> torch.Tensor:
    """Return y in float32 where it has fewer digits: statistics need them."""
    return y.float() if y.dtype in (torch.bfloat16, torch.float16) else y


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` for images (N, C, H, W), computed by this file's equation.

    Arguments, parameters (weight γ, bias β), buffers and `state_dict` are those of the parent.
    Raises ValueError: not 4 axes, or one value a channel in training."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(y)
        dtype, y = y.dtype, _wide(y)
        gamma = self.weight if self.affine else y.new_ones(self.num_features)
        beta = self.bias if self.affine else y.new_zeros(self.num_features)
        if not self.training and self.track_running_stats:
            scale = (self.running_var + self.eps).rsqrt() * gamma
            y = (y - _by_channel(self.running_mean)) * _by_channel(scale) + _by_channel(beta)
            return y.to(dtype)
        m = y.numel() // y.shape[1]
        if self.training and m == 1:
            shape = tuple(y.shape)
            raise ValueError(f"batch norm trains on more than one value a channel, not {shape}")
        if self.training and self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked += 1
                # in the statistics' own precision, which lerp_ of older torch insists on
                seen = self.num_batches_tracked.to(self.running_mean.dtype)
                share = 1 / seen if self.momentum is None else self.momentum
                variance, mean = torch.var_mean(y, (0, 2, 3))  # unbiased, as torch keeps it
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance, share)
        return _BatchNorm.apply(y, gamma, beta, self.eps).to(dtype)


def jitter(y: torch.Tensor, seed: int, by: str) -> torch.Tensor:
    """Return y (N, C, H, W), every unit shifted and scaled anew (appendix A, algorithm 1).

    For each unit μ ~ U(−0.5, 0.5) and σ ~ U(1, 1.25); for each image and unit
    m ~ U(μ − 0.1, μ + 0.1) and s ~ N(σ, 0.1); the result is s · y + m. The paper does not say what
    a unit of a convolution is.

    Args:
        seed: of all draws.
        by: "channel": a unit is a channel, so that all pixels of one move together; "pixel": each
            (c, h, w) is a unit, so that a channel's mean hardly moves."""
    generator = torch.Generator(y.device)
    generator.manual_seed(seed)
    like = {"generator": generator, "device": y.device, "dtype": y.dtype}
    units = y.shape[1:] if by == "pixel" else (y.shape[1], 1, 1)

    def uniform(low: float, high: float, shape) -> torch.Tensor:
        return torch.rand(shape, **like) * (high - low) + low

    shift = uniform(-0.5, 0.5, units) + uniform(-0.1, 0.1, (len(y), *units))
    normal = torch.randn((len(y), *units), **like)
    return y * (uniform(1.0, 1.25, units) + 0.1 * normal) + shift


class NoisyBatchNorm2d(nn.BatchNorm2d):
    """Batch norm, then `jitter` in training. The noise is a function of `seed` and of the count of
    batches seen, so that repeating a step repeats it."""

    def __init__(self, num_features: int, seed: int = 0, by: str = "pixel", **options):
        super().__init__(num_features, **options)
        self.seed, self.by = seed, by

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        dtype, y = y.dtype, super().forward(_wide(y))
        if self.training:
            y = jitter(y, self.seed * 1_000_003 + int(self.num_batches_tracked), self.by)
        return y.to(dtype)


class Noise2d(nn.Module):
    """`jitter` by channel in training with no norm before it: the control of `NoisyBatchNorm2d`."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return y
        with torch.no_grad():
            self.num_batches_tracked += 1
        noisy = jitter(_wide(y), self.seed * 1_000_003 + int(self.num_batches_tracked), "channel")
        return noisy.to(y.dtype)


class LpNorm2d(nn.Module):
    """Subtract the channel's mean, divide by the Lp average of its uncentred activations.

        out = γ (y − mean(y)) / (mean|y|^p)^(1/p) + β,    p = ∞: the largest |y|

    The paper (section 3.3) leaves open whether y is centred inside the norm; this is our reading.
    Running averages of both, in evaluation. `p`: 1, 2 or `math.inf`."""

    def __init__(self, num_features: int, p: float, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.p, self.eps, self.momentum = p, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_scale", torch.ones(num_features))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        dtype, y = y.dtype, _wide(y)
        mean, scale = self.running_mean, self.running_scale
        if self.training:
            mean, scale = y.mean((0, 2, 3)), self._average(y)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_scale.lerp_(scale, self.momentum)
        factor = self.weight / (scale + self.eps)
        return ((y - _by_channel(mean)) * _by_channel(factor) + _by_channel(self.bias)).to(dtype)

    def _average(self, y: torch.Tensor) -> torch.Tensor:
        if self.p == float("inf"):
            return y.abs().amax((0, 2, 3))
        if self.p == 1:
            return y.abs().mean((0, 2, 3))
        mean = y.abs().pow(self.p).mean((0, 2, 3))
        return (mean + self.eps**self.p).pow(1 / self.p)  # the slope at 0 is finite


def with_running_statistics(net: nn.Module) -> list[nn.Module]:
    """Return the layers that keep running statistics, as batch norm does."""
    return [layer for layer in net.modules() if getattr(layer, "running_mean", None) is not None]
