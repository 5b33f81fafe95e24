"""Every setting of `codes/train.py`: its default, the presets, and its flag.

A preset names only what differs from DEFAULTS; a flag overrides both.
"""

import argparse
from pathlib import Path

import torch

from codes.augment import AUGMENTS
from codes.losses import LOSSES
from codes.networks import ACTIVATIONS, NETWORKS, NORMS, POOLS
from VGG_BatchNorm.ground.cifar10 import DATA_DIR
from VGG_BatchNorm.ground.machine import PRECISIONS, pick_precision
from VGG_BatchNorm.ground.script import count, positive

DEFAULTS = dict(
    # the network (codes/networks.py)
    network="cifarnet", widths=(64, 256, 256), depth=2, activation="gelu", norm="batch", pool="max",
    dropout=0.0, residual=False, whiten=True, pool_first=0,
    # the optimizer: one for everything, or for filters, with SGD for the rest (OPTIMIZERS)
    optimizer="muon", lr=0.15, momentum=0.6, nesterov=True, bias_lr=0.053, head_lr=0.67, weight_decay=2e-6,
    warmup=0.0, end_lr=0.0,  # shares of the steps, and of the rate
    average=0.0,  # the weights of the last share of the steps are averaged
    # the loss (codes/losses.py)
    loss="cross_entropy", label_smoothing=0.2, l1=0.0,
    # the data
    epochs=8, batch_size=1000, flip="alternate", translate=2, cutout=0, augment="none",
    micro_batch=0,  # images that go through at a time; 0: the whole batch
    small_size=16, small_share=0.0,  # images of small_size² for the first share of the steps,
    middle_size=24, middle_share=0.0,  # then of middle_size², up to this share
    freeze_share=0.0,  # the first group of convolutions is fixed for the last share of the steps
    whiten_bias_share=0.375,  # the whitening bias is trained for this share of the steps
    precision="float32",  # of convolutions and matrix products; or bfloat16
)

_SGD = dict(lr=0.1, momentum=0.9, weight_decay=5e-4)
OPTIMIZERS = {  # what to start from; own_*: ours (codes/optimizers.py) in place of torch's
    # for the filters, and SGD with bias_lr and head_lr for the rest
    "muon": dict(), "damped_muon": dict(), "damped_muon_constant": dict(),
    "sgd_filters": dict(lr=0.9, momentum=0.9), "adam_filters": dict(lr=9e-3),
    # for everything
    "sgd": _SGD, "own_sgd": _SGD,
    "rmsprop": dict(lr=1e-3, weight_decay=0.0),
    "adam": dict(lr=3e-3, weight_decay=0.0), "own_adam": dict(lr=3e-3, weight_decay=0.0),
    "adamw": dict(lr=3e-3, weight_decay=1e-2), "own_adamw": dict(lr=3e-3, weight_decay=1e-2),
}

PRESETS = {
    "fast": dict(epochs=4, small_share=0.5, micro_batch=200, lr=0.24, whiten_bias_share=0.25),
    "strong": dict(epochs=11, small_share=0.4, micro_batch=250, lr=0.2, whiten_bias_share=0.3),
    "best": dict(widths=(128, 384, 512), depth=3, residual=True, epochs=45, batch_size=1024,
                 lr=0.2, translate=4, cutout=12, whiten_bias_share=0.07),
}
NETWORK_SETTINGS = ("widths", "depth", "activation", "norm", "pool", "dropout", "residual", "whiten", "pool_first")


def widths(text: str) -> tuple[int, ...]:
    return tuple(int(width) for width in text.split(","))


def not_negative(text: str) -> float:
    return float(text) and positive(text)


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def parse_arguments(description: str, argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    yes_no = argparse.BooleanOptionalAction
    run = parser.add_argument_group("the run")
    run.add_argument("--preset", choices=PRESETS, help="default: fast on a CPU, best on a GPU")
    run.add_argument("--seed", type=count, default=0)
    run.add_argument("--out", type=Path, help="run folder")
    run.add_argument("--resume", action="store_true", help="go on with the run in --out, if there is one")
    run.add_argument("--validation", action="store_true", help="hold 5,000 training images out; leave test alone")
    run.add_argument("--data-dir", type=Path, default=DATA_DIR)
    run.add_argument("--device", default="auto")
    run.add_argument("--threads", type=count, help="CPU threads (default: torch's choice)")
    run.add_argument("--precision", choices=PRECISIONS, default="auto",
                     help="of convolutions and matrix products (default: bfloat16 where the hardware has it)")
    run.add_argument("--amp", action="store_const", const="bfloat16", dest="precision",
                     help="the same as --precision bfloat16")
    run.add_argument("--compile", action="store_true", help="torch.compile; pays on a GPU")
    run.add_argument("--n-items", type=count, help="only the first so many training images")
    net = parser.add_argument_group("the network (defaults: the preset's)")
    net.add_argument("--network", choices=NETWORKS)
    net.add_argument("--widths", type=widths, metavar="64,256,256")
    net.add_argument("--depth", type=count)
    net.add_argument("--activation", choices=ACTIVATIONS)
    net.add_argument("--norm", choices=NORMS)
    net.add_argument("--pool", choices=POOLS)
    net.add_argument("--dropout", type=share)
    net.add_argument("--residual", action=yes_no)
    net.add_argument("--whiten", action=yes_no)
    net.add_argument("--pool-first", type=count, metavar="GROUPS")
    opt = parser.add_argument_group("the optimizer (defaults: the preset's)")
    opt.add_argument("--optimizer", choices=OPTIMIZERS)
    opt.add_argument("--epochs", type=positive, help="may be a fraction")
    opt.add_argument("--batch-size", type=count)
    opt.add_argument("--lr", type=positive, help="on the filters, or on everything")
    opt.add_argument("--momentum", type=share)
    opt.add_argument("--nesterov", action=yes_no, help="of sgd")
    opt.add_argument("--bias-lr", type=positive, help="where filters have an optimizer of their own; for one example of the batch")
    opt.add_argument("--head-lr", type=positive, help="likewise")
    opt.add_argument("--weight-decay", type=not_negative, help="for one example; with one optimizer for everything: as torch has it")
    opt.add_argument("--loss", choices=LOSSES)
    opt.add_argument("--label-smoothing", type=share)
    opt.add_argument("--l1", type=not_negative, help="factor of Σ|w| over filters and matrices in the loss")
    opt.add_argument("--warmup", type=share, help="share of the steps")
    opt.add_argument("--end-lr", type=share, help="of the rate, at the last step")
    opt.add_argument("--average", type=share, help="average the weights over the last share of the steps")
    opt.add_argument("--whiten-bias-share", type=share)
    opt.add_argument("--freeze-share", type=share)
    data = parser.add_argument_group("the data (defaults: the preset's)")
    data.add_argument("--micro-batch", type=count, help="images that go through at a time; 0: the whole batch")
    data.add_argument("--flip", choices=("none", "random", "alternate"))
    data.add_argument("--translate", type=int, choices=range(16), metavar="PIXELS")
    data.add_argument("--cutout", type=int, choices=range(32), metavar="PIXELS")
    data.add_argument("--augment", choices=AUGMENTS, help="further augmentation, by torchvision")
    data.add_argument("--small-size", type=int, choices=range(8, 33), metavar="PIXELS")
    data.add_argument("--small-share", type=share)
    data.add_argument("--middle-size", type=int, choices=range(8, 33), metavar="PIXELS")
    data.add_argument("--middle-share", type=share)
    return parser.parse_args(argv)


def choose_settings(args: argparse.Namespace, device: torch.device) -> dict:
    """DEFAULTS, overridden by the preset, by the optimizer's own rates, and by the flags.

    Muon is tuned for CifarNet; the VGG nets start from sgd, on images of full size.
    """
    preset = args.preset or ("fast" if device.type == "cpu" else "best")
    flags = {name: value for name, value in vars(args).items() if name in DEFAULTS and value is not None}
    chosen = {**DEFAULTS, **PRESETS[preset]}
    optimizer = args.optimizer or ("muon" if args.network in (None, "cifarnet") else "sgd")
    full_size = {} if args.network in (None, "cifarnet") else {"small_share": 0.0, "middle_share": 0.0}
    chosen |= {"optimizer": optimizer, **OPTIMIZERS[optimizer], **full_size, **flags}
    chosen["widths"] = list(chosen["widths"])  # as JSON gives it back
    return dict(preset=preset, seed=args.seed, validation=args.validation, n_items=args.n_items,
                compile=args.compile, **chosen | {"precision": pick_precision(args.precision, device)})


def network_config(settings: dict) -> dict:
    """The arguments of `build` for these settings; the VGG nets take none."""
    if settings["network"] != "cifarnet":
        return {}
    config = {name: settings[name] for name in NETWORK_SETTINGS}
    return config | {"widths": tuple(config["widths"])}
