"""Draw the loss landscape around trained weights:

    python codes/visualize_landscape.py --ckpt runs/strong-s0/last.pt  # 3 minutes on two CPU cores
    python codes/visualize_landscape.py --frozen    # also with frozen batch-norm statistics: 6
    python codes/visualize_landscape.py --compare   # four small nets, trained for it: 4
    python codes/visualize_landscape.py --path      # the path of one of them in its own plane: 1

The loss is cross-entropy (nats) on the first --n-items training images, 32×32, in evaluation mode,
with batch-norm statistics recomputed at each point, on a grid in a plane through the weights: along
two random directions whose filters are as long as the net's own (Li et al. 2018, arXiv 1712.09913),
or, with --path, along the two principal directions of the weights during training. In the title:
the top eigenvalue of the Hessian, by power iteration. The net itself is left as it is. Leaves

    reports/results/landscape/   numbers: plane.npz, plane_frozen.npz, compare_<net>.npz, path.npz
    reports/figures/landscape/   surface.png, contour.png, compare.png, path.png
    runs/small/                  the small nets (insight/small_nets.py), trained if not there

Numbers are kept row by row: a kill costs one, the same command goes on. Those of the same weights
and settings are only drawn again, a frozen plane of these, too; one of others is deleted."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.landscape import COMPARED, draw_compare, draw_contours, draw_path, draw_surface
from codes.insight.loss_landscape import fill, path_plane, random_plane
from codes.insight.measured import deviating, made_from, training_parts
from codes.insight.small_nets import net_settings, opened, read_path, small_net
from codes.open_weights import read_checkpoint, restore
from codes.results.measurements import TOLERANCE
from VGG_BatchNorm.batchnorm import with_running_statistics
from VGG_BatchNorm.ground.checkpoint import find_checkpoint
from VGG_BatchNorm.ground.cifar10 import normalize
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, read_npz
from VGG_BatchNorm.ground.flags import picture_parser, refuse
from VGG_BatchNorm.ground.script import GOES_ON, UserError, count, number, positive, run_main
from VGG_BatchNorm.ground.style import save_figure

HESSIAN = {"hessian_images": 200, "iterations": 60}  # of the power iteration, at most
PATH_OF = "batch_norm"  # a net of insight/small_nets.py


def measure_planes(args) -> list[dict]:
    train, _, md5 = training_parts(args)  # every net was trained on these
    if not 2 <= args.n_items <= len(train.labels):
        raise UserError(f"--n-items takes 2 to {len(train.labels)}, not {args.n_items}")
    some = train.take(slice(args.n_items))
    batch = normalize(some.images), some.labels
    grid = {"n_items": args.n_items, "points": args.points}
    around = grid | HESSIAN | {"span": 1.0 if args.span is None else args.span, "seed": args.seed}

    def about(name: str) -> dict:
        settings = net_settings(name, args.seed, md5)
        return {"network": shown_name("cifarnet", settings["widths"]), "net": settings}

    def around_small_net(name: str, **settings) -> tuple:
        return random_plane(opened(name, about(name)["net"], train), batch, **settings)

    def path_of_small_net(**settings) -> tuple:
        ckpt = small_net(PATH_OF, args.seed, train, md5)
        return path_plane(opened(PATH_OF, about(PATH_OF)["net"], train), read_path(ckpt), batch,
                          **settings)

    if args.path:
        return [fill(args.results / "path.npz", about(PATH_OF), path_of_small_net, **grid)]
    if args.compare:
        return [fill(args.results / f"compare_{name}.npz",
                     about(name) | {"tolerance": TOLERANCE}, partial(around_small_net, name),
                     **around, frozen=False) for name in COMPARED]
    ckpt = find_checkpoint(args.ckpt)
    checkpoint = read_checkpoint(ckpt, args.network)
    net = restore(checkpoint)
    prepare = partial(random_plane, net, batch)
    name = shown_name(checkpoint["network"], checkpoint["config"].get("widths", ()))
    made = {"network": name, **made_from(ckpt, args.data_dir), "tolerance": TOLERANCE}
    if not with_running_statistics(net):
        made["running_statistics"] = False
    frozen = args.results / "plane_frozen.npz"
    if frozen.exists() and deviating(read_npz(frozen)["about"]) != deviating(
            made | {"settings": around | {"frozen": True}}):
        frozen.unlink()  # of other weights, beside whose plane it would be drawn
    planes = [fill(args.results / "plane.npz", made, prepare, **around, frozen=False)]
    if args.frozen or frozen.exists():
        planes.append(fill(frozen, made, prepare, **around, frozen=True))
    print(ckpt)
    return planes


def shown_name(network: str, widths: Sequence[int] = ()) -> str:
    return f"{network} {', '.join(map(str, widths))}".strip()


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "landscape", FIGURES_DIR / "landscape")
    add = parser.add_argument
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--frozen", action="store_true",
                      help="also with batch-norm statistics frozen")
    kind.add_argument("--compare", action="store_true", help="four small nets instead of --ckpt")
    kind.add_argument("--path", action="store_true",
                      help="the training path of a small net instead")
    add("--n-items", type=count, default=400, help="training images the loss is taken of")
    add("--points", type=number(int, "an odd number from 3 to 201",
                               lambda n: n in range(3, 202, 2)), metavar="N", default=21,
        help="of the grid, along each direction; odd")
    add("--span", type=positive, help="of random directions, to either side (default: 1)")
    add("--seed", type=count, default=0, help="of directions and small nets")
    args = parser.parse_args()
    if args.compare or args.path:
        refuse(args, "--compare" if args.compare else "--path", "ckpt", "network")
    if args.path:
        refuse(args, "--path", "span")
    pictures = ({"path": draw_path} if args.path else {"compare": draw_compare} if args.compare
                else {"surface": draw_surface, "contour": draw_contours})
    planes = measure_planes(args)
    for name, draw in pictures.items():
        save_figure(draw(*planes), args.out / f"{name}.png")


if __name__ == "__main__":
    run_main(main, stopped=GOES_ON)
