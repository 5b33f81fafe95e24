"""Losses against torch's, and augmentation as a function of seed and epoch."""

import pytest
import torch
import torch.nn.functional as F

from codes.augment import MIXING, batch_transform, image_transform
from codes.losses import LOSSES, focal, soft_targets
from codes.networks import build
from codes.trainer import add_l1
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.loaders import BatchLoader

LOGITS = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_equal_those_of_torch(smoothing):
    targets = soft_targets(LABELS, 10, smoothing).double()
    expected = {"cross_entropy": F.cross_entropy(LOGITS, LABELS,
                                                 reduction="sum", label_smoothing=smoothing),
                "squared_error": F.mse_loss(LOGITS, targets, reduction="sum"),
                "binary_cross_entropy": F.binary_cross_entropy(LOGITS.sigmoid(),
                                                               targets, reduction="sum"),
                "focal": sum(-((1 - p) ** 2 * targets[n] * p.log()).sum()
                             for n, p in enumerate(LOGITS.softmax(1)))}
    assert set(expected) == set(LOSSES)
    for name, value in expected.items():
        assert LOSSES[name](LOGITS, targets).item() == pytest.approx(value.item(), rel=1e-6)
    cross_entropy = expected["cross_entropy"].item()
    assert focal(LOGITS, targets, gamma=0.0).item() == pytest.approx(cross_entropy, rel=1e-6)


def test_l1_adds_the_sign_to_filters_and_matrices_alone():
    net = build("cifarnet", widths=(4, 4), norm="none", whiten=False)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    add_l1(net, 0.5)
    for p in net.parameters():
        assert torch.equal(p.grad, 0.5 * p.sign() if p.ndim > 1 else torch.zeros_like(p))


def images(n: int = 20) -> Split:
    return Split(torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8), torch.arange(n) % 10)


def test_trivial_augment_is_a_function_of_seed_and_epoch():
    split = images()
    loader = BatchLoader(split, 10, transform=image_transform("trivial"), seed=4)
    before = torch.get_rng_state()
    first, again, later = ([x for x, _ in loader.epoch(number)] for number in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    plain = [x for x, _ in BatchLoader(split, 10, seed=4).epoch(0)]
    changed = [(a != b).flatten(1).any(1) for a, b in zip(first, plain, strict=True)]
    assert torch.cat(changed).sum() > 5 and not torch.equal(first[0], later[0])


@pytest.mark.parametrize("name", MIXING)
def test_mixed_targets_are_the_share_of_the_pixels(name):
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 32, 32)  # image n is n everywhere
    mixed, targets = batch_transform(name)(x, torch.eye(4))
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(4.0), rtol=1e-4,
                               atol=1e-4)
