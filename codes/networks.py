"""CifarNet: one net whose width, depth, activation, norm, dropout and residuals are arguments.

    from codes.networks import build
    net = build("cifarnet", widths=(64, 256, 256), activation="gelu", residual=True)

The default is a VGG-like net after airbench94 (Jordan 2024, arXiv 2404.00498): a fixed whitening
convolution, three groups of convolutions with 2×2 pooling between, global max pooling and one
fully-connected layer.

The arguments of a network's constructor are the flags that `codes/train.py --network NAME` takes,
with the same defaults; a run records them, and its checkpoint is restored with them. To add a
network, write a class and enter it in NETWORKS. It may have two more methods:

    prepare(images)    before the run: set what follows from normalised images (N, 3, 32, 32)
    freeze(progress)   before each epoch: fix what is trained no more; progress: steps done, 0 … 1
"""

import inspect
import re
import sys
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.convolution import Conv3x3
from VGG_BatchNorm.ground.layers import GELU, MaxPool2x2
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.VGG import VGG, VGG_A, VGG_A_Dropout, VGG_A_Light, VGG_BatchNorm

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": GELU,
               "silu": nn.SiLU, "mish": nn.Mish, "hardswish": nn.Hardswish, "tanh": nn.Tanh,
               "none": nn.Identity}
POOLS = {"max": MaxPool2x2, "average": partial(nn.AvgPool2d, 2)}


class DiracConv3x3(Conv3x3):
    """3×3 convolution whose first output channels start as the identity.

    The identity ("Dirac") start passes the input on through a fresh net."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.dirac_(self.weight.data[: self.in_channels])


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the shift alone trained; its statistics span all processes."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        alone = not dist.is_initialized() or dist.get_world_size() == 1
        if not self.training or alone or x.is_meta:  # FLOPs are counted on meta tensors
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce  # differentiable

        n, dtype, x = dist.get_world_size(), x.dtype, x.float()
        mean = all_reduce(x.mean((0, 2, 3))) / n
        centred = x - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().mean((0, 2, 3))) / n
        with torch.no_grad():
            count = n * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(dtype)


class SkipInitFactor(nn.Module):
    """A trained factor that starts at 0, at the end of a residual branch without norm: SkipInit
    (De & Smith 2020, arXiv 2002.10444)."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.to(x.dtype)


def group_norm(channels: int) -> nn.Module:
    """Return group norm with as many groups, up to 16, as divide the channels."""
    return nn.GroupNorm(max(n for n in range(1, 17) if channels % n == 0), channels)


NORMS = {"batch": BatchNorm, "group": group_norm, "none": nn.Identity, "skip_init": nn.Identity}


class ConvGroup(nn.Module):
    """conv – pool – norm – activation, then (conv – norm – activation) × (depth − 1).

    (N, in_channels, H, W) to (N, out_channels, H/2, W/2). With `residual`, what comes out of the
    first activation is added before the last one."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, activation: str, norm: str,
                 pool: str, dropout: float, residual: bool, pool_first: bool = False):
        super().__init__()
        channels = [in_channels] + [out_channels] * depth
        bias = norm in ("none", "skip_init")
        self.convs = nn.ModuleList(
            DiracConv3x3(a, b, bias) for a, b in zip(channels, channels[1:], strict=False))
        self.norms = nn.ModuleList(NORMS[norm](out_channels) for _ in range(depth))
        if norm == "skip_init":
            self.norms[-1] = SkipInitFactor()
        self.pool = POOLS[pool]()
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.residual, self.pool_first = residual, pool_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs[0](self.pool(x)) if self.pool_first else self.pool(self.convs[0](x))
        x = shortcut = self.activation(self.norms[0](x))
        for i in range(1, len(self.convs)):
            x = self.norms[i](self.convs[i](x))
            if self.residual and i == len(self.convs) - 1:
                x = x + shortcut
            x = self.activation(x)
        return self.dropout(x)


class CifarNet(nn.Module):
    """(N, 3, S, S) images to (N, num_classes) logits; S = 32, or any size from
    2 ** len(widths) up.

    Args:
        widths: output channels of each group; each group halves the image.
        depth: convolutions in a group.
        activation: a name in `ACTIVATIONS`.
        norm: a name in `NORMS`; skip_init is no norm, but residual branches that start at 0.
        pool: a name in `POOLS`.
        dropout: share of channels dropped after each group, and of features before the head.
        residual: a shortcut in every group (needs depth ≥ 2).
        pool_first: in so many of the last groups, pooling comes before the first convolution, which
            then costs a quarter.
        whiten: start with a fixed 2×2 whitening convolution; otherwise with a trained 3×3
            convolution of as many channels.
        whiten_bias_share: the whitening's bias is trained for this share of the steps.
        freeze_share: the first group is fixed for the last share of the steps. Both shares count in
            whole epochs: what is trained changes where one begins.

    Raises UserError: an unknown name, or a number out of range."""

    WHITEN_CHANNELS = 24  # 3 · 2 · 2 directions, and each with the other sign

    def __init__(self, num_classes: int = 10, widths: tuple[int, ...] = (64, 256, 256),
                 depth: int = 2, activation: str = "gelu", norm: str = "batch", pool: str = "max",
                 dropout: float = 0.0, residual: bool = False, whiten: bool = True,
                 pool_first: int = 0, whiten_bias_share: float = 0.375, freeze_share: float = 0.0):
        super().__init__()
        for name, known in ((activation, ACTIVATIONS), (norm, NORMS), (pool, POOLS)):
            if name not in known:
                raise UserError(f"unknown {name!r}; choose from {', '.join(known)}")
        if not 1 <= len(widths) <= 4 or min(widths) < 1 or depth < 1 or not 0 <= dropout < 1:
            raise UserError("a CifarNet takes 1 to 4 widths ≥ 1, depth ≥ 1 and 0 ≤ dropout < 1")
        if residual and depth < 2:
            raise UserError("residual connections need depth ≥ 2")
        if norm == "skip_init" and not residual:
            raise UserError("skip_init is for residual connections")
        if not 0 <= pool_first <= len(widths):
            raise UserError(f"pool_first counts groups, 0 to {len(widths)}; not {pool_first}")
        if not 0 <= whiten_bias_share <= 1 or not 0 <= freeze_share <= 1:
            raise UserError("whiten_bias_share and freeze_share are shares, from 0 to 1")
        self.whiten, self.whiten_bias_share = whiten, whiten_bias_share
        self.freeze_share = freeze_share
        self.stem = (nn.Conv2d(3, self.WHITEN_CHANNELS, 2) if whiten
                     else DiracConv3x3(3, self.WHITEN_CHANNELS))
        self.stem.weight.requires_grad_(not whiten)
        self.activation = ACTIVATIONS[activation]()
        channels = [self.WHITEN_CHANNELS, *widths]
        self.groups = nn.Sequential(*(
            ConvGroup(a, b, depth, activation, norm, pool, dropout, residual,
                      pool_first=number >= len(widths) - pool_first)
            for number, (a, b) in enumerate(zip(channels, channels[1:], strict=False))))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        nn.init.normal_(self.head.weight)
        self.logit_factor = 1 / widths[-1]  # keeps the first loss near log(num_classes)
        if whiten:
            nn.init.zeros_(self.stem.bias)

    @torch.no_grad()
    def prepare(self, images: Tensor, eps: float = 5e-4) -> None:
        """Set the first filters to scaled eigenvectors of 2×2 patches of `images` (N, 3, H, W)."""
        if not self.whiten:
            return
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        variance, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (variance + eps).sqrt()).T.reshape(12, 3, 2, 2)
        self.stem.weight.copy_(torch.cat([filters, -filters]))

    def freeze(self, progress: float) -> None:
        """Fix the whitening's bias, then the first group, when `progress` of the steps are done."""
        if self.whiten:
            self.stem.bias.requires_grad_(progress < self.whiten_bias_share)
        if progress >= 1 - self.freeze_share:
            self.groups[0].requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """Return the (N, widths[-1]) features of (N, 3, S, S) that the head sees."""
        if self.whiten:
            x = F.pad(x, (0, 1, 0, 1), mode="replicate")  # a 2×2 filter then keeps the size
        x = self.groups(self.activation(self.stem(x)))
        return self.dropout(x.amax((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)) * self.logit_factor


NETWORKS = {"cifarnet": CifarNet, "vgg": VGG, "vgg_a": VGG_A, "vgg_batchnorm": VGG_BatchNorm,
            "vgg_a_dropout": VGG_A_Dropout, "vgg_a_light": VGG_A_Light}
FROM_THE_DATA = ("num_classes", "inp_ch")  # arguments that no run may choose


def network_arguments(name: str) -> dict:
    """Return the arguments that a run may set of a network in `NETWORKS`, with their defaults."""
    return {argument.name: argument.default
            for argument in inspect.signature(NETWORKS[name]).parameters.values()
            if argument.name not in FROM_THE_DATA}


def said_of_arguments(name: str) -> dict[str, str]:
    """Return what the docstring of a network in `NETWORKS`, or of a class that it is made from,
    says of its arguments, under "Args:"; in place of "a name in `TABLE`" the names themselves."""
    found = {}
    for kind in reversed(getattr(NETWORKS[name], "__mro__", ())):
        known = vars(sys.modules[kind.__module__])

        def names(table: re.Match, known=known) -> str:
            return ", ".join(known[table[1]]) if table[1] in known else table[0]

        _, _, rest = inspect.cleandoc(vars(kind).get("__doc__") or "").partition("Args:\n")
        for entry in re.split(r"\n(?=    \w)", "\n" + rest.partition("\n\n")[0]):
            argument, _, about = entry.partition(": ")
            about = re.sub(r"a name in `(\w+)`", names, about).replace("`", "")
            found[argument.strip()] = " ".join(about.split()).rstrip(".")
    return found


def build(name: str, **config) -> nn.Module:
    """Return a fresh network, channels last, by the name and arguments that a checkpoint carries.
    Raises UserError: unknown name or argument."""
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; choose from {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**config).to(memory_format=torch.channels_last)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} does not take these arguments: {error}") from None


def check_shapes(net: nn.Module, what: str) -> None:
    """Raise a UserError if `net`, in evaluation mode, does not map (N, 3, 32, 32) to (N, 10)."""
    try:
        with torch.no_grad():
            out = net(torch.zeros(1, 3, 32, 32, device=next(net.parameters()).device))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise UserError(f"{what} does not take colour images of 32×32: "
                        f"{(str(error) or repr(error)).splitlines()[0]}") from None
    if not isinstance(out, Tensor) or out.ndim != 2:
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise UserError(f"{what} makes of an image {given}, not (1, {len(CLASSES)})")
    if out.shape[1] != len(CLASSES):
        raise UserError(f"{what} tells {out.shape[1]} classes apart; CIFAR-10 has {len(CLASSES)}")


def freeze(net: nn.Module, progress: float) -> None:
    """Call `net.freeze(progress)`, where the net has that method; progress: steps done, 0 … 1."""
    if hasattr(net, "freeze"):
        net.freeze(progress)
