"""What a network says of images, and how right it is."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.statistics import expected_calibration_error

SURE_MARGIN = 0.5  # between the probabilities of the two likeliest classes: needs no more views


@torch.no_grad()
def predict(net: nn.Module, split: Split, views: Callable | None = None,
            batch_size: int = 250, progress: bool = False) -> torch.Tensor:
    """Return logits (N, classes) of `net` in evaluation mode; the net's mode is restored.

    Args:
        views: what to compute of (net, batch of images); default: net(images).
        progress: show a bar."""
    training = net.training
    net.eval()
    batches = tqdm(split.images.split(batch_size), "evaluation", leave=False, disable=not progress)
    logits = [views(net, x) if views else net(x) for x in map(normalize, batches)]
    net.train(training)
    return torch.cat(logits)


def unsure(logits: torch.Tensor) -> torch.Tensor:
    """Return (N,): are the two likeliest classes of logits (N, classes) within SURE_MARGIN?"""
    first, second = logits.softmax(1).topk(2, 1).values.unbind(1)
    return first - second < SURE_MARGIN


def views_per_image(one: torch.Tensor) -> float:
    """Return how many views `one_and_six_views` took on average, by its logits `one`."""
    return 1 + 5 * unsure(one).float().mean().item()


def one_and_six_views(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return (N, 2, classes): logits of images x (N, 3, S, S), and an average over six views.

    Half the weight is on the image and its mirror image, half on both of them shifted by one
    pixel up and left, or down and right (Jordan 2024, arXiv 2404.00498). An image whose first view
    is sure (see `unsure`) is given no other: its average is its one view. Of the shipped weights on
    the test images, that takes 1.9 views in place of 6."""
    one = net(x)
    six, rows = one.clone(), unsure(one)
    if rows.any():
        x = x[rows]
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        shifted = (padded[..., :-2, :-2], padded[..., 2:, 2:])
        six[rows] = ((one[rows] + net(x.flip(-1))) / 4
                     + sum(net(view) + net(view.flip(-1)) for view in shifted) / 8)
    return torch.stack([one, six], 1)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose highest logit is the label's."""
    return (logits.argmax(1) == labels).float().mean().item()


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (classes, classes) counts; row: true class, column: predicted class."""
    n = logits.shape[1]
    return torch.bincount(labels * n + logits.argmax(1), minlength=n * n).view(n, n)


def reliability(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> torch.Tensor:
    """Return (3, bins): images, mean confidence and accuracy in equal bins of confidence.

    Of an empty bin, the latter two are NaN. Guo et al. 2017 (arXiv 1706.04599), section 2."""
    confidence, predicted = logits.softmax(1).max(1)
    index = (confidence * bins).long().clamp(max=bins - 1)
    rows = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).float()])
    totals = torch.zeros(3, bins, device=logits.device).index_add_(1, index, rows)
    totals[1:] /= totals[0]
    return totals


def calibration_error(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the expected calibration error in 15 equal bins of confidence."""
    return expected_calibration_error(reliability(logits, labels).cpu().numpy())
