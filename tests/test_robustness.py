"""Corruptions and attacks against values worked out by hand, and the picture on tiny data."""

import numpy as np
import pytest
import torch
from conftest import assert_picture, drawing, save_net
from torch import nn
from torch.nn import functional as F

from codes import visualize_robustness
from codes.figures.robustness import caption_words, draw_robustness
from codes.insight import robustness
from codes.insight.corruptions import CORRUPTIONS, corrupted
from codes.insight.robustness import SETTINGS, attacked_accuracies, examples, fgsm, pgd
from codes.networks import build
from VGG_BatchNorm.ground.cifar10 import STD, Split, normalize
from VGG_BatchNorm.ground.files import read_json, read_npz
from VGG_BatchNorm.ground.predictions import accuracy, predict

SEVERITIES = range(1, 6)


def corrupt(images: torch.Tensor, name: str, severity: int, seed: int = 0) -> torch.Tensor:
    return corrupted(images, name, CORRUPTIONS[name][1][severity - 1], seed)


def pictures(n: int = 8) -> torch.Tensor:
    """uint8 images with coarse shapes and some noise, as natural ones have."""
    draw = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(n, 3, 4, 4, generator=draw), size=32, mode="bilinear")
    return (255 * (0.7 * coarse + 0.3 * torch.rand(n, 3, 32, 32, generator=draw))).to(torch.uint8)


def constant(*colour: int) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 32)


def impulse() -> torch.Tensor:
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[..., 16, 16] = 255
    return image


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_grow_with_severity_and_repeat_themselves(name):
    images = pictures()
    before = images.clone()
    found = [corrupt(images, name, severity) for severity in SEVERITIES]
    assert all(some.shape == images.shape and some.dtype == torch.uint8 for some in found)
    change = [(some.float() - images.float()).abs().mean().item() for some in found]
    assert 0 < change[0] < change[4] and (name in ("JPEG", "shift") or change == sorted(change))
    assert torch.equal(corrupt(images, name, 3), found[2]) and torch.equal(images, before)
    drawn = name in ("Gaussian noise", "shift")
    assert torch.equal(corrupt(images, name, 3, seed=1), found[2]) != drawn
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert (corrupt(channels_last, name, 5).long() - found[4].long()).abs().max() <= 1


def test_noise_has_the_deviation_of_its_table():
    grey = constant(128, 128, 128).expand(20, 3, 32, 32)
    noise = corrupt(grey, "Gaussian noise", 5).float() - 128
    assert noise.std().item() == pytest.approx(25.5, rel=0.02) and abs(noise.mean().item()) < 0.5


def test_brightness_by_hand():
    """Value 200 of 255 plus 0.15 is 238.25; hue and saturation stay: one factor for all."""
    assert torch.equal(corrupt(constant(100, 150, 200), "brightness", 3), constant(119, 179, 238))
    assert torch.equal(corrupt(constant(0, 0, 0), "brightness", 3), constant(38, 38, 38))
    assert torch.equal(corrupt(constant(0, 240, 100), "brightness", 5), constant(0, 255, 106))


def test_contrast_by_hand():
    assert torch.equal(corrupt(constant(10, 150, 250), "contrast", 5), constant(10, 150, 250))
    halves = constant(200, 100, 0).clone()
    halves[..., 16:] = 0
    expected = torch.tensor([[150, 50], [75, 25], [0, 0]])  # around 100, 50 and 0, half as far
    assert torch.equal(corrupt(halves, "contrast", 2)[0, :, 5][:, [0, 31]].long(), expected)


def test_blurs_of_one_bright_pixel():
    gaussian = corrupt(impulse(), "Gaussian blur", 5)[0, 0].long()  # σ = 1: 0.3989² in the middle
    assert gaussian[16, 16] == 41 and gaussian[16, 17] == gaussian[15, 16] == 25
    assert gaussian[16, 21] == 0
    disk = corrupt(impulse(), "defocus blur", 4)[0, 0].long()  # radius 1: a cross of five pixels
    assert disk[16, 15:18].tolist() == [51, 51, 51] and disk[15, 16] == disk[17, 16] == 51
    assert disk.sum() == 255
    square = corrupt(impulse(), "defocus blur", 5)[0, 0]  # radius 1.5: nine
    assert (square[15:18, 15:18] == 28).all() and (square > 0).sum() == 9


@pytest.mark.parametrize("name", ["Gaussian blur", "defocus blur"])
def test_blurs_leave_a_constant_image(name):
    for severity in SEVERITIES:
        assert torch.equal(corrupt(constant(3, 100, 250), name, severity), constant(3, 100, 250))


def test_shift_by_hand():
    """Pixels that say where they come from; the border is a mirror that is not itself repeated."""
    grid = torch.arange(32, dtype=torch.uint8)
    image = torch.stack([*torch.meshgrid(grid, grid, indexing="ij"), torch.zeros(32, 32).byte()])
    for severity, pixels in zip(SEVERITIES, (1, 2, 4, 6, 8), strict=True):
        found = corrupt(image.expand(40, 3, 32, 32), "shift", severity)
        ways = set()
        for rows, columns, _ in found.long():
            way = (rows[16, 0] - 16).item(), (columns[0, 16] - 16).item()
            ways.add(way)
            for moved, by in ((rows[:, 0], way[0]), (columns[0], way[1])):
                source = [abs(i + by) if i + by < 32 else 62 - (i + by) for i in range(32)]
                assert moved.tolist() == source
            assert (rows == rows[:, :1]).all() and (columns == columns[:1]).all()
        assert ways == {(a, b) for a in (-pixels, pixels) for b in (-pixels, pixels)}


class Plane(nn.Module):
    """Logits w·x and 0 of normalised images."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(0.01 * torch.randn(3, 32, 32, generator=draw))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = (x * self.weight).sum((1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], 1)

    def of_pixels(self, x: torch.Tensor) -> torch.Tensor:
        """The first logit, but for a constant, of pixels in [0, 1]: as normalising divides them."""
        return (x * self.weight.detach() / torch.tensor(STD).view(3, 1, 1)).sum((1, 2, 3))


@pytest.mark.parametrize("attack", [fgsm, pgd], ids=["FGSM", "PGD"])
@pytest.mark.parametrize("label, sign", [(0, -1), (1, 1)])
def test_attacks_move_a_linear_logit_by_eps_times_its_l1_norm(attack, label, sign):
    net, eps, draw = Plane(), 4 / 255, torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(4, 3, 32, 32, generator=draw)
    moved = attack(net, x, torch.full((4,), label), eps, draw)
    l1 = (net.weight.detach() / torch.tensor(STD).view(3, 1, 1)).abs().sum().item()
    change = net.of_pixels(moved) - net.of_pixels(x)
    torch.testing.assert_close(change, torch.full((4,), sign * eps * l1), rtol=1e-3, atol=0)
    assert net.weight.grad is None


@pytest.mark.parametrize("attack", [fgsm, pgd], ids=["FGSM", "PGD"])
def test_attacks_stay_within_eps_and_valid_pixels(attack):
    net, images = build("cifarnet", widths=(8, 8)).eval(), pictures(4)
    images[:2] = images[:2] // 128 * 255  # pixels at both ends
    x, labels, eps = images / 255, torch.arange(4), 8 / 255
    before = x.clone()
    moved = attack(net, x, labels, eps, torch.Generator().manual_seed(0))
    assert (moved - x).abs().max().item() <= eps + 1e-6 and moved.min() >= 0 and moved.max() <= 1
    assert torch.equal(x, before) and not torch.equal(moved, x)
    again = attack(net, x, labels, eps, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)
    assert torch.equal(attack(net, x, labels, 0.0, torch.Generator().manual_seed(0)), x)
    with torch.no_grad():
        loss = [F.cross_entropy(net(normalize(255 * pixels)), labels) for pixels in (x, moved)]
    assert loss[1] > loss[0]


def test_attacks_find_no_more_right_answers_than_there_were():
    net, images = build("cifarnet", widths=(8, 8)).eval(), pictures(20)
    said = predict(net, Split(images, torch.zeros(20).long())).argmax(1)
    attack = SETTINGS["epsilons"], SETTINGS["steps"]
    found = attacked_accuracies(net, Split(images, said), *attack, batch_size=8)
    assert set(found) == {"FGSM", "PGD-10"} and all(shares[0] == 1 for shares in found.values())
    some = Split(images, torch.arange(20) % 10)
    clean = accuracy(predict(net, some), some.labels)
    for shares in attacked_accuracies(net, some, *attack).values():
        assert shares[0] == pytest.approx(clean) and max(shares) <= clean + 0.1


def test_examples_are_the_image_and_its_versions():
    net, image = build("cifarnet", widths=(8, 8)).eval(), pictures(1)
    given = {name: SETTINGS[name] for name in ("corruptions", "epsilons", "steps")}
    shown = examples(net, Split(image, torch.tensor([3])), torch.device("cpu"), **given)
    found = shown["pictures"]
    assert found.shape == (len(CORRUPTIONS) + 1, 6, 32, 32, 3) and found.dtype == torch.uint8
    whole = image[0].permute(1, 2, 0)
    assert all(torch.equal(row[0], whole) for row in found) and shown["label"] == 3
    for row, name in zip(found, CORRUPTIONS, strict=False):
        assert torch.equal(row[5], corrupt(image, name, 5)[0].permute(1, 2, 0))
    for picture, eps in zip(found[-1], SETTINGS["epsilons"], strict=True):
        assert (picture.long() - whole.long()).abs().max() <= eps + 0.5


@pytest.mark.parametrize("network", ["cifarnet", "vgg_a_light"])
def test_the_picture(succeeds, quick, data_dir, tmp_path, monkeypatch, network):
    flags = drawing(data_dir, tmp_path, tmp_path / "r.png", "--ckpt",
                    save_net(tmp_path / "w.pt", network), "--n-items", 40)
    succeeds(visualize_robustness, *flags)
    assert_picture(tmp_path / "r.png")
    written = read_json(tmp_path / "robustness.json")
    data = read_npz(tmp_path / "robustness.npz")
    assert data["about"]["settings"] == SETTINGS | {"images": 40, "attacked": 10}
    assert list(written["corruptions"].values()) == data["corruptions"].tolist()
    assert written["about"]["images"] == 40 and written["attacked_images"] == 10
    assert set(written["corruptions"]) == set(CORRUPTIONS)
    shares = [*written["corruptions"].values(), *written["attacks"].values(), [written["clean"]]]
    assert all(0 <= share <= 1 for line in shares for share in line)

    noise = np.load(tmp_path / "robustness_noise.npz")["accuracy"]
    assert noise.shape == (2, 6) and (noise >= 0).all() and (noise <= 1).all()

    monkeypatch.setattr(robustness, "corrupted", None)  # it would be measured again
    (tmp_path / "r.png").unlink()
    succeeds(visualize_robustness, *flags)
    assert_picture(tmp_path / "r.png")
    with pytest.raises(TypeError):
        succeeds(visualize_robustness, *flags, "--n-items", 30)
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setitem(robustness.SETTINGS, "steps", 11)
        succeeds(visualize_robustness, *flags)


def made_up(**settings) -> tuple[dict, dict]:
    """What the picture is drawn from, of two corruptions and three severities."""
    settings = {"images": 400, "attacked": 100,
                "corruptions": {"fog": [1, 2, 3], "shift": [1, 2, 5]}, "epsilons": [0, 0.5, 1, 3],
                "steps": 10} | settings
    data = {"about": {"settings": settings}, "clean": np.array(0.9),
            "corruptions": np.full((2, 3), 0.5), "attacks": np.full((2, 4), 0.25),
            "pictures": np.zeros((3, 4, 32, 32, 3), np.uint8), "label": 3}
    nets = {"a": {"whiten": True}, "b": {"whiten": False}}
    return data, {"about": {"settings": {"nets": nets}}, "accuracy": np.full((2, 4), 0.5)}


def test_the_picture_says_what_was_measured():
    figure = draw_robustness(*made_up(steps=7))
    axes = [axis for part in figure.subfigs for axis in part.axes]
    titles = [axis.get_title() for axis in axes[1:3]]
    assert titles == ["corruptions, 400 test images", "adversarial attacks, 100 test images"]
    assert "PGD-7" in axes[0].get_yticklabels()[-1].get_text()
    assert axes[2].lines[0].get_xdata().tolist() == [0, 0.5, 1, 3]
    assert [t.get_text() for t in axes[3].get_legend().texts] == ["a fixed whitening", "trained"]
    found = caption_words(*made_up())
    assert (found["kinds"], found["severities"], found["shifts"]) == (2, 3, "1, 2 and 5")
    assert (found["images_points"], found["attacked_points"]) == ("2.5", "5.0")


def test_wrong_input_is_one_line(refused, data_dir, tmp_path):
    flags = drawing(data_dir, tmp_path, tmp_path / "r.png", "--n-items", 7)
    assert "more than 7" in refused(visualize_robustness, *flags) and not list(tmp_path.iterdir())
