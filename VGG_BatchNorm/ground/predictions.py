"""What a network says of images, and how right it is."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from VGG_BatchNorm.ground.calibration import expected_calibration_error
from VGG_BatchNorm.ground.cifar10 import Split, normalize


@torch.no_grad()
def predict(net: nn.Module, split: Split, views: Callable | None = None,
            batch_size: int = 250, progress: bool = False) -> torch.Tensor:
    """Logits (N, classes) of `net` in evaluation mode, in float32; the net's mode is restored.

    Args:
        views: what to compute of (net, batch of images); default: net(images).
        progress: show a bar.
    """
    training = net.training
    net.eval()
    batches = tqdm(split.images.split(batch_size), "evaluation", leave=False, disable=not progress)
    logits = [views(net, x) if views else net(x) for x in map(normalize, batches)]
    net.train(training)
    return torch.cat(logits)


def one_and_six_views(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(N, 2, classes): the logits of the images x (N, 3, S, S), and an average over six views.

    Half the weight is on the image and its mirror image, half on both of them shifted by one
    pixel up and left, or down and right (Jordan 2024, arXiv 2404.00498).
    """
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    shifted = (padded[..., :-2, :-2], padded[..., 2:, 2:])
    one = net(x)
    six = (one + net(x.flip(-1))) / 4 + sum(net(view) + net(view.flip(-1)) for view in shifted) / 8
    return torch.stack([one, six], 1)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose highest logit is the label's."""
    return (logits.argmax(1) == labels).float().mean().item()


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(classes, classes) counts; row: true class, column: predicted class."""
    n = logits.shape[1]
    return torch.bincount(labels * n + logits.argmax(1), minlength=n * n).view(n, n)


def reliability(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> torch.Tensor:
    """(3, bins): images, mean confidence and accuracy in equal bins of confidence; NaN if empty.

    Guo et al. 2017 (arXiv 1706.04599), section 2.
    """
    confidence, predicted = logits.softmax(1).max(1)
    index = (confidence * bins).long().clamp(max=bins - 1)
    rows = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).float()])
    totals = torch.zeros(3, bins, device=logits.device).index_add_(1, index, rows)
    totals[1:] /= totals[0]
    return totals


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error in `bins` equal bins of confidence."""
    return expected_calibration_error(reliability(logits, labels, bins).cpu().numpy())
