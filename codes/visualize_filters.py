"""Draw first-layer filters and the feature maps they make: `make filters`, or

    python codes/visualize_filters.py --ckpt runs/strong-s0/last.pt --image 7

Two rows of pictures in one figure: the filters of the first convolution (each scaled to its
own range, grey is 0, sorted by contrast) and what each makes of one test image. For a
whitening net, whose first layer is fixed, the first trained convolution follows below: its
feature maps alone, as its filters have more than three input channels.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.networks import restore
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, DATA_DIR, load_cifar10, normalize
from VGG_BatchNorm.ground.files import FIGURES_DIR
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import plt, save_figure

COLUMNS = 12


@torch.no_grad()
def first_convolutions(net: nn.Module, x: torch.Tensor,
                       count: int = 2) -> list[tuple[str, nn.Conv2d, torch.Tensor]]:
    """(name, layer, output) of the first `count` convolutions for the images x (N, 3, 32, 32)."""
    seen, hooks = [], []
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            hooks.append(layer.register_forward_hook(  # a clone: the ReLU after it may be in place
                lambda layer, _, output, name=name: seen.append((name, layer, output.clone()))))
    net(x)
    for hook in hooks:
        hook.remove()
    return seen[:count]


def as_pictures(filters: torch.Tensor) -> torch.Tensor:
    """(K, 3, h, w) filters to (K, h, w, 3) pictures in [0, 1]: 0 becomes grey, each fills its range."""
    largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return (filters / largest / 2 + 0.5).permute(0, 2, 3, 1)


def draw_rows(figure, pictures: list, title: str, **style) -> None:
    """A grid of small pictures, COLUMNS a row, in a subfigure."""
    rows = -(-len(pictures) // COLUMNS)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, picture in zip(axes, pictures, strict=False):
        axis.imshow(picture.numpy(), **style)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")


def draw_filters(net: nn.Module, image: torch.Tensor, label: int, path: Path) -> None:
    """Filters and feature maps of `net` for one uint8 image (3, 32, 32)."""
    (name, layer, maps), *rest = first_convolutions(net, normalize(image[None]))
    order = layer.weight.detach().std((1, 2, 3)).argsort(descending=True)
    filters = as_pictures(layer.weight.detach()[order])
    blocks = [([image.permute(1, 2, 0)], f"test image: {CLASSES[label]}", {}),
              (list(filters), f"filters of the first convolution ({name}), grey is 0", {}),
              (list(maps[0, order]), f"its feature maps ({name}), dark is low, bright is high",
               {"cmap": "gray"})]
    if not layer.weight.requires_grad or getattr(net, "whiten", False):
        for name, _, maps in rest:
            strongest = maps[0].std((1, 2)).argsort(descending=True)[:2 * COLUMNS]
            blocks.append((list(maps[0, strongest]), "feature maps of the first trained convolution "
                           f"({name}), the {len(strongest)} of most contrast", {"cmap": "gray"}))
    rows = [-(-len(pictures) // COLUMNS) for pictures, _, _ in blocks]
    figure = plt.figure(figsize=(9, 0.78 * sum(rows) + 0.4 * len(rows)))
    for part, (pictures, title, style) in zip(
            figure.subfigures(len(blocks), 1, height_ratios=[r + 0.5 for r in rows]), blocks, strict=True):
        draw_rows(part, pictures, title, **style)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ckpt", nargs="?", help="default: the newest run, else the shipped weights")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--image", type=int, default=7, help="number of the test image")
    parser.add_argument("--out", type=Path, default=FIGURES_DIR / "filters.png", help="the picture")
    args = parser.parse_args()
    path = find_checkpoint(args.ckpt)
    net = restore(load_checkpoint(path))
    test = load_cifar10(args.data_dir)[1]
    if not 0 <= args.image < len(test.labels):
        raise UserError(f"--image takes 0 to {len(test.labels) - 1}, not {args.image}")
    draw_filters(net, test.images[args.image], int(test.labels[args.image]), args.out)
    print(f"{path}\npicture    {args.out}")


if __name__ == "__main__":
    run_main(main)
