"""Test images to choose from on the page of `make gallery`: what a network says of them, and why.

    data = computed(folder / "gallery.npz", about, lambda: measure(net, train, test))

A rule chooses them (`choose_images`). Three methods (attribution.py) colour the pixels that speak for what
the net says, and the nearest training images are those of the largest cosine of what the last layer is given.
"""


import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from codes.figures.attribution import DIVERGING
from codes.insight.attribution import grad_cam, integrated_gradients, last_maps, occlusion
from codes.insight.similarity import nearest, penultimate
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.predictions import predict
from VGG_BatchNorm.ground.style import plt

RIGHT, WRONG = 4, 2  # images of a class
NEIGHBOURS = 6
SIZE, STRIDE = 6, 2  # of the square that covers, in pixels


def choose_images(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Numbers of test images, class by class: the first RIGHT right answers, then the WRONG most confident
    mistakes. Where a class has fewer of one kind, there are more of the other."""
    confidence, said = logits.softmax(1).max(1)
    chosen = []
    for label in range(logits.shape[1]):
        mine = (labels == label).nonzero()[:, 0]
        right, wrong = mine[said[mine] == label], mine[said[mine] != label]
        order = confidence[wrong].argsort(descending=True, stable=True)
        surest = wrong[order][:max(WRONG, RIGHT + WRONG - len(right))]
        chosen += [right[:RIGHT + WRONG - len(surest)], surest]
    return torch.cat(chosen)


def coloured(values: np.ndarray, colours: str) -> np.ndarray:
    """Values in [0, 1] of any shape as uint8 colours (..., 3) of a matplotlib colour map."""
    return plt.get_cmap(colours)(values, bytes=True)[..., :3]


def red_and_blue(values: torch.Tensor, share: float) -> np.ndarray:
    """Values (N, h, w) as uint8 pictures (N, h, w, 3): 0 is white, red is above, blue below.

    Args:
        share: of the values of a picture; only the largest ones beyond it are cut off.
    """
    values = values.cpu().numpy()
    limits = np.quantile(abs(values), share, axis=(1, 2), keepdims=True).clip(1e-12)
    return coloured(values / limits / 2 + 0.5, DIVERGING)


def glow(images: np.ndarray, maps: torch.Tensor) -> np.ndarray:
    """Maps (N, h, w) ≥ 0, each on its own scale and blurred, over grey uint8 images (N, S, S, 3)."""
    maps = F.interpolate(maps[:, None], size=images.shape[1:3], mode="bilinear")[:, 0]
    maps = maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)
    grey = images.mean(3, keepdims=True)
    return (0.4 * grey + 0.6 * coloured(maps.cpu().numpy(), "inferno")).astype(np.uint8)


def in_place(squares: np.ndarray) -> np.ndarray:
    """Occlusion's pictures (N, rows, columns, 3) as large as the image: each entry lies at the middle of its
    square, and white is the margin in which no square has its middle."""
    margin = (SIZE - STRIDE) // 2
    whole = squares.repeat(STRIDE, 1).repeat(STRIDE, 2)
    return np.pad(whole, ((0, 0), (margin, margin), (margin, margin), (0, 0)), constant_values=255)


def measure(net: nn.Module, train: Split, test: Split) -> dict:
    """All that is shown of the images chosen; pictures are uint8 (N, S, S, 3)."""
    logits = predict(net, test)
    numbers = choose_images(logits, test.labels)
    some, logits = test.take(numbers), logits[numbers]
    x, said = normalize(some.images), logits.argmax(1)
    cosines, near = nearest(predict(net, some, penultimate), predict(net, train, penultimate), NEIGHBOURS)
    images = some.images.permute(0, 2, 3, 1).cpu().numpy()
    return {"numbers": numbers, "labels": some.labels, "probabilities": logits.softmax(1), "images": images,
            "integrated_gradients": red_and_blue(integrated_gradients(net, x, said).sum(1), 0.99),
            "grad_cam": glow(images, grad_cam(net, x, said, last_maps(net, x))),
            "occlusion": in_place(red_and_blue(occlusion(net, x, said, SIZE, STRIDE), 1.0)),
            "near": near, "near_labels": train.labels[near], "cosines": cosines,
            "near_images": train.images[near].permute(0, 1, 3, 4, 2)}
