"""What a network gets wrong, how well it knows, and which images are hard to tell apart.

    data = measure(net, train, test, bins=15, mistakes=24)"""

import torch
from torch import Tensor, nn

from codes.insight.similarity import nearest, penultimate
from VGG_BatchNorm.ground import predictions
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.ground.predictions import predict


def look_alikes(features: Tensor, labels: Tensor, known: Tensor,
                known_labels: Tensor, chunk: int = 500) -> Tensor:
    """Return (N,) bool: the nearest `known` feature (M, D), by cosine, is of another class."""
    near = torch.cat([nearest(part, known, 1)[1][:, 0] for part in features.split(chunk)])
    return known_labels[near] != labels


def measure(net: nn.Module, train: Split, test: Split, bins: int, mistakes: int) -> dict:
    """Return all that the four pictures show.

    Args:
        bins: of confidence.
        mistakes: so many images that the net is surest of and wrong about."""
    logits, averaged = predict(net, test, predictions.one_and_six_views).unbind(1)
    confidence, said = logits.softmax(1).max(1)
    wrong = said != test.labels
    worst = torch.where(wrong, confidence, -1.0).topk(min(mistakes, int(wrong.sum()))).indices
    alike = look_alikes(predict(net, test, penultimate), test.labels,
                        predict(net, train, penultimate), train.labels)
    tables = [predictions.reliability(view, test.labels, bins) for view in (logits, averaged)]
    return {"confusion": predictions.confusion_matrix(logits, test.labels),
            "reliability": torch.stack(tables),
            "look_alikes": test.labels[alike].bincount(minlength=logits.shape[1]),
            "numbers": worst, "images": test.images[worst].permute(0, 2, 3, 1),
            "labels": test.labels[worst], "said": said[worst], "confidence": confidence[worst]}
