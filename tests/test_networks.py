"""CifarNet's switches, parameters and FLOPs; networks built and restored by name."""

import pytest
import torch
from torch import nn

from codes import networks
from codes.networks import build
from codes.open_weights import restore
from codes.settings import PRESETS, Settings
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import normalize
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.timing import training_flops
from VGG_BatchNorm.VGG import get_number_of_parameters

SMALL = dict(widths=(8, 16))
SWITCHES = ([dict(activation=name) for name in networks.ACTIVATIONS]
            + [dict(norm=name, residual=name == "skip_init") for name in networks.NORMS]
            + [dict(pool=name) for name in networks.POOLS]
            + [dict(dropout=0.5), dict(residual=True), dict(depth=1), dict(depth=3, residual=True),
               dict(whiten=False), dict(widths=(8, 8, 8, 8)), dict(num_classes=3)])


def layers(net: nn.Module) -> set[type]:
    return {type(layer) for layer in net.modules()}


@pytest.mark.parametrize("config", SWITCHES, ids=str)
def test_each_switch_gives_a_net_that_trains(config):
    net = build("cifarnet", **{**SMALL, **config})
    x = torch.randn(4, 3, 32, 32)
    logits = net(x)
    assert logits.shape == (4, config.get("num_classes", 10))
    logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert net(torch.randn(2, 3, 16, 16)).shape[0] == 2


def test_switches_do_what_they_say():
    assert any(issubclass(kind, nn.BatchNorm2d) for kind in layers(build("cifarnet", **SMALL)))
    assert nn.GroupNorm in layers(build("cifarnet", norm="group", **SMALL))
    assert nn.AvgPool2d in layers(build("cifarnet", pool="average", **SMALL))
    assert nn.SiLU in layers(build("cifarnet", activation="silu", **SMALL))
    plain = build("cifarnet", **SMALL).eval()
    residual = build("cifarnet", residual=True, **SMALL).eval()
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(plain(x), residual(x))
    dropping = build("cifarnet", dropout=0.5, **SMALL)
    assert not torch.allclose(dropping(x), dropping(x))
    assert torch.allclose(dropping.eval()(x), dropping(x))


def test_branches_without_norm_start_at_zero():
    """Each convolution beside a shortcut adds nothing yet: a net of one a group, the same one."""
    deep = build("cifarnet", norm="skip_init", residual=True, activation="relu", **SMALL)
    shallow = build("cifarnet", norm="none", depth=1, activation="relu", **SMALL)
    shallow.load_state_dict(deep.state_dict(), strict=False)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(deep(x), shallow(x))
    deep.groups[0].norms[-1].factor.data.fill_(1)
    assert not torch.allclose(deep(x), shallow(x))


@pytest.mark.parametrize("config", [dict(activation="softplus"), dict(norm="layer"),
                                    dict(widths=()), dict(depth=0), dict(depth=1, residual=True),
                                    dict(dropout=1.0), dict(colour=1),
                                    dict(norm="skip_init")], ids=str)
def test_impossible_networks_are_refused(config):
    with pytest.raises(UserError):
        build("cifarnet", **config)


@pytest.mark.parametrize("groups", range(1, 5))
@pytest.mark.parametrize("whiten", [True, False])
def test_the_smallest_image_has_a_pixel_left_at_the_end(groups, whiten):
    net = build("cifarnet", widths=(8,) * groups, whiten=whiten).eval()
    assert net(torch.zeros(1, 3, 2**groups, 2**groups)).shape == (1, 10)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 3, 2**groups - 1, 2**groups - 1))


def test_default_has_the_parameters_of_its_table():
    """24·12 + 24 whitening; 9·C·K a convolution; K of β and of the frozen γ a norm; head 2560."""
    pairs = [(24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)]
    expected = 24 * 12 + 24 + sum(9 * c * k + 2 * k for c, k in pairs) + 10 * 256
    assert get_number_of_parameters(build("cifarnet")) == expected


def test_convolutions_start_as_the_identity():
    net = build("cifarnet", widths=(32, 32))
    x = torch.randn(2, 32, 8, 8)
    torch.testing.assert_close(net.groups[0].convs[1](x), x)


def test_whitening_makes_patches_white():
    """The filters' responses to the patches they were computed from: no correlation, variance 1."""
    images = torch.randint(256, (200, 3, 32, 32), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(images.float(), 3, 1, 1).byte()
    net = build("cifarnet", **SMALL)
    net.prepare(normalize(smooth), eps=0.0)
    responses = net.stem(normalize(smooth)).detach()[:, :12].transpose(0, 1).flatten(1)
    covariance = responses @ responses.T / responses.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=2e-2, rtol=0)
    torch.testing.assert_close(net.stem.weight[:12], -net.stem.weight[12:])
    assert not net.stem.weight.requires_grad


def test_training_flops_against_a_formula():
    net = build("cifarnet", widths=(8,), depth=1, whiten=False)
    convolutions = [(3, 24, 32), (24, 8, 32)]
    forward = sum(2 * 9 * c * k * s * s for c, k, s in convolutions) + 2 * 8 * 10
    first = 2 * 9 * 3 * 24 * 32 * 32  # no gradient of the images is computed
    assert training_flops(net) == 3 * forward - first


def test_group_norm_divides_the_channels():
    groups = {channels: networks.NORMS["group"](channels).num_groups
              for channels in (8, 16, 24, 64, 100, 256, 17)}
    assert groups == {8: 8, 16: 16, 24: 12, 64: 16, 100: 10, 256: 16, 17: 1}


@pytest.mark.parametrize("path", [*SHIPPED_WEIGHTS.parent.glob("*.pt")], ids=lambda p: p.stem)
def test_shipped_weights_are_those_of_their_run(path):
    result = read_json(RESULTS_DIR / path.stem / "result.json")
    assert get_number_of_parameters(restore(load_checkpoint(path))) == result["parameters"]


@pytest.mark.parametrize("preset, limit", [("small", 300_000), ("best", 10_000_000)])
def test_presets_have_as_few_parameters_as_they_promise(preset, limit):
    settings = Settings.from_dict(PRESETS[preset])
    net = build(settings.network, **settings.config)
    assert 0.8 * limit < get_number_of_parameters(net) < limit
