"""What the last layer of a net is given, in a plane; and how alike blocks of small nets are.

    plane = principal_points(net, test)
    neighbours = neighbour_points(net, test, images=2000, perplexity=30)"""

import torch
from torch import nn

from codes.insight.loss_landscape import principal_plane
from codes.insight.similarity import cka_matrix, layer_outputs, penultimate
from codes.insight.small_nets import opened
from VGG_BatchNorm.ground.cifar10 import Split, normalize, split_validation
from VGG_BatchNorm.ground.predictions import accuracy, predict


def principal_points(net: nn.Module, test: Split) -> dict:
    """Return every test image in the plane of the features' first two principal components."""
    _, points, shares = principal_plane(predict(net, test, penultimate).cpu())
    return {"points": (points - points.mean(0)).float(), "shares": shares, "labels": test.labels}


def neighbour_points(net: nn.Module, test: Split, images: int, perplexity: float) -> dict:
    """Return the first `images` test images by t-SNE of features (van der Maaten & Hinton 2008).
    Raises ImportError: scikit-learn is not installed."""
    from sklearn.manifold import TSNE  # here: only this panel needs it

    some = test.take(slice(images))
    features = predict(net, some, penultimate).cpu().numpy()
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=0)
    return {"points": embedding.fit_transform(features), "labels": some.labels}


def compare_nets(train: Split, test: Split, images: int, pairs: list, nets: list[dict]) -> dict:
    """Return CKA (pairs, blocks, blocks) of small nets, and their validation accuracy (pairs, 2),
    in fractions.

    Args:
        images: so many test images, the first ones, are compared.
        pairs: of nets, each its name and seed.
        nets: the settings (`net_settings`) of the nets in `pairs`, in the order of `nets_of`."""
    train, validation = split_validation(train)
    x, outputs, right, names = normalize(test.images[:images]), [], [], nets_of(pairs)
    for (name, _), settings in zip(names, nets, strict=True):
        net = opened(name, settings, train)
        outputs.append(layer_outputs(net, x))
        right.append(accuracy(predict(net, validation), validation.labels))
    numbers = [[names.index(one) for one in pair] for pair in pairs]
    return {"cka": torch.stack([cka_matrix(outputs[a], outputs[b]) for a, b in numbers]),
            "accuracy": [[right[a], right[b]] for a, b in numbers]}


def nets_of(pairs: list) -> list[list]:
    """Return the name and seed of each net that occurs in pairs of nets, once."""
    return [list(one) for one in dict.fromkeys(tuple(one) for pair in pairs for one in pair)]
