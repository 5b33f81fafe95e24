"""The filters of a network's first convolution, and the feature maps of its first ones.

    data = measure(net, test, image=7, maps=24)
    data = learned(train, validation, nets={"vgg": net_settings("vgg", 0, data_checksum())})"""

import torch
from torch import Tensor, nn

from codes.insight.similarity import run_and_tell_layers
from codes.insight.small_nets import fresh, opened
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.predictions import accuracy, predict


@torch.no_grad()
def first_convolutions(net: nn.Module, x: Tensor) -> list[tuple[str, nn.Conv2d, Tensor]]:
    """Return (name, layer, output) of the first two convolutions for images (N, 3, 32, 32)."""
    seen = []

    def note(name: str, layer: nn.Module, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d) and len(seen) < 2:
            seen.append((name, layer, output.clone()))  # the ReLU after it may be in place

    run_and_tell_layers(net, x, note)
    return seen


def measure(net: nn.Module, test: Split, image: int, maps: int) -> dict:
    """Return the first convolution's filters and maps of a test image, by the filters' contrast,
    and behind a fixed whitening the `maps` feature maps of most contrast of the next convolution.
    """
    pixels = test.images[image]
    (name, layer, output), *rest = first_convolutions(net, normalize(pixels[None]))
    filters = layer.weight.detach()
    order = filters.std((1, 2, 3)).argsort(descending=True)
    result = {"image": pixels.permute(1, 2, 0), "label": test.labels[image], "layers": [name],
              "filters": filters[order], "maps_0": output[0, order]}
    if not layer.weight.requires_grad or getattr(net, "whiten", False):
        for name, _, output in rest:
            strongest = output[0].std((1, 2)).argsort(descending=True)[:maps]
            result["layers"].append(name)
            result["maps_1"] = output[0, strongest]
    return result


def learned(train: Split, validation: Split, *, nets: dict[str, dict]) -> dict:
    """Return the filters of the first convolution of small nets before and after their training.

    Args:
        train, validation: of `split_validation`, on the device that trains.
        nets: `net_settings` by name.

    Returns:
        by name, (2, K, 3, h, w); accuracy (nets,) after training, in fractions of `validation`."""
    found, right = {}, []
    for name, one in nets.items():
        both = fresh(one, train).net, opened(name, one, train)
        found[name] = torch.stack([next(layer for layer in net.modules()
                                        if isinstance(layer, nn.Conv2d)).weight.detach()
                                   for net in both])
        right.append(accuracy(predict(both[1], validation), validation.labels))
    return found | {"accuracy": right}
