"""Draw which pixels made the network say what it says, for right answers and for mistakes:

    python codes/visualize_attribution.py --ckpt reports/models/cifarnet.pt

Three methods (attribution.py) on test images that a rule chooses. Leaves attribution.png in
reports/figures/, and what it is drawn from in reports/results/attribution.npz: the same checkpoint and
data are drawn from there. A quarter of a minute on two CPU cores.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import computed, made_from, picture_parser
from codes.insight.attribution import grad_cam, integrated_gradients, last_maps, occlusion
from codes.networks import restore
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, Split, load_cifar10, normalize
from VGG_BatchNorm.ground.files import FIGURES_DIR
from VGG_BatchNorm.ground.machine import keep_freed_memory, pick_device
from VGG_BatchNorm.ground.predictions import predict
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import plt, save_figure

ROWS, SIZE, STRIDE = 5, 6, 2  # classes; side and step of the square in pixels
DIVERGING = "RdBu_r"


def choose_images(logits: torch.Tensor, labels: torch.Tensor, rows: int = ROWS) -> torch.Tensor:
    """Numbers (rows, 2) of the most confident right answer and the most confident mistake of a class.

    The classes are those whose mistakes are the most confident, in this order; −1 where a class has no
    right answer, or no mistake.
    """
    confidence, predicted = logits.softmax(1).max(1)
    of_class = labels == torch.arange(logits.shape[1], device=labels.device)[:, None]  # (classes, N)
    columns = [torch.where(of_class & kind, confidence, -1.0).max(1)
               for kind in (predicted == labels, predicted != labels)]
    numbers = torch.stack([best.indices.masked_fill(best.values < 0, -1) for best in columns], 1)
    return numbers[columns[1].values.argsort(descending=True)[:rows]]


def measure(net: nn.Module, test: Split) -> dict:
    """The images chosen, row by row, right answers before mistakes, and their three explanations."""
    logits = predict(net, test)
    numbers = choose_images(logits, test.labels).flatten()
    images, labels = test.take(numbers)  # −1, the last image, is not drawn
    confidence, said = logits[numbers].softmax(1).max(1)
    x = normalize(images)
    added = integrated_gradients(net, x, said)
    with torch.no_grad():
        gain = (net(x) - net(torch.zeros_like(x))).gather(1, said[:, None])[:, 0]
    return {"numbers": numbers, "labels": labels, "said": said, "confidence": confidence,
            "images": images.permute(0, 2, 3, 1), "grad_cam": grad_cam(net, x, said, last_maps(net, x)),
            "integrated_gradients": added.sum(1), "occlusion": occlusion(net, x, said, SIZE, STRIDE),
            "gain": gain, "sum": added.sum((1, 2, 3))}


def draw_row(axes, data: dict, i: int) -> None:
    """Image number `i` of the data and its three explanations."""
    image, cam = data["images"][i], data["grad_cam"][i]
    edges = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes[0].imshow(image)
    axes[1].imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    axes[1].imshow(cam, cmap="inferno", alpha=0.6, interpolation="bilinear", extent=edges)
    for axis, name, share, first, step in ((axes[2], "integrated_gradients", 0.99, 0, 1),
                                           (axes[3], "occlusion", 1.0, (SIZE - STRIDE) / 2, STRIDE)):
        values = data[name][i]
        limit = max(np.quantile(abs(values), share), 1e-12)
        low, high = first - 0.5, first - 0.5 + step * len(values)
        axis.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(low, high, high, low))
    for axis in axes:
        axis.set(xlim=edges[:2], ylim=edges[2:])
    axes[0].text(-0.08, 0.5, f"true: {CLASSES[data['labels'][i]]}\nsaid: {CLASSES[data['said'][i]]}\n"
                 f"{100 * data['confidence'][i]:.0f} %", transform=axes[0].transAxes, ha="right", va="center",
                 fontsize=10)


def draw_attribution(data: dict):
    """Which pixels speak for the class that the net said. A row a class: left the test image of this class
    that it gets right with the most confidence, right its most confident mistake; the classes are those
    whose mistakes are the most confident. All of this is chosen by that rule, one view an image.
    Grad-CAM (Selvaraju et al. 2017), bright: the maps behind the last convolution, weighted by what they
    add to the logit, negative sums cut off, and blurred, as they have few pixels. CifarNet ends in
    global max pooling and a linear layer: a map's weight is then its weight in the head whatever the
    image, and of all that is bright in a map, only its brightest pixel has entered the logit.
    Integrated gradients (Sundararajan et al. 2017): what each pixel adds to the logit, summed over the
    colours, on the way from the mean colour to the image. Occlusion (Zeiler & Fergus 2014): by how much
    the logit falls when the mean colour covers the 6×6 pixels around a point. Red speaks for the class,
    blue against it; each picture has its own scale, on which the largest hundredth of the integrated
    gradients is cut off. None of them says what the net would need to see to say something else, and a
    patch of the mean colour is not a natural image either."""
    rows = len(data["numbers"]) // 2
    figure = plt.figure(figsize=(11.5, 0.9 + 1.25 * rows))
    for side, half in enumerate(figure.subfigures(1, 2, wspace=0.04)):
        axes = half.subplots(rows, 4, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, title in zip(axes[0], ("image", "Grad-CAM", "integrated\ngradients", "occlusion"),
                               strict=True):
            axis.set_title(title, fontsize=10)
        for row, line in enumerate(axes):
            if data["numbers"][2 * row + side] >= 0:
                draw_row(line, data, 2 * row + side)
        colours = plt.cm.ScalarMappable(norm=plt.Normalize(-1, 1), cmap=DIVERGING)
        bar = half.colorbar(colours, ax=list(axes.flat), location="bottom", shrink=0.5, aspect=40)
        bar.set_ticks([-1, 0, 1], labels=["against what it said", "0", "for it"])
        half.suptitle(("the most confident right answer of a class", "its most confident mistake")[side],
                      fontsize=11)
    return figure


def main() -> None:
    args = picture_parser(__doc__, out=FIGURES_DIR / "attribution.png").parse_args()
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    test = load_cifar10(args.data_dir)[1].to(device)
    data = computed(args.results / "attribution.npz", made_from(path, args.data_dir),
                    lambda: measure(net, test))
    missed = abs(data["sum"] - data["gain"]) / abs(data["gain"]).clip(1e-12)
    save_figure(draw_attribution(data), args.out)
    print(f"{path}\nintegrated gradients miss their sum by {100 * np.median(missed):.1f} % (median), "
          f"{100 * missed.max():.1f} % at most\npicture    {args.out}")


if __name__ == "__main__":
    run_main(main)
