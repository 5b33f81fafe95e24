"""Checkpoints: a `.pt` dict that `torch.load(weights_only=True)` reads: plain types and tensors.

It carries the network's name and arguments, so that a tool needs nothing but its path. Files of
other making are read too (`read_file`, `state_dict_in`); codes/open_weights.py finds their network.
"""

import codecs
import errno
import io
import re
import warnings
from pathlib import Path

import numpy as np
import torch

from VGG_BatchNorm.ground.files import RUNS_DIR, SHIPPED_WEIGHTS, atomic_write, newest
from VGG_BatchNorm.ground.script import UserError

CHECKPOINT_FORMAT = "cifar10-checkpoint-1"
PLAIN = (type(None), bool, int, float, str)
NESTED = ("state_dict", "model_state_dict", "net_state_dict", "model_state", "model", "net",
          "network", "weights", "params")  # where others keep weights
WRAPPERS = ("module", "_orig_mod")  # what DataParallel and torch.compile put into names
torch.serialization.add_safe_globals([  # numpy's numbers: metrics that people save beside weights
    np.float64(0).__reduce__()[0], np.dtype, codecs.encode,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?"))])
HOW_TO_SAVE = "save its weights alone: torch.save(net.state_dict(), PATH)"


def save_checkpoint(path: Path, network: str, config: dict, weights: dict, **extra) -> None:
    """Write a checkpoint that `load_checkpoint` reads.

    Args:
        network: name and
        config: arguments for `codes.networks.build`.
        weights: the network's `state_dict`.
        extra: anything else of plain types and tensors (optimizer state, epoch, log rows). Numbers
            and arrays of numpy become plain numbers and tensors.

    Raises TypeError: something that `load_checkpoint` would refuse."""
    buffer = io.BytesIO()  # torch.save wraps a full disk in a RuntimeError; write() does not
    torch.save(_plain(dict(format=CHECKPOINT_FORMAT, network=network, config=config,
                           weights=weights, **extra)), buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def _plain(value, place: str = "checkpoint"):
    """Return `value` in types that `load_checkpoint` opens; `place` is its name in an error."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {_plain(name, place): _plain(one, f"{place}[{name!r}]")
                for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(
            _plain(one, f"{place}[{i}]") for i, one in enumerate(value))
    if isinstance(value, torch.Tensor) and type(value) is not torch.Tensor:
        return value.detach().as_subclass(torch.Tensor)
    if isinstance(value, torch.Tensor) or type(value) in PLAIN:
        return value
    raise TypeError(f"{place} is a {type(value).__name__}; a checkpoint holds tensors, dicts, "
                    "lists, tuples, strings and numbers")


def read_file(path: Path, device: torch.device | str = "cpu"):
    """Return what torch.save put into a file, without running any code that it may hold.
    Raises UserError: missing, damaged, or objects other than tensors and plain types."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle protocol of foreign files
            return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; `make train` makes one") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the .pt file in it") from None
    except Exception as error:  # torch.load has none of its own for "not a whole, safe file"
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # it seeks beyond the end
            raise
        held = re.search(r"(?:GLOBAL|class) ([\w.]+)|(TorchScript)|operand 149\b", str(error))
        if held:  # 149 is what pickles begin with from protocol 4 on, pickle.dump's default
            kind = held[1] or held[2] or "by pickle's newer protocols"
            raise UserError(f"{path} holds Python objects ({kind}), which could run "
                            f"any code, so it is not opened; {HOW_TO_SAVE}") from None
        raise UserError(f"{path} is damaged or not a checkpoint; "
                        "move it away, or name another") from None


def is_ours(content) -> bool:
    """Return whether what `read_file` gave is a checkpoint of this project."""
    return isinstance(content, dict) and content.get("format") == CHECKPOINT_FORMAT


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict:
    """Return what a checkpoint of this project holds, without running any code in it.
    Raises UserError: missing, damaged, or not a checkpoint of this project."""
    content = read_file(path, device)
    if not is_ours(content):
        raise UserError(f"{path} is a checkpoint of another format; this project's come from "
                        "codes/train.py")
    return content


def state_dict_in(content) -> dict[str, torch.Tensor] | None:
    """Return the state_dict that a file of other making is, or holds beside other things.

    What DataParallel, torch.compile and weight averaging put into its names is left out, and a name
    of `NESTED` that all begin with, as where a module of training steps holds the network."""
    if not isinstance(content, dict):
        return None
    if content and all(isinstance(t, torch.Tensor) for t in content.values()):
        parts = {tuple(part for part in str(name).split(".") if part not in WRAPPERS): t
                 for name, t in content.items() if name != "n_averaged"}
        firsts = {names[0] for names in parts}
        held = len(firsts) == 1 and firsts <= set(NESTED)
        return {".".join(names[held:]): t for names, t in parts.items()}
    return next(filter(None, (state_dict_in(content.get(name)) for name in NESTED)), None)


def find_checkpoint(named: Path | str | None) -> Path:
    """Return the path named, else the newest run's `last.pt`, else the shipped weights."""
    return Path(named) if named else newest(RUNS_DIR, "*/last.pt") or SHIPPED_WEIGHTS
