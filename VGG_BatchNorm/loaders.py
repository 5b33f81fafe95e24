"""Batches of CIFAR-10, augmented, and the course kit's loader.

    python VGG_BatchNorm/loaders.py    # fetches CIFAR-10 once; draws reports/figures/samples.png

ground/cifar10.py says where the data comes from and how it is checked."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Subset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.ground.cifar10 import CLASSES, Split, load_cifar10, normalize, split_validation
from VGG_BatchNorm.ground.files import DATA_DIR, FIGURES_DIR
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, run_main, user_path

__all__ = ["CLASSES", "BatchLoader", "PartialDataset", "Split", "get_cifar_loader", "load_cifar10",
           "normalize", "resize", "split_validation"]  # what other projects import from here


class BatchLoader:
    """Whole-batch augmentation of images that stay on the device as uint8.

    An epoch is a pure function of (seed, epoch): nothing has to be saved to resume, and the
    global random state is neither read nor changed.

    Args:
        split: images and labels, on the device that trains.
        batch_size: over all processes; each gets every `world`-th image from its `rank` on.
        flip: "none", "random" (each image, each epoch), or "alternate" (drawn once, then every
            other epoch the other way round, so that two epochs in a row show both; Jordan
            2024, arXiv 2404.00498).
        translate: largest shift in pixels, both axes, with reflection.
        cutout: side in pixels of the square set to the mean (DeVries & Taylor 2017), 0 for none.
        transform: takes uint8 images (B, 3, 32, 32), after flip and shift, gives the like; it may
            draw from torch's global random state, which is set for it and put back.
        drop_last: leave out the smaller last batch; each epoch leaves out other images."""

    def __init__(self, split: Split, batch_size: int, *, shuffle: bool = True, flip: str = "none",
                 translate: int = 0, cutout: int = 0, transform: Callable | None = None,
                 seed: int = 0, drop_last: bool = True, rank: int = 0, world: int = 1):
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
        """Return images (B, 32, 32, 3), by one gather: pixel (r, c) is from (r + dy, ±(c + dx))."""
        grid = torch.arange(32, device=index.device)
        rows, columns = (_reflect(grid + shift[:, None]) for shift in shifts)  # (B, 32) each
        columns = torch.where(flips[:, None], 31 - columns, columns)
        pixel = (index[:, None, None] * 32 + rows[:, :, None]) * 32 + columns[:, None, :]
        return self.pixels.view(-1, 3)[pixel]  # (B, 32, 32, 3)

    def _mask(self, corner: torch.Tensor) -> torch.Tensor:
        """Return 0 in the square of `cutout` pixels from this upper left corner on, 1 elsewhere."""
        grid = torch.arange(32, device=corner.device)
        inside = [(grid >= c[:, None]) & (grid < c[:, None] + self.cutout) for c in corner]
        return ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])  # (B, 1, 32, 32)


def _reflect(position: torch.Tensor) -> torch.Tensor:
    """Return positions outside 0…31 mirrored back in; the border pixel is not repeated."""
    position = position.abs()
    return torch.where(position > 31, 62 - position, position)


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Return images (N, 3, 32, 32) shrunk to (N, 3, size, size), antialiased; 32 leaves them alone.
    """
    if size == x.shape[-1]:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


class PartialDataset(Subset):
    """The first `n_items` items of a dataset; fewer if it has fewer."""

    def __init__(self, dataset: Dataset, n_items: int = 10):
        super().__init__(dataset, range(min(n_items, len(dataset))))
        self.n_items = n_items


class KitImages(Dataset):
    """Items (x, y), x float32 (3, 32, 32) in [-1, 1], y an int.

    They are read from what torchvision's CIFAR10 has too, at each call, so that changes count:
    data, uint8 (N, 32, 32, 3); targets, a list of ints; classes, a list of names; class_to_idx."""

    def __init__(self, split: Split):
        self.data = split.images.permute(0, 2, 3, 1).numpy()
        self.targets = split.labels.tolist()
        self.classes = list(CLASSES)
        self.class_to_idx = {name: label for label, name in enumerate(CLASSES)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
        """A batch at once, as `DataLoader` asks for it."""
        images = torch.from_numpy(self.data[indices]).permute(0, 3, 1, 2)
        x = normalize(images, mean=(0.5,) * 3, std=(0.5,) * 3).contiguous()
        return list(zip(x, (self.targets[i] for i in indices), strict=True))


def get_cifar_loader(root: Path | str = DATA_DIR, batch_size: int = 128, train: bool = True,
                     shuffle: bool = True, num_workers: int = 4, n_items: int = -1) -> DataLoader:
    """Return the kit's loader: batches (x, y), x float32 (N, 3, 32, 32) in [-1, 1], y int64 (N,).

    Its `dataset` is a `KitImages`.

    Args:
        num_workers: kept for the kit's callers; the images are in memory, so none are started.
        n_items: only the first so many images; -1 for all.

    Raises UserError: CIFAR-10 cannot be had (see `load_cifar10`)."""
    split = load_cifar10(root)[0 if train else 1]
    if n_items > 0:
        split = split.take(slice(n_items))
    return DataLoader(KitImages(split), batch_size=batch_size, shuffle=shuffle)


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir")
    parser.add_argument("--out", type=user_path, default=FIGURES_DIR / "samples.png",
                        help="the picture")
    args = parser.parse_args()
    train, test = load_cifar10(args.data_dir)
    from VGG_BatchNorm.ground.style import draw_samples

    draw_samples(*(part.numpy() for part in train), args.out)
    print(f"{len(train.labels):,} training and {len(test.labels):,} test images, verified")


if __name__ == "__main__":
    run_main(main)
