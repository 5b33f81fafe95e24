"""Losses by name, of logits (N, C) and target probabilities (N, C), summed over the N examples."""

import torch.nn.functional as F
from torch import Tensor


def soft_targets(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return (N, classes): 1 − smoothing on the label (N,), the rest spread over all classes."""
    return F.one_hot(labels, classes).float().mul_(1 - smoothing).add_(smoothing / classes)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="sum")


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy with weight (1 − p)^γ: less of what is right already (Lin et al. 2017)."""
    log_p = logits.log_softmax(1)
    return -(targets * (1 - log_p.exp()) ** gamma * log_p).sum()


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Of the logits themselves, without softmax (Hui & Belkin 2021)."""
    return (logits - targets).square().sum()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Each class against the rest, by a sigmoid (as in Wightman et al. 2021)."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


LOSSES = {function.__name__: function
          for function in (cross_entropy, focal, squared_error, binary_cross_entropy)}
