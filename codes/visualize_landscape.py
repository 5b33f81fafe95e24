"""Draw the loss landscape around trained weights:

    python codes/visualize_landscape.py --ckpt runs/strong-s0/last.pt    # 3 minutes on two CPU cores
    python codes/visualize_landscape.py --frozen     # beside it, with frozen batch-norm statistics: 6
    python codes/visualize_landscape.py --compare    # four small nets, trained for it: 4
    python codes/visualize_landscape.py --path       # the path of one of them in its own plane: 1

The loss is cross-entropy (nats) on the first --n-items training images, 32×32, in evaluation mode, with
batch-norm statistics recomputed at each point, on a grid in a plane through the weights: along two random
directions whose filters are as long as the net's own (Li et al. 2018, arXiv 1712.09913), or, with --path,
along the two principal directions of the weights during training. In the title: the top eigenvalue of the
Hessian, by power iteration. The net itself is left as it is. Leaves

    reports/results/landscape/   plane.npz, plane_frozen.npz, compare_<net>.npz, path.npz: the numbers
    reports/figures/landscape/   surface.png, contour.png, compare.png, path.png
    runs/small/                  the small nets (small_nets.py), which are trained if they are not there

Numbers are kept row by row: a kill costs one, the same command goes on. Those of the same weights and
settings are only drawn again.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import made_from, picture_parser
from codes.draw_landscape import draw_compare, draw_contours, draw_path, draw_surface
from codes.insight.loss_landscape import (
    displaced,
    fill,
    filter_normalized,
    for_landscape,
    loss_at,
    principal_plane,
    top_eigenvalue,
    unflat,
)
from codes.insight.small_nets import NETS, net_settings, read_path, small_net
from codes.networks import restore
from codes.settings import count, positive
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import data_checksum, load_cifar10, normalize, split_validation
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR
from VGG_BatchNorm.ground.machine import environment, keep_freed_memory, pick_device
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import save_figure
from VGG_BatchNorm.probes import Batch, trainable

HESSIAN_IMAGES, ITERATIONS = 200, 60  # of the power iteration, at most
COMPARED = ("plain", "residual", "batch_norm", "batch_norm_residual")  # nets of small_nets.py


def shown_name(network: str, widths: Sequence[int] = ()) -> str:
    return f"{network} {', '.join(map(str, widths))}".strip()


def random_plane(ckpt: Path, batch: Batch, common: dict, frozen: bool = False) -> tuple:
    """For `fill`: two random directions from the weights in `ckpt`; the Hessian's top eigenvalue there.

    Args:
        common: what all planes of a call share (see `main`).
        frozen: leave the batch-norm statistics as they are in `ckpt`.
    """
    net = for_landscape(restore(load_checkpoint(ckpt)).to(batch[0].device), frozen)
    centre, draw = trainable(net), torch.Generator().manual_seed(common["seed"])
    across, up = filter_normalized(centre, draw), filter_normalized(centre, draw)
    half = common["points"] // 2
    ticks = common["span"] * np.arange(-half, half + 1) / half  # 0 is exact

    def loss(x: float, y: float) -> float:
        return loss_at(net, displaced(centre, (x, across), (y, up)), batch).item()

    def first() -> dict:
        point = {name: p.clone().requires_grad_() for name, p in centre.items()}
        few = tuple(part[:common["hessian_images"]] for part in batch)
        value, residual = top_eigenvalue(lambda: loss_at(net, point, few), list(point.values()), draw,
                                         common["iterations"])
        return dict(eigenvalue=value, residual=residual, environment=json.dumps(environment(few[0].device)))

    return ticks, ticks, loss, first


def path_plane(ckpt: Path, batch: Batch, common: dict) -> tuple:
    """For `fill`: the principal plane of the weights that `small_net` kept, and their way in it."""
    weights = read_path(ckpt)
    net = for_landscape(restore(load_checkpoint(ckpt)).to(batch[0].device))
    directions, coordinates, explained = principal_plane(weights)
    end, across, up = (unflat(vector, trainable(net)) for vector in (weights[-1], *directions))
    xs, ys = (around(along, common["points"]) for along in coordinates.T.numpy())

    def loss(x: float, y: float) -> float:
        return loss_at(net, displaced(end, (x, across), (y, up)), batch).item()

    return xs, ys, loss, lambda: dict(coordinates=coordinates.numpy(), explained=explained.numpy(),
                                      environment=json.dumps(environment(batch[0].device)))


def around(values: np.ndarray, points: int) -> np.ndarray:
    """Evenly spaced ticks that hold `values` and a fifth of their range on either side."""
    margin = 0.2 * np.ptp(values) or 1.0
    return np.linspace(values.min() - margin, values.max() + margin, points)


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "landscape", FIGURES_DIR / "landscape")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--frozen", action="store_true", help="also with batch-norm statistics frozen")
    kind.add_argument("--compare", action="store_true", help="four small nets instead of --ckpt")
    kind.add_argument("--path", action="store_true", help="the training path of a small net instead")
    parser.add_argument("--n-items", type=count, default=400, help="training images the loss is taken of")
    parser.add_argument("--points", type=int, choices=range(3, 202, 2), metavar="N", default=21,
                        help="of the grid, along each direction; odd")
    parser.add_argument("--span", type=positive, default=1.0, help="of random directions, to either side")
    parser.add_argument("--seed", type=count, default=0, help="of directions and small nets")
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    common = dict(n_items=args.n_items, hessian_images=HESSIAN_IMAGES, iterations=ITERATIONS,
                  points=args.points, span=args.span, seed=args.seed)
    train = split_validation(load_cifar10(args.data_dir)[0])[0].to(device)  # every net was trained on these
    if not 2 <= args.n_items <= len(train.labels):
        raise UserError(f"--n-items takes 2 to {len(train.labels)}, not {args.n_items}")
    some = train.take(slice(args.n_items))
    batch = normalize(some.images), some.labels

    def small_plane(name: str, file: str, plane: Callable[..., tuple]) -> dict:
        """Of a net of NETS, which is trained only if the plane is not there."""
        settings = net_settings(name, args.seed, data_checksum(args.data_dir))
        about = {"network": shown_name("cifarnet", settings["widths"]), "settings": settings, **common}
        return fill(args.results / file, about, lambda: plane(
            small_net(name, args.seed, train, settings["data_md5"]), batch, common))

    if args.compare:
        pictures = {"compare": draw_compare({
            NETS[name][0]: small_plane(name, f"compare_{name}.npz", random_plane) for name in COMPARED})}
    elif args.path:
        pictures = {"path": draw_path(small_plane("batch_norm", "path.npz", path_plane))}
    else:
        ckpt, planes = find_checkpoint(args.ckpt), []
        checkpoint = load_checkpoint(ckpt)
        name = shown_name(checkpoint["network"], checkpoint["config"].get("widths", ()))
        for file, frozen in (("plane.npz", False), ("plane_frozen.npz", True))[:1 + args.frozen]:
            about = {"network": name, **made_from(ckpt, args.data_dir), **common, "frozen": frozen}
            planes.append(fill(args.results / file, about,
                               lambda frozen=frozen: random_plane(ckpt, batch, common, frozen)))
        pictures = {"surface": draw_surface(planes[0]), "contour": draw_contours(planes)}
        print(ckpt)
    for name, figure in pictures.items():
        save_figure(figure, args.out / f"{name}.png")
        print(f"picture    {args.out / name}.png")


if __name__ == "__main__":
    run_main(main)
