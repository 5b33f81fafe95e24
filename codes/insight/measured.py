"""Numbers that pictures are drawn from: measured once for a checkpoint, a data set and settings, then read.

    about = made_from(checkpoint, args.data_dir)
    measured(args.results / "patches.npz", about, measure, net, test, image=7, channels=6)

A drawing reads the file alone (`VGG_BatchNorm.ground.files.read_npz`), and the settings with it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from VGG_BatchNorm.ground.cifar10 import data_checksum
from VGG_BatchNorm.ground.files import read_npz, shown_path, write_npz


def made_from(checkpoint: Path, data_dir: Path) -> dict:
    """What a result depends on: the checkpoint's path in the repository (elsewhere its name alone), the
    first digits of its SHA-1 and of the data's checksum."""
    return {"checkpoint": shown_path(checkpoint),
            "sha1": hashlib.sha1(checkpoint.read_bytes()).hexdigest()[:10],
            "data": data_checksum(data_dir)[:10]}


def measured(path: Path, about: dict, measure: Callable[..., dict], *inputs, **settings) -> dict:
    """The arrays in the npz file `path` by name, and `about`, which holds the settings too.

    Where the file is missing, or of something else, or of other settings, `measure(*inputs, **settings)`
    gives the arrays (tensors, numbers or lists), and they are written there.

    Args:
        about: what the numbers are of, as JSON gives it back (see `made_from`).

    Raises:
        UserError: the file is damaged.
    """
    about = {**about, "settings": settings}
    if not (path.exists() and read_npz(path)["about"] == about):
        write_npz(path, about, measure(*inputs, **settings))
    return read_npz(path)
