"""The VGG nets for 32×32 images, with any normalisation after each convolution, or none.

    from VGG_BatchNorm.VGG import VGG, VGG_A, VGG_BatchNorm
    net = VGG("D", norm="group", width=0.5)

Simonyan & Zisserman 2015 (arXiv 1409.1556), table 1. Five poolings take 32×32 down to 1×1, so
the first linear layer has as many inputs as the last convolution has channels."""

import math

import torch
from torch import nn

from VGG_BatchNorm import batchnorm
from VGG_BatchNorm.ground.convolution import Conv3x3
from VGG_BatchNorm.ground.layers import MaxPool2x2
from VGG_BatchNorm.ground.script import UserError

# output channels of 3×3 convolutions, "M": 2×2 max pooling, (channels, 1): a 1×1 convolution,
# "LRN": local response normalisation
TABLE = {
    "A": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "A-LRN": (64, "LRN", "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "B": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "C": (64, 64, "M", 128, 128, "M", 256, 256, (256, 1), "M", 512, 512, (512, 1), "M",
          512, 512, (512, 1), "M"),
    "D": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "E": (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M",
          512, 512, 512, 512, "M"),
}

NORMS = {  # a layer for (channels, number of the layer)
    "none": None,
    "batch": lambda channels, _: nn.BatchNorm2d(channels),
    "own_batch": lambda channels, _: batchnorm.BatchNorm2d(channels),
    "layer": lambda channels, _: nn.GroupNorm(1, channels),
    "group": lambda channels, _: nn.GroupNorm(
        math.gcd(32, channels, max(1, channels // 2)), channels),
    "instance": lambda channels, _: InstanceNorm2d(channels, affine=True),
    "l1": lambda channels, _: batchnorm.LpNorm2d(channels, 1),
    "l2": lambda channels, _: batchnorm.LpNorm2d(channels, 2),
    "linf": lambda channels, _: batchnorm.LpNorm2d(channels, math.inf),
    "noisy_batch": lambda channels, number: batchnorm.NoisyBatchNorm2d(channels, seed=number),
    "noisy_batch_channel": lambda channels, number: batchnorm.NoisyBatchNorm2d(
        channels, seed=number, by="channel"),
    "noise": lambda _, number: batchnorm.Noise2d(seed=number),
}
HEADS = {  # the layer after each hidden linear layer; "single": there is no hidden one
    "plain": None, "batch": nn.BatchNorm1d, "single": None,
}


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm that returns images of one pixel as they are: less its mean, their only value
    is 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.shape[2:] == (1, 1) else super().forward(x)


def get_number_of_parameters(model: nn.Module) -> int:
    """Return how many weights and biases `model` has, trained or frozen."""
    return sum(parameter.numel() for parameter in model.parameters())


def init_weights_(module: nn.Module) -> None:
    """Give linear and convolution layers Xavier-normal (Glorot) weights and zero biases."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class VGG(nn.Module):
    """(N, inp_ch, 32, 32) images to (N, num_classes) logits.

    Args:
        configuration: a name in `TABLE`.
        norm: a name in `NORMS`; the layer between convolution and ReLU.
        width: factor of all channel counts and of the hidden linear layers, rounded up.
        head: a name in `HEADS`; three linear layers, the same with batch norm, or one.
        smooth: softplus in place of ReLU and average in place of max pooling: no kinks.
        dropout: share dropped before each hidden linear layer; 0 where there is none.
        init_weights: start from `init_weights_`, else from torch's defaults.

    Raises UserError: an unknown name, or a number out of range."""

    def __init__(self, configuration: str = "A", norm: str = "none", width: float = 1.0,
                 inp_ch: int = 3, num_classes: int = 10, dropout: float = 0.0,
                 init_weights: bool = True, head: str = "plain", smooth: bool = False):
        super().__init__()
        for name, known in ((configuration, TABLE), (norm, NORMS), (head, HEADS)):
            if name not in known:
                raise UserError(f"unknown {name!r}; choose from {', '.join(known)}")
        if not 0 < width <= 16 or not 0 <= dropout < 1:
            raise UserError("a VGG net takes 0 < width ≤ 16 and 0 ≤ dropout < 1")
        if dropout and head == "single":
            raise UserError("dropout is before hidden linear layers, and the single head has none")
        layers = _convolutions(TABLE[configuration], NORMS[norm], width, inp_ch, smooth)
        self.features = nn.Sequential(*layers)
        hidden, head_norm = math.ceil(512 * width), HEADS[head]
        layers = []
        for _ in range(0 if head == "single" else 2):
            layers += [nn.Dropout(dropout)] if dropout else []
            layers += [nn.Linear(hidden, hidden), *([head_norm(hidden)] if head_norm else []),
                       nn.Softplus() if smooth else nn.ReLU(True)]
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden, num_classes))
        if init_weights:
            self.apply(init_weights_)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def _convolutions(row: tuple, norm, width: float, channels: int, smooth: bool) -> list[nn.Module]:
    """Return the layers of one column of the table."""
    layers, number = [], 0
    for entry in row:
        if entry == "M":
            layers.append(nn.AvgPool2d(2) if smooth else MaxPool2x2())
        elif entry == "LRN":
            layers.append(nn.LocalResponseNorm(5, k=2.0))
        else:
            plain = isinstance(entry, int)
            out = math.ceil((entry if plain else entry[0]) * width)
            layers.append(Conv3x3(channels, out) if plain else nn.Conv2d(channels, out, entry[1]))
            if norm is not None:
                layers.append(norm(out, number))
            layers.append(nn.Softplus() if smooth else nn.ReLU(True))
            channels, number = out, number + 1
    return layers


class VGG_A(VGG):  # noqa: N801 (the course kit's names, here and below)
    """VGG-A; 9.75 M parameters."""

    def __init__(self, inp_ch: int = 3, num_classes: int = 10, init_weights: bool = True):
        super().__init__("A", "none", 1.0, inp_ch, num_classes, init_weights=init_weights)


class VGG_BatchNorm(VGG):  # noqa: N801
    """VGG-A with batch normalisation after every convolution."""

    def __init__(self, inp_ch: int = 3, num_classes: int = 10, init_weights: bool = True):
        super().__init__("A", "batch", 1.0, inp_ch, num_classes, init_weights=init_weights)


VGG_A_BatchNorm = VGG_BatchNorm


class VGG_A_Dropout(VGG):  # noqa: N801
    """VGG-A that drops half of the inputs of both hidden linear layers."""

    def __init__(self, inp_ch: int = 3, num_classes: int = 10):
        super().__init__("A", inp_ch=inp_ch, num_classes=num_classes, dropout=0.5)


class VGG_A_Light(nn.Module):  # noqa: N801
    """Two convolutions and three linear layers; 0.29 M parameters."""

    def __init__(self, inp_ch: int = 3, num_classes: int = 10):
        super().__init__()
        self.stage1, self.stage2 = (
            nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2))
            for channels, out in ((inp_ch, 16), (16, 32)))
        self.classifier = nn.Sequential(nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 128),
                                        nn.ReLU(), nn.Linear(128, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.stage2(self.stage1(x)).flatten(1))
