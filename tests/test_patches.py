"""Receptive fields against arithmetic by hand and against gradients; patches that are known."""

import pytest
import torch
from torch import nn

from codes.insight.patches import Field, as_bytes, cut, last_of_each_size, peaks, stages, strongest
from codes.networks import build
from VGG_BatchNorm.ground.cifar10 import normalize


def conv(padding: int = 0, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(3, 3, kernel, padding=padding)


@pytest.mark.parametrize("layers, expected", [  # size, jump, start, side of each stage
    ([conv(), conv()], [(3, 1, 0, 14), (5, 1, 0, 12)]),
    ([conv(1), nn.ReLU(inplace=True), conv(1)], [(3, 1, -1, 16), (5, 1, -2, 16)]),
    ([conv(1), nn.MaxPool2d(2), conv(1), nn.ReLU()], [(4, 2, -1, 8), (8, 2, -3, 8)]),
    ([conv(0, kernel=2), conv(1), nn.AvgPool2d(2), conv(1)],
     [(2, 1, 0, 15), (5, 2, -1, 7), (9, 2, -3, 7)])])
def test_receptive_fields_of_known_stacks(layers, expected):
    found = [field for field, _ in stages(nn.Sequential(*layers), torch.zeros(1, 3, 16, 16))]
    assert [field[1:] for field in found] == expected
    assert [field.name for field in found] == [str(i) for i, layer in enumerate(layers)
                                               if isinstance(layer, nn.Conv2d)]


def test_layers_of_other_nets():
    """Padding by name; a pooling to one pixel, which sees all; a net with one convolution."""
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding="same"), nn.AdaptiveAvgPool2d(1))
    found = stages(net, torch.zeros(1, 3, 16, 16))
    assert [field[1:] for field, _ in found] == [(3, 1, -1, 16)]
    assert last_of_each_size(found) == found


@pytest.mark.parametrize("more", [{}, {"whiten": False}, {"residual": True}, {"depth": 1}], ids=str)
def test_receptive_fields_are_where_the_gradient_is(more):
    """On average pooling and GELU, nothing that a unit sees has a gradient of zero."""
    net = build("cifarnet", widths=(4, 4), pool="average", **more).eval().double()
    for p in net.parameters():
        if p.ndim == 4:
            nn.init.normal_(p, std=0.1)  # the identity, as which filters start, sees less
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    for field, output in stages(net, x):
        unit = field.side // 2
        (gradient,) = torch.autograd.grad(output[0, :, unit, unit].sum(), x, retain_graph=True)
        first = field.start + unit * field.jump
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[first : first + field.size, first : first + field.size] = True
        size = gradient.abs().sum((0, 1))
        assert torch.equal(size > 1e-12 * size.max(), expected), field


def test_one_layer_of_each_group_is_drawn():
    names = {}
    for network, config in (("cifarnet", {"widths": (8, 8, 8)}), ("vgg_a_light", {})):
        found = stages(build(network, **config).eval(), torch.zeros(1, 3, 32, 32))
        names[network] = [field.name for field, _ in last_of_each_size(found)]
    assert names["cifarnet"] == [f"groups.{i}.convs.1" for i in range(3)]
    assert names["vgg_a_light"] == ["stage2.0"]


def test_peaks_are_those_of_the_maps():
    net = nn.Sequential(conv(1), nn.MaxPool2d(2), nn.Conv2d(3, 5, 3, padding=1))
    images = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8)
    ((field, (peak, place, mean)),) = peaks(net, images, batch_size=8).items()
    with torch.no_grad():
        maps = net(normalize(images))
    assert field == ("2", 8, 2, -3, 16)
    torch.testing.assert_close(peak, maps.amax((2, 3)))
    torch.testing.assert_close(maps.flatten(2).gather(2, place[..., None])[..., 0], peak)
    torch.testing.assert_close(mean, maps.abs().mean((0, 2, 3)))


def test_a_patch_is_what_the_unit_sees():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, 0, 5] = 200
    field = Field("", size=3, jump=1, start=-1, side=8)
    assert cut(image, field, 5)[0].tolist() == [[128, 128, 128], [0, 200, 0], [0, 0, 0]]
    assert cut(image, field, 8 + 6)[0].tolist() == [[200, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert cut(image, field._replace(jump=2, side=4), 4 + 3)[2].tolist() == [[0, 0, 0]] * 3
    assert torch.equal(cut(image, field._replace(size=9), 0), image)


def test_the_channel_whose_peaks_stand_out_comes_first():
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 32, 32)
    peak, mean = torch.rand(20, 8), torch.ones(8)
    peak[5:14, 3] = torch.arange(9.0) + 10  # image 13 has the highest
    peak[:, 6], mean[6] = 1000, 10_000
    place = torch.full((20, 8), 5 * 32 + 5)
    channels, numbers, patches = strongest(Field("", 3, 1, -1, 32), images, peak, place, mean,
                                           channels=6, count=9)
    assert channels[0] == 3 and 6 not in channels and len(channels) == 6
    assert numbers[0].tolist() == list(range(13, 4, -1))
    assert patches.shape == (6, 9, 3, 3, 3)
    assert patches[0, :, 0, 0, 0].tolist() == numbers[0].tolist()


def test_maps_share_a_scale_and_come_by_their_peaks():
    maps = torch.tensor([0.0, 1.0, 4.0]).view(3, 1, 1)
    assert as_bytes(maps, 12).flatten().tolist() == [255, 64, 0]
    assert as_bytes(maps, 2).flatten().tolist() == [255, 0]
