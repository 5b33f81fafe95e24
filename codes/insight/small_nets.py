"""Small nets for pictures: alike but for batch norm, residual connections and the seed; and VGG-A.

    path = small_net("batch_norm", 0, train, md5)
    net, weights = opened("batch_norm", net_settings("batch_norm", 0, md5), train), read_path(path)

The base `quick` (studies.py), trained now if it is not there: half a minute on two CPU cores. Kept
in runs/small/<name>-s<seed>/: last.pt, and path.npz, its trained weights at every so many steps,
float16."""

from pathlib import Path

import torch
from torch import Tensor, nn

from codes.insight.loss_landscape import flat
from codes.networks import network_arguments
from codes.open_weights import open_network
from codes.settings import Settings
from codes.studies import BASES
from codes.trainer import Trainer
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.ground.files import RUNS_DIR, read_npz, write_npz
from VGG_BatchNorm.probes import trainable

EVERY = 10  # steps between two points of a path
# a quarter of its width; its five poolings need whole images; the path has only its ends
VGG = dict(network="vgg", width=0.25, small_share=0.0, optimizer="adam", lr=1e-3, weight_decay=0.0,
           batch_size=125, epochs=2, every=10_000)
# Changes to the base, and by what its rates are divided: without batch norm, those of the base are
# too high; these are the best of 1, 3, 9, 27 and 81 on another seed, of which 81 is the last tried.
NETS = {"plain": ({"norm": "none"}, 9), "residual": ({"norm": "none", "residual": True}, 81),
    "batch_norm": ({}, 1), "batch_norm_residual": ({"residual": True}, 1),
    "trained_stem": ({"whiten": False}, 1),  # batch norm too, but no fixed whitening
    "vgg": (VGG | {"norm": "none"}, 1), "vgg_batch_norm": (VGG | {"norm": "batch"}, 1),
}


class PathTrainer(Trainer):
    """A `Trainer` that keeps the trained weights of every `every`-th step in `path`, float16."""

    def __init__(self, *args, every: int):
        super().__init__(*args)
        self.names, self.path, self.every = list(trainable(self.net)), [], every

    def keep(self) -> None:
        weights = dict(self.net.named_parameters())
        self.path.append(flat(weights[name].detach() for name in self.names).half().cpu())

    def step(self, x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
        if number % self.every == 0:
            self.keep()
        return super().step(x, y, number)


def net_settings(name: str, seed: int, data_md5: str) -> dict:
    """Return all that the net depends on, but the device."""
    base, (changes, slower) = BASES["quick"], NETS[name]
    rates = {rate: float(f"{base[rate] / slower:.2g}") for rate in ("lr", "bias_lr", "head_lr")}
    settings = base | rates | {"every": EVERY} | changes | {"seed": seed, "data_md5": data_md5}
    takes = network_arguments(settings["network"])
    return {key: value for key, value in settings.items()
            if key in takes or key not in network_arguments(base["network"])}


def fresh(settings: dict, train: Split) -> PathTrainer:
    """Return the trainer of a net of these `net_settings` before its first step. `train`: the
    training images of `split_validation`, on the device that trains."""
    recipe = {key: settings[key] for key in settings if key not in ("data_md5", "every")}
    return PathTrainer(Settings.from_dict(recipe), train, train.labels.device,
                       every=settings["every"])


def small_net(name: str, seed: int, train: Split, data_md5: str) -> Path:
    """Return the checkpoint of a net of NETS, its path.npz beside it. `train`: the training images
    of `split_validation`."""
    device = train.labels.device
    settings = net_settings(name, seed, data_md5) | {
        "precision": "bfloat16" if device.type == "cuda" else "float32"}
    ckpt = RUNS_DIR / "small" / f"{name}-s{seed}" / "last.pt"
    if not ckpt.exists() or load_checkpoint(ckpt).get("made_of") != settings:
        print(f"training the small net {name}, seed {seed}: {settings['epochs']} epochs",
              flush=True)
        trainer = fresh(settings, train)
        while trainer.epoch < trainer.epochs:
            trainer.train_epoch()
        trainer.keep()
        write_npz(ckpt.with_name("path.npz"), {}, {"weights": torch.stack(trainer.path)})
        trainer.save(ckpt, made_of=settings)  # after the path: where it is, the path is too
    return ckpt


def opened(name: str, settings: dict, train: Split) -> nn.Module:
    """Return the `small_net` of these `net_settings` in evaluation mode, where `train` lies."""
    path = small_net(name, settings["seed"], train, settings["data_md5"])
    return open_network(path, train.labels.device)[1]


def read_path(ckpt: Path) -> Tensor:
    """Return (K, P) float16: the weights kept beside a `small_net`, first to last.
    Raises UserError: they are missing or damaged."""
    return torch.from_numpy(read_npz(ckpt.with_name("path.npz"))["weights"])
