"""Draw what the deeper layers answer to, and an image on its way through the network:

    python codes/visualize_patches.py --ckpt reports/models/cifarnet.pt --image 7

Leaves patches.png (the nine patches of test images that excite a channel the most, for six channels of
a layer in each group) and feature_maps.png (a row of feature maps for each convolution) in
reports/figures/, and what they are drawn from in reports/results/patches.npz: the same checkpoint,
data and image are drawn from there. Half a minute on two CPU cores. `make filters` draws the first layer.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import computed, made_from, picture_parser
from codes.networks import restore
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, Split, load_cifar10, normalize
from VGG_BatchNorm.ground.machine import pick_device
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import contact_sheet, plt, save_figure

CHANNELS, PATCHES, MAPS = 6, 9, 12
GREY = 128


class Field(NamedTuple):
    """What the units of a stage see of the image: row i of its output (`side` rows) sees the image's rows
    start + i·jump to start + i·jump + size − 1, and columns likewise."""

    name: str
    size: int = 1
    jump: int = 1
    start: int = 0
    side: int = 0


def stages(net: nn.Module, x: torch.Tensor) -> list[tuple[Field, torch.Tensor]]:
    """What `net` makes of the images x (N, 3, S, S), stage by stage, in the order in which they run.

    A stage is a convolution, named after it, and what follows up to the next: norm, activation, pooling.
    Each comes with its receptive field and its output (N, C, side, side). Fields follow from kernels,
    strides and paddings alone (Dumoulin & Visin 2016, arXiv 1603.07285): for chains of layers without
    dilation; the shortcuts of a residual net are shorter ways and widen nothing. CifarNet's whitening
    stem is padded at the right and below, outside the layer, which moves no `start`.
    """
    found, field = [], Field("")

    def note(name: str, layer: nn.Module, output: torch.Tensor) -> None:
        nonlocal field
        if hasattr(layer, "kernel_size"):  # a convolution or a pooling
            kernel, stride, padding = (value if isinstance(value, int) else value[0]
                                       for value in (layer.kernel_size, layer.stride, layer.padding))
            field = field._replace(size=field.size + (kernel - 1) * field.jump, jump=field.jump * stride,
                                   start=field.start - padding * field.jump)
        if isinstance(layer, nn.Conv2d):
            field = field._replace(name=name)
            found.append((field, output))
        if found and output.ndim == 4:
            field = field._replace(side=output.shape[-1])
            found[-1] = field, output

    hooks = [layer.register_forward_hook(lambda layer, _, output, name=name: note(name, layer, output))
             for name, layer in net.named_modules() if not list(layer.children())]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def last_of_each_size(found: list[tuple[Field, torch.Tensor]]) -> list[tuple[Field, torch.Tensor]]:
    """Of the stages after the first, the last at each resolution of the output: one a group."""
    return list({field.jump: (field, output) for field, output in found[1:]}.values())


@torch.no_grad()
def peaks(net: nn.Module, images: torch.Tensor, batch_size: int = 250) -> dict[Field, tuple]:
    """By layer, for the uint8 images (N, 3, 32, 32): the highest response of each channel to each image
    (N, C), its place in the flattened map (N, C), and each channel's mean absolute response (C,)."""
    parts: dict[Field, list] = {}
    for batch in images.split(batch_size):
        for field, maps in last_of_each_size(stages(net, normalize(batch))):
            parts.setdefault(field, []).append((*maps.flatten(2).max(2), maps.abs().mean((2, 3))))
    columns = {field: [torch.cat(column) for column in zip(*rows, strict=True)]
               for field, rows in parts.items()}
    return {field: (peak, place, size.mean(0)) for field, (peak, place, size) in columns.items()}


def cut(image: torch.Tensor, field: Field, place: int) -> torch.Tensor:
    """What the unit at `place` of a flattened map sees of a uint8 image (3, S, S): (3, size, size), grey
    beyond the edge. The whole image, where the field is as large."""
    if field.size >= image.shape[-1]:
        return image
    top, left = (field.size + field.start + i * field.jump for i in divmod(place, field.side))
    padded = F.pad(image, (field.size,) * 4, value=GREY)
    return padded[:, top:top + field.size, left:left + field.size]


def strongest(field: Field, images: torch.Tensor, peak: torch.Tensor, place: torch.Tensor,
              mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The channels (K,) whose PATCHES highest peaks exceed their mean response by the largest factor; the
    numbers (K, PATCHES) of the images with these peaks, and what is seen there (K, PATCHES, s, s, 3).

    Args:
        images, peak, place, mean: as `peaks` takes and gives them.
    """
    best = peak.topk(PATCHES, dim=0)
    contrast = best.values.mean(0) / mean.clamp(min=1e-12)
    channels = contrast.topk(min(CHANNELS, len(contrast))).indices
    numbers = best.indices[:, channels].T
    places = place[numbers, channels[:, None]]
    patches = [cut(images[n], field, p)
               for n, p in zip(numbers.flatten().tolist(), places.flatten().tolist(), strict=True)]
    return channels, numbers, torch.stack(patches).permute(0, 2, 3, 1).unflatten(0, numbers.shape)


def as_bytes(maps: torch.Tensor) -> torch.Tensor:
    """The MAPS of the highest peak among maps (C, h, w), on one scale from 0 to 255, uint8."""
    shown = maps[maps.amax((1, 2)).argsort(descending=True)[:MAPS]]
    low, high = shown.min(), shown.max()
    return ((shown - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)


@torch.no_grad()
def measure(net: nn.Module, test: Split, number: int) -> dict:
    """All that the two pictures show; `number` is that of the image whose feature maps are drawn."""
    image, layers = test.images[number], peaks(net, test.images)
    result = {"image": image.permute(1, 2, 0), "label": test.labels[number],
              "layers": [field.name for field in layers], "sizes": [field.size for field in layers]}
    for i, (field, measured) in enumerate(layers.items()):
        channels, numbers, patches = strongest(field, test.images, *measured)
        result |= {f"channels_{i}": channels, f"labels_{i}": test.labels[numbers], f"patches_{i}": patches}
    path = stages(net, normalize(image[None]))
    result["stages"] = [f"{field.name}\n{maps.shape[1]} of {field.side}×{field.side}" for field, maps in path]
    return result | {f"maps_{i}": as_bytes(maps[0]) for i, (_, maps) in enumerate(path)}


def mosaic(pictures: np.ndarray, columns: int, side: int = 64) -> np.ndarray:
    """One picture of (N, s, s, 3) pictures, uint8, row by row, each enlarged to about `side` pixels."""
    factor = max(1, side // pictures.shape[1])
    pictures = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = -len(pictures) % columns
    full = np.pad(pictures, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    return contact_sheet(full.reshape(-1, columns, *pictures.shape[1:]), border=4)


def readable(layer: str) -> str:
    """"group 2, convolution 1" for CifarNet's "groups.1.convs.0"; other names as they are."""
    if layer == "stem":
        return "first layer"
    numbers = re.fullmatch(r"groups\.(\d)\.convs\.(\d)", layer)
    return "group {}, convolution {}".format(*(int(n) + 1 for n in numbers.groups())) if numbers else layer


def draw_patches(data: dict):
    """What excites a channel: the nine test images in which its highest response is the largest, cut to what
    that one unit sees. A row a layer, the last of each group (of other nets: one at each resolution); the six
    channels whose nine peaks exceed their mean response by the largest factor. Below a channel's number
    stands the commonest class of the nine images. Grey lies beyond the edge of an image. A unit's receptive
    field is an upper limit: what its edge adds is small (Luo et al. 2016, arXiv 1701.04128), the more so
    where it exceeds the image. The picture shows peaks alone; a channel may answer to other things as
    well."""
    figure, axes = plt.subplots(len(data["layers"]), CHANNELS, squeeze=False,
                                figsize=(9.5, 0.5 + 1.95 * len(data["layers"])))
    for axis in axes.flat:
        axis.axis("off")
    for i, (row, name, size) in enumerate(zip(axes, data["layers"], data["sizes"], strict=True)):
        for axis, channel, patches, labels in zip(row, data[f"channels_{i}"], data[f"patches_{i}"],
                                                  data[f"labels_{i}"], strict=False):
            axis.imshow(mosaic(patches, columns=3))
            (label, count), = Counter(labels.tolist()).most_common(1)
            axis.set_title(f"channel {channel}\n{count} of {len(labels)}: {CLASSES[label]}", fontsize=9)
        seen = f"{size}×{size} pixels" if size < data["image"].shape[0] else "the whole image"
        row[0].text(-0.06, 0.5, f"{readable(name)}\nsees {seen}", transform=row[0].transAxes, rotation=90,
                    ha="right", va="center", fontsize=9)
    return figure


def draw_feature_maps(data: dict):
    """A test image on its way through the net: the output of each convolution after norm, activation and
    pooling, as the next one gets it; the twelve channels of the highest peak, dark is low, bright is
    high, one scale a row. Left: the layer, how many channels it has, and the pixels of each. The other
    channels, and what the next layer makes of their sum, are not shown."""
    rows = [data["image"][None],
            *(data[f"maps_{i}"][..., None].repeat(3, axis=3) for i in range(len(data["stages"])))]
    names = [f"test image {data['about']['image']}\n({CLASSES[data['label']]})", *data["stages"]]
    figure, axes = plt.subplots(len(rows), 1, figsize=(9.5, 0.72 * len(rows)))
    for axis, pictures, name in zip(axes, rows, names, strict=True):
        layer, _, size = name.partition("\n")
        axis.imshow(mosaic(pictures, columns=MAPS))
        axis.set_yticks([axis.get_ylim()[0] / 2], [f"{readable(layer)}\n{size}"], fontsize=9)
        axis.set_anchor("W")  # else the layout takes the names to reach less far
        axis.tick_params(length=0, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.grid(visible=False)
    return figure


def main() -> None:
    parser = picture_parser(__doc__)
    parser.add_argument("--image", type=int, default=7, help="number of the test image")
    args = parser.parse_args()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    test = load_cifar10(args.data_dir)[1].to(device)
    if not 0 <= args.image < len(test.labels):
        raise UserError(f"--image takes 0 to {len(test.labels) - 1}, not {args.image}")
    data = computed(args.results / "patches.npz", made_from(path, args.data_dir, image=args.image),
                    lambda: measure(net, test, args.image))
    print(path)
    for name, draw in (("feature_maps", draw_feature_maps), ("patches", draw_patches)):
        save_figure(draw(data), args.out / f"{name}.png")
        print(f"picture    {args.out / name}.png")


if __name__ == "__main__":
    run_main(main)
