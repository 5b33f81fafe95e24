"""The network and the data that the flags of a script name."""

import argparse

from torch import nn

from codes.insight.measured import made_from
from codes.networks import restore
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10
from VGG_BatchNorm.ground.machine import keep_freed_memory, pick_device


def net_and_data(args: argparse.Namespace) -> tuple[dict, nn.Module, Split, Split]:
    """Return what numbers are made from (`made_from`), the net in evaluation mode, and the training and
    the test split, all on the device.

    Args:
        args: with the flags of `codes.figures.flags.picture_parser`: ckpt, data_dir and device.

    Raises:
        UserError: the checkpoint, the data or the device is missing or does not fit.
    """
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    train, test = (split.to(device) for split in load_cifar10(args.data_dir))
    return made_from(path, args.data_dir), net, train, test
