"""Checkpoints: a `.pt` dict that `torch.load(weights_only=True)` reads: plain types and tensors.

It carries the network's name and arguments, so that a tool needs nothing but its path.
"""

import io
import warnings
from pathlib import Path

import torch

from VGG_BatchNorm.ground.files import RUNS_DIR, SHIPPED_WEIGHTS, atomic_write, newest
from VGG_BatchNorm.ground.script import UserError

CHECKPOINT_FORMAT = "cifar10-checkpoint-1"


def save_checkpoint(path: Path, network: str, config: dict, weights: dict, **extra) -> None:
    """Write a checkpoint that `load_checkpoint` reads.

    Args:
        network: name and
        config: arguments for `codes.networks.build`.
        weights: the network's `state_dict`.
        extra: anything else of plain types and tensors (optimizer state, epoch, log rows).
    """
    buffer = io.BytesIO()  # torch.save wraps a full disk in a RuntimeError; write() does not
    torch.save(dict(format=CHECKPOINT_FORMAT, network=network, config=config, weights=weights,
                    **extra), buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict:
    """Read a checkpoint without running any code it may hold.

    Raises:
        UserError: missing, damaged, or not a checkpoint of this project.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle protocol of foreign files
            content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; `make train` makes one") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the .pt file in it") from None
    except OSError:
        raise
    except Exception:  # torch.load has no one exception for "this is not a whole, safe file"
        raise UserError(f"{path} is damaged or not a checkpoint; "
                        "move it away, or name another") from None
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path} is a checkpoint of another format; this project's come from "
                        "codes/train.py")
    return content


def find_checkpoint(named: str | None) -> Path:
    """The path named, else the newest run's `last.pt`, else the shipped weights."""
    return Path(named) if named else newest(RUNS_DIR, "*/last.pt") or SHIPPED_WEIGHTS
