"""Networks from files: checkpoints of this project, and a user's own state_dict.

    path, net = open_network("runs/strong-s0/last.pt")
    net = restore(load_checkpoint(SHIPPED_WEIGHTS))"""

import inspect
import itertools
from pathlib import Path

import torch
from torch import nn

from codes.networks import NETWORKS, build, check_shapes
from VGG_BatchNorm.ground.checkpoint import (
    HOW_TO_SAVE,
    find_checkpoint,
    is_ours,
    read_file,
    state_dict_in,
)
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.VGG import HEADS, NORMS, TABLE

# norms of the table whose weights have the shapes of another's, and compute the same in evaluation
SAME_IN_EVALUATION = ("own_batch", "noisy_batch", "noisy_batch_channel", "noise")

WITH_ARGUMENTS = ("save it with them: save_checkpoint(PATH, NAME, {ARGUMENT: VALUE}, "
                  "net.state_dict()), of VGG_BatchNorm/ground/checkpoint.py")


def open_network(path: Path | str | None, device: torch.device | str = "cpu",
                 network: str | None = None) -> tuple[Path, nn.Module]:
    """Return the path of a checkpoint, and its network in evaluation mode on `device`, float32.

    Args:
        path: default: the newest run's last.pt, else the shipped weights.
        network: as for `read_checkpoint`.

    Raises UserError: as `read_checkpoint` and `restore` do."""
    path = find_checkpoint(path)
    return path, restore(read_checkpoint(path, network)).to(device)


def restore(checkpoint: dict) -> nn.Module:
    """Return the network of a checkpoint read by `load_checkpoint`, in evaluation mode, float32.
    Raises UserError: the weights are of another network, not all finite, or not for CIFAR-10."""
    name = checkpoint["network"]
    hint = "" if is_ours(checkpoint) else (
        f"; if it has other arguments than the default ones, {WITH_ARGUMENTS}")
    net = build(name, **checkpoint["config"])
    try:
        weights = {key: t.float() if t.is_floating_point() else t
                   for key, t in checkpoint["weights"].items()}
        net.load_state_dict(weights)
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"the checkpoint's weights do not fit its network {name}: "
                        f"{str(error).splitlines()[-1].strip()[:300]}{hint}") from None
    for key, t in weights.items():
        if not t.isfinite().all():
            raise UserError(f"the checkpoint's weights are spoilt: {key} holds NaN or infinity")
    check_shapes(net.eval(), f"the checkpoint's network {name}")
    return net


def read_checkpoint(path: Path, network: str | None = None) -> dict:
    """Return a checkpoint as `restore` takes it: of this project, or a user's own state_dict.
    `network`: name of the network that a state_dict is of; default: the one that it fits.

    Raises UserError: missing, damaged, no state_dict, of another network, or of more than one."""
    content = read_file(path)
    if is_ours(content):
        if network not in (None, content["network"]):
            raise UserError(f"{path} is of the network {content['network']}, not {network}")
        return content
    weights = state_dict_in(content)
    if weights is None:
        raise UserError(f"{path} is a checkpoint of another format, without a state_dict; "
                        f"{HOW_TO_SAVE}")
    if network and network != "vgg":
        fits = [(network, config) for config in _arguments(network, weights)]
    else:  # the names that stand for one net of the table come before the table
        others = [name for name in NETWORKS if name != "vgg"]
        fits = [] if network else _fitting(weights, others)
        fits = fits or _fitting(weights, ["vgg"])
    said = [f"{name}({', '.join(f'{key}={value!r}' for key, value in config.items())})"
            for name, config in fits]
    if len(fits) != 1:
        fault = f"several networks alike, {'; '.join(said)}" if fits else (
            f"no network here as it is by default ({', '.join(NETWORKS)})")
        alike = len({name for name, _ in fits}) == 1  # --network would not tell them apart
        name_it = "" if network or alike else "name one with --network, or "
        raise UserError(f"{path} fits {fault}; {name_it}{WITH_ARGUMENTS}")
    print(f"network    {said[0]}")
    return {"network": fits[0][0], "config": fits[0][1], "weights": weights}


def _arguments(name: str, weights: dict) -> list[dict]:
    """Return the arguments with which a network might have weights of these shapes."""
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; choose from {', '.join(NETWORKS)}")
    filters, matrices = ([t for t in weights.values() if t.ndim == axes] for axes in (4, 2))
    data = {"num_classes": len(matrices[-1])} if matrices else {}
    data |= {"inp_ch": filters[0].shape[1]} if filters else {}
    takes = inspect.signature(NETWORKS[name]).parameters
    data = {key: value for key, value in data.items() if key in takes}
    if name != "vgg":
        return [data]
    if not filters or not matrices:
        return []
    data["width"] = matrices[-1].shape[1] / 512
    moved = weights.get("classifier.1.weight")  # dropout moves the linear layers on by one
    data["dropout"] = 0.5 if moved is not None and moved.ndim == 2 else 0.0
    heads = ({} if head == "plain" else {"head": head} for head in HEADS)
    return [dict(configuration=row, norm=norm, **data, **head) for row, norm, head in
            itertools.product(TABLE, NORMS, heads) if norm not in SAME_IN_EVALUATION]


def _fitting(weights: dict, names: list[str]) -> list[tuple[str, dict]]:
    """Return the networks, and their arguments, whose weights have these names and shapes."""
    found = []
    for name in names:
        for config in _arguments(name, weights):
            try:
                with torch.device("meta"):
                    net = build(name, **config)
            except UserError:
                continue
            if _shapes(net.state_dict()) == _shapes(weights):
                found.append((name, config))
    return found


def _shapes(weights: dict) -> dict[str, tuple[int, ...]]:
    """Return shapes by name, without the counters that old checkpoints of batch norm lack."""
    return {name: tuple(t.shape) for name, t in weights.items()
            if not name.endswith("num_batches_tracked")}
