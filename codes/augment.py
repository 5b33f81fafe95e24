"""Augmentation beyond flips, shifts and cutout, by torchvision.transforms.v2.

    trivial    one random operation of random strength an image (Müller & Hutter 2021)
    mixup      images and targets averaged with another example's (Zhang et al. 2018)
    cutmix     a rectangle of another image, targets by area (Yun et al. 2019)"""

from collections.abc import Callable

import torch
from torch import Tensor

MIXING = ("mixup", "cutmix")
AUGMENTS = ("none", "trivial", *MIXING)


def image_transform(name: str) -> Callable[[Tensor], Tensor] | None:
    """Return what `BatchLoader` does to each of uint8 images (B, 3, 32, 32); None: nothing."""
    if name != "trivial":
        return None
    from torchvision.transforms import v2  # here: only these augmentations need it

    one = v2.TrivialAugmentWide()
    return lambda images: torch.stack([one(image) for image in images])


def batch_transform(name: str) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return what mixes images (B, 3, H, W) and target probabilities (B, C); None: nothing.

    The share is drawn once a batch, uniform in 0 … 1, from torch's global random state."""
    if name not in MIXING:
        return None
    from torchvision.transforms import v2

    return v2.MixUp() if name == "mixup" else v2.CutMix()
