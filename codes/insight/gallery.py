"""Test images to choose from on the page of `make gallery`: what a network says of them, and why.

    data = measure(net, train, test, right=4, wrong=2, neighbours=6, size=6, stride=2, steps=64)

A rule chooses them (`first_right_and_surest_wrong`). Three methods (attribution.py) find the pixels
that speak for what the net says, and the nearest training images are those of the largest cosine of
what the last layer is given."""

import torch
from torch import Tensor, nn

from codes.insight.attribution import explain
from codes.insight.similarity import nearest, penultimate
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.predictions import predict


def first_right_and_surest_wrong(logits: Tensor, labels: Tensor, right: int,
                                 wrong: int) -> Tensor:
    """Return numbers of test images, class by class: the first `right` right answers, then the
    `wrong` most confident mistakes. Where a class has fewer of one kind, it has more of the other.
    """
    confidence, said = logits.softmax(1).max(1)
    chosen = []
    for label in range(logits.shape[1]):
        mine = (labels == label).nonzero()[:, 0]
        answers, mistakes = mine[said[mine] == label], mine[said[mine] != label]
        order = confidence[mistakes].argsort(descending=True, stable=True)
        surest = mistakes[order][:max(wrong, right + wrong - len(answers))]
        chosen += [answers[:right + wrong - len(surest)], surest]
    return torch.cat(chosen)


def measure(net: nn.Module, train: Split, test: Split, *, right: int, wrong: int, neighbours: int,
            size: int, stride: int, steps: int) -> dict:
    """Return all that is shown of the N images chosen; pictures are uint8 (…, S, S, 3).

    Args:
        right, wrong: images of a class, as for `first_right_and_surest_wrong`.
        neighbours: training images beside each.
        size, stride, steps: as for `explain`."""
    logits = predict(net, test)
    numbers = first_right_and_surest_wrong(logits, test.labels, right, wrong)
    some, logits = test.take(numbers), logits[numbers]
    x, said = normalize(some.images), logits.argmax(1)
    known = predict(net, train, penultimate)
    cosines, near = nearest(predict(net, some, penultimate), known, neighbours)
    return {"numbers": numbers, "labels": some.labels, "probabilities": logits.softmax(1),
            "images": some.images.permute(0, 2, 3, 1),
            **explain(net, x, said, size, stride, steps),
            "near": near, "near_labels": train.labels[near], "cosines": cosines,
            "near_images": train.images[near].permute(0, 1, 3, 4, 2)}
