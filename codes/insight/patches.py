"""What the units of each layer see of an image, and what excites them.

    from codes.insight.patches import peaks, stages
    for field, maps in stages(net, x):  # x (N, 3, H, W), normalised
        print(field.name, field.size, maps.shape)"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codes.insight.similarity import run_and_tell_layers
from VGG_BatchNorm.ground.cifar10 import Split, normalize

GREY = 128


class Field(NamedTuple):
    """What the units of a stage see of the image: row i of its output (`side` rows) sees the
    image's rows start + i·jump to start + i·jump + size − 1, and columns likewise."""

    name: str
    size: int = 1
    jump: int = 1
    start: int = 0
    side: int = 0


def stages(net: nn.Module, x: Tensor) -> list[tuple[Field, Tensor]]:
    """Return what `net` makes of the images x (N, 3, S, S), stage by stage, as they run.

    A stage is a convolution, named after it, and what follows up to the next: norm, activation,
    pooling. Each comes with its receptive field and its output (N, C, side, side). Fields follow
    from kernels, strides and paddings alone (Dumoulin & Visin 2016, arXiv 1603.07285): for chains
    of layers without dilation; the shortcuts of a residual net are shorter ways and widen nothing.
    CifarNet's whitening stem is padded at the right and below, outside the layer, which moves no
    `start`."""
    found, field = [], Field("")

    def note(name: str, layer: nn.Module, output: Tensor) -> None:
        nonlocal field
        if hasattr(layer, "kernel_size"):  # a convolution or a pooling
            sizes = layer.kernel_size, layer.stride, layer.padding
            kernel, stride, padding = (one if isinstance(one, int) else one[0] for one in sizes)
            if isinstance(layer.padding, str):
                padding = {"same": (kernel - 1) // 2, "valid": 0}[layer.padding]
            field = field._replace(size=field.size + (kernel - 1) * field.jump,
                                   start=field.start - padding * field.jump,
                                   jump=field.jump * stride)
        if isinstance(layer, nn.Conv2d):
            field = field._replace(name=name)
            found.append((field, output))
        if found and output.ndim == 4 and (output.shape[-1] == field.side
                                           or hasattr(layer, "kernel_size")):
            field = field._replace(side=output.shape[-1])
            found[-1] = field, output

    run_and_tell_layers(net, x, note)
    return found


def last_of_each_size(found: list[tuple[Field, Tensor]]) -> list[tuple[Field, Tensor]]:
    """Return, of the stages after the first, the last at each resolution: one a group; of a net
    with one stage, this."""
    return list({field.jump: (field, output) for field, output in found[1:] or found}.values())


@torch.no_grad()
def peaks(net: nn.Module, images: Tensor, batch_size: int = 250) -> dict[Field, tuple]:
    """Return, by layer, each channel's highest response (N, C) to each of the uint8 images
    (N, 3, 32, 32), its place in the flattened map (N, C), and its mean absolute response (C,)."""
    parts: dict[Field, list] = {}
    for batch in images.split(batch_size):
        for field, maps in last_of_each_size(stages(net, normalize(batch))):
            parts.setdefault(field, []).append((*maps.flatten(2).max(2), maps.abs().mean((2, 3))))
    columns = {field: [torch.cat(column) for column in zip(*rows, strict=True)]
               for field, rows in parts.items()}
    return {field: (peak, place, size.mean(0)) for field, (peak, place, size) in columns.items()}


def cut(image: Tensor, field: Field, place: int) -> Tensor:
    """Return what the unit at `place` of a flattened map sees of a uint8 image (3, S, S):
    (3, size, size), grey beyond the edge; the whole image, where the field is as large."""
    if field.size >= image.shape[-1]:
        return image
    top, left = (field.size + field.start + i * field.jump for i in divmod(place, field.side))
    padded = F.pad(image, (field.size,) * 4, value=GREY)
    return padded[:, top:top + field.size, left:left + field.size]


def strongest(field: Field, images: Tensor, peak: Tensor, place: Tensor,
              mean: Tensor, channels: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the channels (K,) whose `count` highest peaks exceed their mean response the most; the
    numbers (K, count) of the images with these peaks; and what is seen there, (…, s, s, 3).
    `images`, `peak`, `place`, `mean`: as `peaks` takes and gives them."""
    best = peak.topk(min(count, len(peak)), dim=0)
    contrast = best.values.mean(0) / mean.clamp(min=1e-12)
    chosen = contrast.topk(min(channels, len(contrast))).indices
    numbers = best.indices[:, chosen].T
    places = place[numbers, chosen[:, None]]
    patches = [cut(images[n], field, p)
               for n, p in zip(numbers.flatten().tolist(), places.flatten().tolist(), strict=True)]
    return chosen, numbers, torch.stack(patches).permute(0, 2, 3, 1).unflatten(0, numbers.shape)


def as_bytes(maps: Tensor, count: int) -> Tensor:
    """Return, as uint8 on one common scale, the `count` feature maps with the highest peaks among
    maps (C, h, w)."""
    shown = maps[maps.amax((1, 2)).argsort(descending=True)[:count]]
    low, high = shown.min(), shown.max()
    return ((shown - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)


@torch.no_grad()
def measure(net: nn.Module, test: Split, *, image: int, channels: int, patches: int,
            maps: int) -> dict:
    """Return all that the two pictures show.

    Args:
        image: number of the test image whose feature maps are drawn.
        channels, patches: so many channels of a layer, and so many patches of a channel.
        maps: so many feature maps of a convolution."""
    pixels, layers = test.images[image], peaks(net, test.images)
    result = {"image": pixels.permute(1, 2, 0), "label": test.labels[image],
              "layers": [field.name for field in layers], "sizes": [field.size for field in layers]}
    for i, (field, measured) in enumerate(layers.items()):
        chosen, numbers, seen = strongest(field, test.images, *measured, channels, patches)
        result |= {f"channels_{i}": chosen, f"labels_{i}": test.labels[numbers],
                   f"patches_{i}": seen}
    path = stages(net, normalize(pixels[None]))
    result["stages"] = [f"{field.name}\n{output.shape[1]} of {field.side}×{field.side}"
                        for field, output in path]
    return result | {f"maps_{i}": as_bytes(output[0], maps) for i, (_, output) in enumerate(path)}
