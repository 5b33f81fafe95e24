"""Draw what the classifier sees, and how alike the layers of different nets are:

    python codes/visualize_features.py --ckpt reports/models/cifarnet.pt

Leaves in reports/figures/ (and what it draws from in reports/results/features/, computed anew only for
another checkpoint, data set or number of images):

    features.png    test images by the input of the last layer: two principal components, and t-SNE
    similarity.png  linear CKA (similarity.py) between the convolution blocks of small nets

t-SNE needs scikit-learn; where it is missing, and so are its numbers, that panel is left out. The four
small nets (small_nets.py), with batch norm and without, of two seeds each, are trained at the first
call. Two and a half minutes on two CPU cores, then a few seconds.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import computed, made_from, picture_parser
from codes.insight.loss_landscape import principal_plane
from codes.insight.similarity import cka_matrix, layer_outputs, penultimate
from codes.insight.small_nets import net_settings, small_net
from codes.networks import restore
from codes.settings import count
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import (
    CLASSES,
    Split,
    data_checksum,
    load_cifar10,
    normalize,
    split_validation,
)
from VGG_BatchNorm.ground.files import RESULTS_DIR
from VGG_BatchNorm.ground.machine import keep_freed_memory, pick_device
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import plt, save_figure

COLOURS = ("#56B4E9", "#D55E00", "#0072B2", "#E69F00", "#8C6D00",  # in the order of CLASSES; those of one
           "#CC79A7", "#009E73", "#000000", "#6A3D9A", "#999999")  # marker differ in lightness too
VEHICLES = ("airplane", "automobile", "ship", "truck")
CALLED = {"batch_norm": "batch norm", "plain": "no norm"}
PAIRS = ((("batch_norm", 0), ("batch_norm", 1)), (("plain", 0), ("plain", 1)),
         (("batch_norm", 0), ("plain", 0)))


# --- compute --------------------------------------------------------------------------------


def principal_points(net: nn.Module, test: Split) -> dict:
    """Every test image in the plane of the features' first two principal components."""
    _, points, shares = principal_plane(predict(net, test, penultimate).cpu())
    return {"points": (points - points.mean(0)).float(), "shares": shares, "labels": test.labels}


def neighbour_points(net: nn.Module, some: Split) -> dict:
    """The images by t-SNE (van der Maaten & Hinton 2008) of their features.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.manifold import TSNE  # here: only this panel needs it

    features = predict(net, some, penultimate).cpu().numpy()
    embedding = TSNE(perplexity=min(30, len(features) / 4), init="pca", random_state=0)
    return {"points": embedding.fit_transform(features), "labels": some.labels}


def compare_nets(settings: dict[tuple[str, int], dict], train: Split, x: torch.Tensor) -> dict:
    """CKA (pairs, blocks, blocks) of PAIRS on the images x, and both nets' validation accuracy (pairs, 2)."""
    train, validation = (split.to(x.device) for split in split_validation(train))
    outputs, right = {}, {}
    for (name, seed), one in settings.items():
        net = restore(load_checkpoint(small_net(name, seed, train, one["data_md5"]))).to(x.device)
        outputs[name, seed] = layer_outputs(net, x)
        right[name, seed] = accuracy(predict(net, validation), validation.labels)
    return {"cka": torch.stack([cka_matrix(outputs[a], outputs[b]) for a, b in PAIRS]),
            "accuracy": [[right[a], right[b]] for a, b in PAIRS]}


# --- draw -----------------------------------------------------------------------------------


def apart(centres: np.ndarray, width: float, height: float) -> np.ndarray:
    """The centres (K, 2), some moved up, so that labels of this size around them do not overlap."""
    places, order = centres.copy(), centres[:, 1].argsort()
    for n, i in enumerate(order):
        while (abs(places[order[:n]] - places[i]) < (width, height)).all(1).any():
            places[i, 1] += height / 8
    return places


def draw_classes(axis, points: np.ndarray, labels: np.ndarray) -> None:
    """Points (N, 2) by class, and the classes' names at their medians."""
    present = np.unique(labels)
    for label in present:
        axis.plot(*points[labels == label].T, "^" if CLASSES[label] in VEHICLES else "o", markersize=2.5,
                  color=COLOURS[label], alpha=0.5, markeredgewidth=0)
    centres = np.stack([np.median(points[labels == label], axis=0) for label in present])
    width, height = np.ptp(points, axis=0) * (0.2, 0.06)
    for label, centre, place in zip(present, centres, apart(centres, width, height), strict=True):
        axis.plot(*np.stack([centre, place]).T, color="black", linewidth=0.8)
        axis.text(*place, CLASSES[label], ha="center", va="center", fontsize=10,
                  bbox=dict(boxstyle="round,pad=0.2", facecolor="white", edgecolor=COLOURS[label],
                            linewidth=2, alpha=0.85))


def draw_features(plane: dict, neighbours: dict | None):
    """Test images as the last, linear layer sees them; dots are animals, triangles vehicles, names stand at
    the median of their class (or on a line up from it). Left: along the two directions in which the
    features vary most; the shares on the axes say how much of the variance that is, and classes that overlap
    here may well be apart in the directions left out. Right: t-SNE keeps near images near; what its
    clusters hold means something, but their sizes, the distances between them, and the axes do not."""
    figure, axes = plt.subplots(1, 1 + bool(neighbours), figsize=(5.8 * (1 + bool(neighbours)), 5.4),
                                squeeze=False)
    draw_classes(axes[0, 0], plane["points"], plane["labels"])
    first, second = (f"{100 * share:.0f} % of the variance" for share in plane["shares"])
    axes[0, 0].set(xlabel=f"first principal component ({first})",
                   ylabel=f"second principal component ({second})",
                   title=f"principal components, {len(plane['points']):,} test images")
    if neighbours:
        draw_classes(axes[0, 1], neighbours["points"], neighbours["labels"])
        axes[0, 1].set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[],
                       title=f"t-SNE, {len(neighbours['points']):,} of them")
    return figure


def draw_similarity(data: dict):
    """Which blocks of two nets hold the same images to be alike: linear CKA from 0 (unrelated) to 1 (the same
    but for a rotation and a factor), between all convolution blocks of small nets, trained alike but for the
    seed, or for batch norm (and a ninth of the rates without it). A bright diagonal means that the nets find
    the same stages in the same order. Block 1 is a fixed whitening: there, nets differ by the bias alone,
    which starts alike for a seed. A net's validation accuracy is beside its name; that of the nets without
    norm is lower, and part of the last panel's difference is that. Filters start as the identity, and nets at
    low rates stay nearer to it. CKA is dominated by the few directions of large variance, is above 0 even for
    unrelated features where these have many dimensions, says nothing of how well a net classifies, and is one
    pair of nets a panel here."""
    first = data["about"]["nets"][0]
    figure, axes = plt.subplots(1, len(PAIRS), figsize=(11.5, 4.2))
    blocks = range(data["cka"].shape[1])
    for axis, pair, matrix, right in zip(axes, PAIRS, data["cka"], data["accuracy"], strict=True):
        picture = axis.imshow(matrix, vmin=0, vmax=1, cmap="cividis", origin="lower")
        down, across = (f"block of: {CALLED[name]}, seed {seed} ({100 * share:.0f} %)"
                        for (name, seed), share in zip(pair, right, strict=True))
        axis.set_xlabel(across, fontsize=10)
        axis.set_ylabel(down, fontsize=10)
        axis.set_xticks(blocks, [f"{block + 1}" for block in blocks])
        axis.set_yticks(blocks, [f"{block + 1}" for block in blocks])
        axis.grid(visible=False)
    figure.colorbar(picture, ax=list(axes), label="linear CKA", shrink=0.8)
    figure.suptitle(f"CifarNet {', '.join(map(str, first['widths']))}, {first['epochs']} epochs; "
                    f"{data['about']['images']:,} test images", fontsize=11)
    return figure


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "features")
    parser.add_argument("--n-items", type=count, default=2000, help="test images for t-SNE and CKA")
    args = parser.parse_args()
    if args.n_items < 20:
        raise UserError(f"--n-items takes 20 or more, not {args.n_items}")
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    train, test = load_cifar10(args.data_dir)
    test = test.to(device)
    some = test.take(slice(args.n_items))
    plane = computed(args.results / "principal_components.npz", made_from(path, args.data_dir),
                     lambda: principal_points(net, test))
    try:
        neighbours = computed(args.results / "t_sne.npz", made_from(path, args.data_dir, images=args.n_items),
                              lambda: neighbour_points(net, some))
    except ImportError:
        print("scikit-learn is not installed: features.png is without its t-SNE panel")
        neighbours = None
    names = dict.fromkeys(name for pair in PAIRS for name in pair)
    settings = {name: net_settings(*name, data_checksum(args.data_dir)) for name in names}
    similar = computed(args.results / "similarity.npz",
                       {"nets": list(settings.values()), "images": len(some.labels)},
                       lambda: compare_nets(settings, train, normalize(some.images)))
    save_figure(draw_similarity(similar), args.out / "similarity.png")
    save_figure(draw_features(plane, neighbours), args.out / "features.png")
    print(f"{path}\npicture    {args.out / 'similarity.png'}\npicture    {args.out / 'features.png'}")


if __name__ == "__main__":
    run_main(main)
