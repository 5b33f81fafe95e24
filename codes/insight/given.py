"""The network and the data that the flags of a script name."""

import argparse

from torch import nn

from codes.insight.measured import made_from
from codes.networks import open_network
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10
from VGG_BatchNorm.ground.machine import use_device


def net_and_data(args: argparse.Namespace) -> tuple[dict, nn.Module, Split, Split]:
    """Return what numbers are made from (`made_from`), the net in evaluation mode, and the training and
    the test split, all on the device.

    Args:
        args: with the flags of `codes.figures.flags.picture_parser`: ckpt, data_dir and device.

    Raises:
        UserError: the checkpoint, the data or the device is missing or does not fit.
    """
    device = use_device(args.device)
    path, net = open_network(args.ckpt, device)
    train, test = (split.to(device) for split in load_cifar10(args.data_dir))
    return made_from(path, args.data_dir), net, train, test
