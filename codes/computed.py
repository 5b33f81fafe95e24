"""Numbers that pictures are drawn from: computed once for a checkpoint and a data set, then read.

    args = picture_parser(__doc__).parse_args()
    data = computed(args.results / "patches.npz", made_from(checkpoint, args.data_dir),
                    lambda: measure(net, test))
    draw(data)
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from VGG_BatchNorm.ground.cifar10 import DATA_DIR, data_checksum
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, atomic_write, shown_path


def picture_parser(manual: str, results: Path = RESULTS_DIR, out: Path = FIGURES_DIR,
                   ckpt: bool = True) -> argparse.ArgumentParser:
    """The flags that scripts which draw have in common; `results` and `out` are defaults."""
    parser = argparse.ArgumentParser(description=manual, formatter_class=argparse.RawTextHelpFormatter)
    if ckpt:
        parser.add_argument("--ckpt", nargs="?", help="default: the newest run, else the shipped weights")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=results, help="folder of the numbers")
    parser.add_argument("--out", type=Path, default=out,
                        help="the picture" if out.suffix else "folder of the pictures")
    return parser


def made_from(checkpoint: Path, data_dir: Path, **settings) -> dict:
    """What a result depends on: the checkpoint's path in the repository (elsewhere its name alone), the first
    digits of its SHA-1 and of the data's checksum, and `settings`."""
    return {"checkpoint": shown_path(checkpoint),
            "sha1": hashlib.sha1(checkpoint.read_bytes()).hexdigest()[:10],
            "data": data_checksum(data_dir)[:10], **settings}


def computed(path: Path, about: dict, compute: Callable[[], dict]) -> dict:
    """The arrays in the npz file `path` by name, and `about`, from which they were made.

    Where the file is missing, damaged, or made from something else, `compute` gives the arrays (tensors,
    numbers or lists), and they are written there.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if json.loads(str(arrays.pop("about"))) == about:
            return {"about": about, **arrays}
    except Exception:  # numpy has no one exception for "this is not a whole npz file"
        pass
    arrays = {name: value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
              for name, value in compute().items()}
    with atomic_write(path) as file:
        np.savez_compressed(file, about=json.dumps(about), **arrays)
    return {"about": about, **arrays}
