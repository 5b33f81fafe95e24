"""The VGG table, its norms, and the course kit's networks."""

import pytest
import torch
from torch import nn

from VGG_BatchNorm import VGG as kit
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.VGG import VGG, VGG_A, VGG_A_Dropout, VGG_A_Light, VGG_BatchNorm

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


# of the convolutions: table 2 of the paper, less its linear layers
@pytest.mark.parametrize("configuration, layers, parameters", [
    ("A", 8, 9_220_480), ("A-LRN", 8, 9_220_480), ("B", 10, 9_404_992), ("C", 13, 9_996_096),
    ("D", 13, 14_714_688), ("E", 16, 20_024_384)])
def test_the_table(configuration, layers, parameters):
    with torch.device("meta"):
        net = VGG(configuration)
        convolutions = [m for m in net.features if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == layers
        assert kit.get_number_of_parameters(net.features) == parameters
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    lrn = [layer for layer in net.features if isinstance(layer, nn.LocalResponseNorm)]
    assert len(lrn) == (configuration == "A-LRN")


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("norm", kit.NORMS)
def test_every_norm_trains(norm, half):
    net = VGG("A", norm=norm, width=1 / 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = net(IMAGES)
    loss = nn.functional.cross_entropy(logits.float(), torch.arange(4))
    loss.backward()
    found = loss, *net.buffers(), *(p.grad for p in net.parameters())
    assert all(t.isfinite().all() for t in found)
    layers = [type(m) for m in net.features]
    assert len(layers) == (21 if norm == "none" else 29)
    assert layers[-2] is nn.ReLU and net.eval()(IMAGES[:1]).isfinite().all()


def test_a_smooth_net_has_no_kinks():
    kinds = {type(layer) for layer in VGG("A", width=1 / 16, smooth=True).modules()}
    assert not kinds & {nn.ReLU, nn.MaxPool2d} and {nn.Softplus, nn.AvgPool2d} <= kinds


def test_the_kits_nets():
    """What a script written for the course's starter kit relies on."""
    assert [name for name in VGG_A(3, 10, True).state_dict()][:4] == [
        "features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias"]
    layers = {"features": (0, 3, 6, 8, 11, 13, 16, 18), "classifier": (0, 2, 4)}
    assert set(VGG_A().state_dict()) == {f"{room}.{i}.{kind}" for room, numbers in layers.items()
                                         for i in numbers for kind in ("weight", "bias")}
    assert kit.get_number_of_parameters(VGG_A()) == 9_750_922
    assert kit.get_number_of_parameters(VGG_A_Light(inp_ch=3, num_classes=10)) == 285_162
    assert kit.VGG_A_BatchNorm is VGG_BatchNorm
    plain, normed = ([type(m) for m in net.modules()] for net in (VGG_A(), VGG_BatchNorm()))
    assert normed.count(nn.BatchNorm2d) == 8
    assert set(normed) - set(plain) == {nn.BatchNorm2d, VGG_BatchNorm}
    dropout = VGG_A_Dropout(inp_ch=3, num_classes=10)
    assert [m.p for m in dropout.classifier if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    for kind in (VGG_A_Light, VGG_A_Dropout, VGG_A, VGG_BatchNorm):
        assert kind(inp_ch=1, num_classes=4)(torch.randn(2, 1, 32, 32)).shape == (2, 4)


def test_initial_weights_are_glorots():
    layer = nn.Conv2d(64, 128, 3)
    kit.init_weights_(layer)
    assert layer.weight.std().item() == pytest.approx((2 / (9 * (64 + 128))) ** 0.5, rel=0.02)
    assert not layer.bias.any()


@pytest.mark.parametrize("options",
                         [{"norm": "batsh"}, {"configuration": "F"}, {"width": 0}, {"dropout": 1},
                          {"head": "single", "dropout": 0.5}])
def test_bad_arguments(options):
    with pytest.raises(UserError):
        VGG(**options)
