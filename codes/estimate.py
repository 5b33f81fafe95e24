"""How long a run will take, before it begins."""

import dataclasses
import time
from collections import Counter

import torch

from codes.losses import soft_targets
from codes.schedule import image_size
from codes.settings import Settings
from codes.trainer import Trainer
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.loaders import resize


def expected_seconds(settings: Settings, train: Split, device: torch.device) -> float:
    """Return the seconds that the run will take, from parts of a step of one that is thrown away.

    Of each image size, one part of the batch is timed after another that is not; so is the proxy.
    """
    trainer = Trainer(dataclasses.replace(settings, compile=False), train, device)
    x, y = next(trainer.loader.epoch(0))
    total, targets = 0.0, soft_targets(y, 10)
    for run in filter(None, (trainer, trainer.proxy)):
        images = Counter()
        for number in range(run.steps):
            images[image_size(number, run.steps, run.settings)] += run.images_kept(number)
        part = min(settings.micro_batch or 200, len(x))
        for size, seen in images.items():
            for _ in range(2):
                start = time.perf_counter()
                sums, _ = run.forward_backward(resize(x[:part], size), y[:part], targets[:part],
                                               part)
                sums[0].item()  # waits for the device
                seconds = time.perf_counter() - start
            total += seconds * seen / part
        start = time.perf_counter()
        run.update(0)
        total += run.steps * (time.perf_counter() - start)
    return total
