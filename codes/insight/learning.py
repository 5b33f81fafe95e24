"""A small net while it learns: its first filters, its path, and how well it does, step by step.

    watch(train, validation, recipe=small_recipe(0, device), frames=40, validation_images=2000)"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from codes.insight.loss_landscape import flat, principal_plane
from codes.settings import Settings
from codes.studies import BASES
from codes.trainer import NotFinite, Trainer
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.ground.predictions import accuracy, predict


def small_recipe(seed: int, device: torch.device) -> dict:
    """Return the base `quick`, but with a trained first layer, and on images of full size."""
    return BASES["quick"] | {"whiten": False, "small_share": 0.0, "seed": seed,
                             "precision": "bfloat16" if device.type == "cuda" else "float32"}


def look_at(net: nn.Module, validation: Split) -> dict:
    """Return its first filters, its trained parameters as one vector, and how well it does."""
    logits = predict(net, validation)
    return {"filters": net.stem.weight.detach().clone().cpu(),
            "weights": flat(p.detach() for p in net.parameters() if p.requires_grad).cpu(),
            "loss": F.cross_entropy(logits, validation.labels).item(),
            "accuracy": accuracy(logits, validation.labels)}


def watch(train: Split, validation: Split, *, recipe: dict, frames: int,
          validation_images: int) -> dict:
    """Train a net, and look at it up to `frames` times, more often at first.

    Args:
        recipe: settings of codes/settings.py.
        validation_images: so many are looked at, the first.

    Returns:
        steps (M,); filters (M, K, 3, 3, 3); loss (nats, without label smoothing) and accuracy (M,);
        path (M, 2), the parameters along their first two principal components, and those' shares of
        the variance (2,)."""
    trainer = Trainer(Settings.from_dict(recipe), train, train.labels.device)
    validation = validation.take(slice(validation_images))
    steps = sorted({round(trainer.steps * (i / (frames - 1)) ** 1.5) for i in range(frames)})
    batches = (batch for epoch in range(trainer.epochs) for batch in trainer.loader.epoch(epoch))
    seen = [look_at(trainer.net, validation)]
    for number, (x, y) in enumerate(itertools.islice(batches, trainer.steps), 1):
        loss, _ = trainer.step(x, y, number - 1)
        if not loss.isfinite():
            raise NotFinite(f"the loss is not finite at step {number - 1}")
        if number in steps:
            seen.append(look_at(trainer.net, validation))
    _, path, shares = principal_plane(torch.stack([one["weights"] for one in seen]))
    return {"steps": steps, "filters": torch.stack([one["filters"] for one in seen]),
            "loss": [one["loss"] for one in seen], "accuracy": [one["accuracy"] for one in seen],
            "path": path, "shares": shares}
