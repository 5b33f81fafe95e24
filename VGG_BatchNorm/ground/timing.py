"""What work costs: FLOPs of a training step; stop-watches, and a matrix product's rate beside them.

No time from here enters a training run: a result does not depend on how busy the machine was."""

import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from VGG_BatchNorm.ground.script import UserError


def training_flops(net: nn.Module, size: int = 32) -> int:
    """Return FLOPs (2 a multiply-add) of forward and backward for one image of `size` × `size`.

    What is frozen in `net` needs no gradient, nor do layers before it. Counted on direct
    convolutions, whatever algorithm computes them, and on torch's "meta" device, where shapes flow
    but nothing is computed. Raises UserError: the net pools images of this size away."""
    net = copy.deepcopy(net).to("meta").train()
    with FlopCounterMode(display=False) as counter:
        try:
            net(torch.zeros(2, 3, size, size, device="meta")).sum().backward()
        except RuntimeError as error:
            raise UserError(f"the network cannot take images of {size}×{size}: {error}") from None
    return counter.get_total_flops() // 2


def best_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Return the seconds of the shortest of `repeats` calls, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def gemm_rate(device: torch.device, repeats: int, precision: str = "float32",
              n: int = 2048) -> float:
    """Return the FLOP/s of an n×n×n matrix product (GEMM), of the faster of two ways.

    As torch.mm and as a 1×1 convolution, which may come from another library."""
    a, b, out = (torch.randn(n, n, device=device).to(getattr(torch, precision)) for _ in range(3))
    pixels, filters = a.view(1, n, 1, n).permute(0, 3, 1, 2), b.view(n, n, 1, 1)
    return 2 * n**3 / min(best_seconds(lambda: torch.mm(a, b, out=out), 5 * repeats, device),
                          best_seconds(lambda: F.conv2d(pixels, filters), 5 * repeats, device))
