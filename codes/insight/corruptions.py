"""Corruptions of images, in five severities: `corrupted(images, "JPEG", 58)`.

Definitions and strengths are those of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv 1903.12261,
and the authors' make_cifar_c.py), but for three things of ours: the corruption `shift`, the seed of
the noise, and that pixel values are rounded to the nearest, where theirs are cut. The functions
behind `CORRUPTIONS` take images (N, 3, 32, 32) in [0, 1] on the CPU, a strength, and a generator,
which only noise and shift use; their results may leave [0, 1]."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def corrupted(images: Tensor, name: str, strength: float | list[float], seed: int = 0) -> Tensor:
    """Return uint8 images (N, 3, 32, 32) under the corruption `name`, in a strength such as
    CORRUPTIONS has; the input stays as it is."""
    x = CORRUPTIONS[name][0](images / 255, strength, torch.Generator().manual_seed(seed))
    return (255 * x).round().clamp(0, 255).to(torch.uint8)


def gaussian_noise(x: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return x + deviation * torch.randn(x.shape, generator=generator)


def gaussian_blur(x: Tensor, sigma: float, _) -> Tensor:
    """Sigma in pixels; the kernel ends at 4 σ, and the border pixel goes on outside."""
    return _filtered(x, _gaussian(sigma, int(4 * sigma + 0.5)), "replicate")


def defocus_blur(x: Tensor, strength: list[float], _) -> Tensor:
    """A disk of (radius, and σ of the blur that smooths its edge), in pixels; mirrored outside."""
    radius, sigma = strength
    square = torch.arange(-2, 3).square()
    disk = (square[:, None] + square <= radius**2).float()
    kernel = _filtered((disk / disk.sum())[None, None], _gaussian(sigma, 1), "constant")[0, 0]
    return _filtered(x, kernel, "reflect")


def contrast(x: Tensor, factor: float, _) -> Tensor:
    """Return the distance of each pixel from the image's mean, by channel, times `factor`."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + factor * (x - mean)


def brightness(x: Tensor, added: float, _) -> Tensor:
    """Return the value of HSV, the largest channel, plus `added`, at most 1; black becomes grey."""
    value = x.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp(min=1e-6), brighter)


def jpeg(x: Tensor, quality: int, _) -> Tensor:
    """Compressed by Pillow at `quality` (of 100), and read again."""
    read = []
    for image in (255 * x).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        read.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2) / 255


def shift(x: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Ours: by ±`pixels` along both axes, by chance for each image; mirrored outside, edge once."""
    signs = 2 * torch.randint(2, (2, len(x), 1), generator=generator) - 1
    rows, columns = 31 - (31 - (torch.arange(32) + pixels * signs).abs()).abs()  # (N, 32) each
    image = torch.arange(len(x))[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _gaussian(sigma: float, radius: int) -> Tensor:
    """Kernel (2 · radius + 1)², of sum 1."""
    bell = torch.arange(-radius, radius + 1).div(sigma).square().div(-2).exp()
    kernel = torch.outer(bell, bell)
    return kernel / kernel.sum()


def _filtered(x: Tensor, kernel: Tensor, outside: str) -> Tensor:
    """Every channel of x (N, C, H, W) by the kernel (k, k), k odd; `outside` is a mode of F.pad."""
    channels, radius = x.shape[1], len(kernel) // 2
    x = F.pad(x, (radius,) * 4, mode=outside)
    return F.conv2d(x, kernel.repeat(channels, 1, 1, 1), groups=channels)


CORRUPTIONS = {  # function, strengths of severities 1 to 5, as JSON has them
    "Gaussian noise": (gaussian_noise, [0.04, 0.06, 0.08, 0.09, 0.10]),
    "Gaussian blur": (gaussian_blur, [0.4, 0.6, 0.7, 0.8, 1.0]),
    "defocus blur": (defocus_blur, [[0.3, 0.4], [0.4, 0.5], [0.5, 0.6], [1.0, 0.2], [1.5, 0.1]]),
    "contrast": (contrast, [0.75, 0.5, 0.4, 0.3, 0.15]),
    "brightness": (brightness, [0.05, 0.1, 0.15, 0.2, 0.3]), "JPEG": (jpeg, [80, 65, 58, 50, 40]),
    "shift": (shift, [1, 2, 4, 6, 8]),}
