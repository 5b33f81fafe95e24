"""VGG-A for 32×32 images, with and without batch normalisation.

Simonyan & Zisserman 2015 (arXiv 1409.1556), table 1, column A: 3×3 convolutions, "M" is 2×2
max pooling. Five poolings take 32×32 down to 1×1, so the first linear layer has 512 inputs.
"""

import torch
from torch import nn

CONFIGURATION_A = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def get_number_of_parameters(model: nn.Module) -> int:
    """Weights and biases of `model`, trained or frozen."""
    return sum(parameter.numel() for parameter in model.parameters())


def init_weights_(module: nn.Module) -> None:
    """Xavier-normal weights and zero biases for the linear and convolution layers."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class VGG_A(nn.Module):  # noqa: N801 (the course kit's name)
    """(N, inp_ch, 32, 32) images to (N, num_classes) logits; 9.75 M parameters by default."""

    batch_norm = False

    def __init__(self, inp_ch: int = 3, num_classes: int = 10, init_weights: bool = True):
        super().__init__()
        self.features = self._features(inp_ch)
        self.classifier = nn.Sequential(
            nn.Linear(512, 512), nn.ReLU(True),
            nn.Linear(512, 512), nn.ReLU(True),
            nn.Linear(512, num_classes),
        )
        if init_weights:
            self.apply(init_weights_)

    def _features(self, channels: int) -> nn.Sequential:
        layers = []
        for width in CONFIGURATION_A:
            if width == "M":
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
                continue
            layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
            if self.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(True))
            channels = width
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class VGG_BatchNorm(VGG_A):  # noqa: N801
    """VGG-A with batch normalisation after every convolution."""

    batch_norm = True


VGG_A_BatchNorm = VGG_BatchNorm
