"""Numbers behind pictures: measured once for a checkpoint, a data set and settings, then read.

    about = made_from(checkpoint, args.data_dir)
    measured(args.results / "patches.npz", about, measure, net, test, image=7, channels=6)

A drawing reads the file alone (`VGG_BatchNorm.ground.files.read_npz`), and the settings with it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from torch import nn

from codes.open_weights import open_network
from codes.settings import DEFAULTS
from VGG_BatchNorm.ground.cifar10 import Split, data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import digest, read_npz, shown_path, write_npz
from VGG_BatchNorm.ground.machine import use_device
from VGG_BatchNorm.ground.script import UserError

KNOWN = DEFAULTS | {  # and what others were in files written before they were recorded
    "grey": 128, "pgd_step": 2.5, "side": 4, "sure_margin": 0.5, "tolerance": 0.05}


def made_from(checkpoint: Path, data_dir: Path, network: str | None = None) -> dict:
    """Return what a result depends on: the checkpoint's path in the repository (elsewhere its name
    alone), the first digits of its SHA-1 and of the data's checksum, and --network where given."""
    return {"checkpoint": shown_path(checkpoint),
            "sha1": digest(checkpoint),
            "data": data_checksum(data_dir)[:10]} | ({"network": network} if network else {})


def net_and_data(args: argparse.Namespace) -> tuple[dict, nn.Module, Split, Split]:
    """Return `made_from` of --ckpt and --data-dir, the net in evaluation mode, and the training and
    the test split, all on --device. Raises UserError: the checkpoint, the data or the device is
    missing or does not fit, or there is no test image of the number --image."""
    device = use_device(args.device)
    path, net = open_network(args.ckpt, device, args.network)
    train, test = (split.to(device) for split in load_cifar10(args.data_dir))
    last = len(test.labels) - 1
    if not 0 <= (getattr(args, "image", None) or 0) <= last:
        raise UserError(f"--image takes 0 to {last}, not {args.image}")
    return made_from(path, args.data_dir, args.network), net, train, test


def training_parts(args: argparse.Namespace) -> tuple[Split, Split, str]:
    """Return the training and the validation images, on --device, and the data's checksum.
    Raises UserError: the data or the device is missing."""
    device, (whole, _) = use_device(args.device), load_cifar10(args.data_dir)
    train, validation = (part.to(device) for part in split_validation(whole))
    return train, validation, data_checksum(args.data_dir)


def deviating(value):
    """Return settings, nested in any way, without those that equal today's defaults. Files are
    compared by these alone, so that one written before a setting existed is not measured again. A
    file that names a setting that is no more is."""
    if isinstance(value, dict):
        return {name: deviating(one) for name, one in value.items()
                if name not in KNOWN or one != KNOWN[name]}
    return [deviating(one) for one in value] if isinstance(value, list) else value


def measured(path: Path, about: dict, measure: Callable[..., dict], *inputs, **settings) -> dict:
    """Return the arrays in the npz file `path` by name, and `about`, which holds the settings too.

    Where the file is missing, or of something else, or of other settings, it is written first, with
    the arrays (tensors, numbers or lists) that `measure(*inputs, **settings)` gives. `about`: what
    the numbers are of, as JSON gives it back (see `made_from`).

    Raises UserError: the file is damaged."""
    about = {**about, "settings": settings}
    held = read_npz(path) if path.exists() else {}
    if deviating(held.get("about")) != deviating(about):
        write_npz(path, about, measure(*inputs, **settings))
        held = read_npz(path)
    return held
