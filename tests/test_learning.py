"""The animation of learning: what it shows is the training it watches, and the file is small."""

import numpy as np
import pytest
import torch
from conftest import assert_picture, drawing
from PIL import Image

from codes import studies, visualize_filters, visualize_learning
from codes.figures.filters import as_pictures, moved
from codes.figures.learning import write_gif
from codes.insight import filters, learning, small_nets
from codes.insight.learning import watch
from codes.settings import Settings
from codes.trainer import Trainer
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import load_cifar10, split_validation
from VGG_BatchNorm.ground.files import read_npz
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.style import contact_sheet


@pytest.fixture
def base(monkeypatch) -> dict:
    tiny = dict(widths=[8, 8], batch_size=50, epochs=1.6)  # eight steps
    monkeypatch.setitem(studies.BASES, "quick", studies.BASES["quick"] | tiny)
    return studies.BASES["quick"]


@pytest.mark.parametrize("frames, steps", [(4, [0, 2, 4, 8]), (100, list(range(9)))])
def test_watching_does_not_change_training(base, data_dir, frames, steps):
    """Steps round(8 (i / 3)^1.5), and every one where there are fewer than frames."""
    train, validation = split_validation(load_cifar10(data_dir)[0])
    settings = base | {"whiten": False, "small_share": 0.0, "seed": 3, "precision": "float32"}
    seen = watch(train, validation, recipe=settings, frames=frames, validation_images=30)
    assert seen["steps"] == steps
    trainer = Trainer(Settings.from_dict(settings), train, torch.device("cpu"))
    assert torch.equal(seen["filters"][0], trainer.net.stem.weight)
    while trainer.epoch < trainer.epochs:
        trainer.train_epoch(progress=False)
    assert torch.equal(seen["filters"][-1], trainer.net.stem.weight)
    assert not torch.equal(seen["filters"][0], seen["filters"][-1])
    assert seen["accuracy"][-1] == accuracy(predict(trainer.net, validation), validation.labels)
    assert seen["path"].shape == (len(steps), 2) and seen["path"][-1].abs().max() == 0
    assert 0 < seen["shares"].sum() <= 1 + 1e-9 and min(seen["loss"]) > 0


def test_first_filters_before_and_after_training(succeeds, data_dir, tmp_path, monkeypatch, quick):
    tiny = {"width": 1 / 16, "batch_size": 50, "epochs": 0.4}
    nets = {name: (changes | (tiny if "width" in changes else {}), slower)
            for name, (changes, slower) in small_nets.NETS.items()}
    monkeypatch.setattr(small_nets, "NETS", nets)
    flags = drawing(data_dir, tmp_path, tmp_path / "f.png", "--learned")
    succeeds(visualize_filters, *flags)
    assert_picture(tmp_path / "f.png")
    data = read_npz(tmp_path / "learned_filters.npz")
    for name, key in (("vgg", "features.0.weight"), ("trained_stem", "stem.weight")):
        before, after = data[name]
        trained = load_checkpoint(tmp_path / "runs" / "small" / f"{name}-s0" / "last.pt")["weights"]
        assert np.array_equal(after, trained[key]) and moved(before, after).any()
    assert np.array_equal(data["vgg"][0], data["vgg_batch_norm"][0])  # the same start
    monkeypatch.setattr(filters, "learned", None)  # the second time only draws
    succeeds(visualize_filters, *flags)


def test_how_far_filters_moved_is_over_their_length():
    before = np.zeros((2, 3, 3, 3))
    before[:, 0, 0, 0] = 2.0, 4.0
    after = before.copy()
    after[1, 2, 2, 2] = 1.0
    assert moved(before, after).tolist() == [0.0, 0.25]


def test_a_contact_sheet_is_filled_row_by_row():
    pictures = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    sheet = contact_sheet(pictures, columns=3, factor=2, border=1)
    assert sheet.shape == (10, 15, 3) and sheet.dtype == np.uint8
    large = pictures.repeat(2, 1).repeat(2, 2)
    assert (sheet[5:9, 5:9] == large[4]).all() and (sheet[:4, 5:9] == large[1]).all()
    assert all((part == 255).all() for part in (sheet[4], sheet[:, 9], sheet[5:, 10:]))
    filters = np.zeros((24, 3, 3, 3), np.float32)
    filters[7, :2, 2, 0] = 4.0, -2.0  # second row, second column; red, below left
    sheet = contact_sheet(as_pictures(filters), columns=6, factor=8)
    assert sheet.shape == (4 * 26, 6 * 26, 3) and (sheet[:24, :24] == 0.5).all()
    assert (sheet[24:26] == 1).all()
    tile = sheet[26:50, 26:50]
    assert (tile[16:, :8] == (1, 0.25, 0.5)).all() and (tile[:16] == 0.5).all()
    assert (tile[:, 8:] == 0.5).all()


def test_a_gif_has_all_frames_in_few_colours(tmp_path):
    random = np.random.default_rng(0)
    frames = [Image.fromarray(p) for p in random.integers(0, 256, (5, 40, 60, 3), np.uint8)]
    write_gif(frames, tmp_path / "a.gif", colours=16)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 5 and picture.size == (60, 40)
        assert picture.info["duration"] == 100
        assert picture.info["loop"] == 0
        picture.seek(4)
        assert picture.info["duration"] == 3000
        assert len(picture.convert("RGB").getcolors(2400)) <= 16


def test_the_animation(base, succeeds, data_dir, tmp_path, monkeypatch):
    flags = drawing(data_dir, tmp_path, tmp_path / "l.gif", "--frames", 4)
    assert "after 8 steps" in succeeds(visualize_learning, *flags)
    with Image.open(tmp_path / "l.gif") as picture:
        assert picture.n_frames == len(np.load(tmp_path / "learning.npz")["steps"]) == 4
        assert picture.size[0] == 1200
        assert len(picture.convert("L").getcolors(256)) > 5
    assert (tmp_path / "l.gif").stat().st_size < 2**20
    monkeypatch.setattr(learning, "Trainer", None)  # it would train again
    (tmp_path / "l.gif").unlink()
    succeeds(visualize_learning, *flags)
    assert (tmp_path / "l.gif").exists()
    with pytest.raises(TypeError):
        succeeds(visualize_learning, *flags, "--seed", 1)


def test_wrong_input_is_one_line(refused, tmp_path):
    assert "abacus" in refused(visualize_learning, "--device", "abacus", "--out", tmp_path / "l")
    for more in (("--image", 7), ("--ckpt", tmp_path / "w.pt"), ("--network", "vgg")):
        said = refused(visualize_filters, "--learned", *more, "--results", tmp_path)
        assert f"--learned does not use {more[0]}" in said
