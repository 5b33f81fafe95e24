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
    runs/landscape/<net>-s<seed>/   last.pt and path.npz (float16 weights of every 10th step) of a small net

Numbers are kept row by row: a kill costs one, the same command goes on. Those of the same weights and
settings are only drawn again.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.draw_landscape import draw_compare, draw_contours, draw_path, draw_surface
from codes.loss_landscape import (
    displaced,
    fill,
    filter_normalized,
    flat,
    for_landscape,
    loss_at,
    principal_plane,
    top_eigenvalue,
    unflat,
)
from codes.networks import restore
from codes.settings import count, positive
from codes.studies import BASES
from codes.trainer import Trainer
from VGG_BatchNorm.figures import save_figure
from VGG_BatchNorm.loaders import DATA_DIR, Split, data_checksum, load_cifar10, normalize, split_validation
from VGG_BatchNorm.probes import Batch, trainable
from VGG_BatchNorm.runs import (
    FIGURES_DIR,
    RESULTS_DIR,
    ROOT,
    RUNS_DIR,
    UserError,
    atomic_write,
    environment,
    find_checkpoint,
    keep_freed_memory,
    load_checkpoint,
    pick_device,
    run_main,
)

HESSIAN_IMAGES, ITERATIONS = 200, 60  # of the power iteration, at most
EVERY = 10  # steps between two points of a path
NETS = {  # of --compare: what a picture calls it, and the changes to the base `quick`
    "plain": ("neither", {"norm": "none"}),
    "residual": ("residual connections", {"norm": "none", "residual": True}),
    "batch_norm": ("batch norm", {}),
    "batch_norm_residual": ("both", {"residual": True}),
}


def about_checkpoint(ckpt: Path, checkpoint: dict) -> dict:
    """Its network, its path (in the repository, else the bare name) and the start of its SHA-1."""
    shown = ckpt.resolve()
    shown = shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else shown.name
    widths = ", ".join(map(str, checkpoint["config"].get("widths", ())))
    return {"network": f"{checkpoint['network']} {widths}".strip(), "checkpoint": str(shown),
            "sha1": hashlib.sha1(ckpt.read_bytes()).hexdigest()[:10]}


def compute_plane(path: Path, ckpt: Path, batch: Batch, common: dict, frozen: bool = False) -> dict:
    """Loss along two random directions from the weights in `ckpt`, and the Hessian's top eigenvalue there.

    Args:
        common: what all planes of a call share (see `main`).
        frozen: leave the batch-norm statistics as they are in `ckpt`.
    """
    checkpoint = load_checkpoint(ckpt)
    net = for_landscape(restore(checkpoint).to(batch[0].device), frozen)
    centre, draw = trainable(net), torch.Generator().manual_seed(common["seed"])
    across, up = filter_normalized(centre, draw), filter_normalized(centre, draw)
    half = common["points"] // 2
    ticks = common["span"] * np.arange(-half, half + 1) / half  # 0 is exact

    def first() -> dict:
        point = {name: p.clone().requires_grad_() for name, p in centre.items()}
        few = tuple(part[:common["hessian_images"]] for part in batch)
        value, residual = top_eigenvalue(lambda: loss_at(net, point, few), list(point.values()), draw,
                                         common["iterations"])
        return dict(eigenvalue=value, residual=residual, environment=json.dumps(environment(few[0].device)))

    about = {**about_checkpoint(ckpt, checkpoint), **common, "frozen": frozen}
    return fill(path, about, ticks, ticks,
                lambda x, y: loss_at(net, displaced(centre, (x, across), (y, up)), batch).item(), first)


class PathTrainer(Trainer):
    """A `Trainer` that keeps the trained weights of every `EVERY`-th step in `path`, float16."""

    def __init__(self, *args):
        super().__init__(*args)
        self.names, self.path = list(trainable(self.net)), []

    def keep(self) -> None:
        weights = dict(self.net.named_parameters())
        self.path.append(flat(weights[name].detach() for name in self.names).half().cpu())

    def step(self, x: torch.Tensor, y: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number % EVERY == 0:
            self.keep()
        return super().step(x, y, number)


def small_net(name: str, train: Split, common: dict) -> Path:
    """Checkpoint of a net of NETS, its path.npz beside it; trained now if it is not there."""
    base, device = BASES["quick"], train.labels.device
    settings = base | NETS[name][1] | {"seed": common["seed"], "amp": device.type == "cuda",
                                       "data_md5": common["data_md5"], "every": EVERY}
    if settings["norm"] == "none":  # all three rates: see codes/studies.py, `_components`
        settings |= {rate: float(f"{base[rate] / 9:.2g}") for rate in ("lr", "bias_lr", "head_lr")}
    ckpt = RUNS_DIR / "landscape" / f"{name}-s{common['seed']}" / "last.pt"
    if not ckpt.exists() or load_checkpoint(ckpt).get("settings") != settings:
        print(f"training the net {name}: {settings['epochs']} epochs", flush=True)
        trainer = PathTrainer(settings, train, device)
        while trainer.epoch < trainer.epochs:
            trainer.train_epoch()
        trainer.keep()
        with atomic_write(ckpt.with_name("path.npz")) as file:
            np.savez(file, weights=torch.stack(trainer.path).numpy())
        trainer.save(ckpt)  # after the path: where it is, the path is too
    return ckpt


def read_path(path: Path) -> torch.Tensor:
    """(K, P) float16 weights that `small_net` kept."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file["weights"])
    except Exception:
        raise UserError(f"{path} is missing or damaged; delete {path.parent} and run again") from None


def compute_path(path: Path, ckpt: Path, batch: Batch, common: dict) -> dict:
    """Loss in the principal plane of the weights that `small_net` kept beside `ckpt`, and their way in it."""
    checkpoint, weights = load_checkpoint(ckpt), read_path(ckpt.with_name("path.npz"))
    net = for_landscape(restore(checkpoint).to(batch[0].device))
    directions, coordinates, explained = principal_plane(weights)
    end, across, up = (unflat(vector, trainable(net)) for vector in (weights[-1], *directions))
    xs, ys = (around(along, common["points"]) for along in coordinates.T.numpy())

    def first() -> dict:
        return dict(coordinates=coordinates.numpy(), explained=explained.numpy(),
                    environment=json.dumps(environment(batch[0].device)))

    about = {**about_checkpoint(ckpt, checkpoint), **common, "every": EVERY}
    return fill(path, about, xs, ys,
                lambda x, y: loss_at(net, displaced(end, (x, across), (y, up)), batch).item(), first)


def around(values: np.ndarray, points: int) -> np.ndarray:
    """Evenly spaced ticks that hold `values` and a fifth of their range on either side."""
    margin = 0.2 * np.ptp(values) or 1.0
    return np.linspace(values.min() - margin, values.max() + margin, points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    kind = parser.add_mutually_exclusive_group()
    parser.add_argument("--ckpt", nargs="?", help="default: the newest run, else the shipped weights")
    kind.add_argument("--frozen", action="store_true", help="also with batch-norm statistics frozen")
    kind.add_argument("--compare", action="store_true", help="four small nets instead of --ckpt")
    kind.add_argument("--path", action="store_true", help="the training path of a small net instead")
    parser.add_argument("--n-items", type=count, default=400, help="training images the loss is taken of")
    parser.add_argument("--points", type=int, choices=range(3, 202, 2), metavar="N", default=21,
                        help="of the grid, along each direction; odd")
    parser.add_argument("--span", type=positive, default=1.0, help="of random directions, to either side")
    parser.add_argument("--seed", type=count, default=0, help="of directions and small nets")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=RESULTS_DIR / "landscape",
                        help="folder of the numbers")
    parser.add_argument("--out", type=Path, default=FIGURES_DIR / "landscape", help="folder of the pictures")
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    common = dict(data_md5=data_checksum(args.data_dir), n_items=args.n_items, hessian_images=HESSIAN_IMAGES,
                  iterations=ITERATIONS, points=args.points, span=args.span, seed=args.seed)
    train = split_validation(load_cifar10(args.data_dir)[0])[0].to(device)  # every net was trained on these
    if not 2 <= args.n_items <= len(train.labels):
        raise UserError(f"--n-items takes 2 to {len(train.labels)}, not {args.n_items}")
    some = train.take(slice(args.n_items))
    batch = normalize(some.images), some.labels
    if args.compare:
        planes = {}
        for name, (label, _) in NETS.items():
            ckpt = small_net(name, train, common)
            planes[label] = compute_plane(args.results / f"compare_{name}.npz", ckpt, batch, common)
        pictures = {"compare": draw_compare(planes)}
    elif args.path:
        ckpt = small_net("batch_norm", train, common)
        pictures = {"path": draw_path(compute_path(args.results / "path.npz", ckpt, batch, common))}
    else:
        ckpt = find_checkpoint(args.ckpt)
        planes = [compute_plane(args.results / "plane.npz", ckpt, batch, common)]
        if args.frozen:
            planes.append(compute_plane(args.results / "plane_frozen.npz", ckpt, batch, common, frozen=True))
        pictures = {"surface": draw_surface(planes[0]), "contour": draw_contours(planes)}
        print(ckpt)
    for name, figure in pictures.items():
        save_figure(figure, args.out / f"{name}.png")
        print(f"picture    {args.out / name}.png")


if __name__ == "__main__":
    run_main(main)
