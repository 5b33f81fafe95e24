"""What a training step costs, whatever the machine: floating-point operations."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from VGG_BatchNorm.ground.script import UserError


def training_flops(net: nn.Module, size: int = 32) -> int:
    """Return FLOPs (2 a multiply-add) of forward and backward for one image of `size` × `size`.

    What is frozen in `net` needs no gradient, nor do layers before it. Counted on direct
    convolutions, whatever algorithm computes them, and on torch's "meta" device, where shapes flow
    but nothing is computed.

    Raises:
        UserError: the net pools images of this size away.
    """
    net = copy.deepcopy(net).to("meta").train()
    with FlopCounterMode(display=False) as counter:
        try:
            net(torch.zeros(2, 3, size, size, device="meta")).sum().backward()
        except RuntimeError as error:
            raise UserError(f"the network cannot take images of {size}×{size}: {error}") from None
    return counter.get_total_flops() // 2
