"""Attribution on models whose answers are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from codes.insight import attribution
from codes.insight.attribution import grad_cam, last_maps, most_confident_pairs, occlusion
from codes.networks import build


def test_integrated_gradients_of_a_linear_model():
    net, classes = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.tensor([2, 0])
    x, baseline = torch.randn(2, 2, 3, 2, 2)
    added = attribution.integrated_gradients(net, x, classes, baseline)
    torch.testing.assert_close(added, net[1].weight.detach()[classes].view_as(x) * (x - baseline))
    with torch.no_grad():
        gain = (net(x) - net(baseline)).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(added.sum((1, 2, 3)), gain, atol=1e-4, rtol=0)
    assert all(p.grad is None for p in net.parameters())


def test_integrated_gradients_are_complete():
    net, x = build("cifarnet", widths=(8, 8)).eval(), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        (logits, classes), start = net(x).max(1), net(torch.zeros_like(x))
    gain = logits - start.gather(1, classes[:, None])[:, 0]
    added = attribution.integrated_gradients(net, x, classes).sum((1, 2, 3))
    torch.testing.assert_close(added, gain, rtol=0.05, atol=0)
    few = attribution.integrated_gradients(net, x, classes, steps=1).sum((1, 2, 3))
    assert (few - gain).abs().sum() > (added - gain).abs().sum()


def test_occlusion_sees_where_the_model_looks():
    def net(x):  # looks at one pixel
        return torch.stack([x[:, 1, 9, 4], -2 * x[:, 1, 9, 4]], 1)

    x = torch.rand(1, 3, 16, 16) + 1
    for label, factor in enumerate((1, -2)):
        falls = occlusion(net, x, torch.tensor([label]), size=6, stride=2)
        covers = [[2 * i <= 9 < 2 * i + 6 and 2 * j <= 4 < 2 * j + 6 for j in range(6)]
                  for i in range(6)]
        assert torch.equal(falls[0], factor * x[0, 1, 9, 4] * torch.tensor(covers))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)], ids=str)
def test_grad_cam_of_a_net_made_by_hand(pool):
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=True), pool, nn.Flatten(),
                        nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        # red and green
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]).view(2, 3, 1, 1))
        net[4].weight.copy_(torch.tensor([[1.0, -2], [0, 3]]))
    x = torch.rand(2, 3, 4, 4)
    got = grad_cam(net, x, torch.tensor([0, 1]), net[1])
    torch.testing.assert_close(got[0], (x[0, 0] - 2 * x[0, 1]).relu() / 16)
    torch.testing.assert_close(got[1], 3 * x[1, 1] / 16)


def test_grad_cam_of_cifarnet_is_its_class_activation_map():
    net, x = build("cifarnet", widths=(8, 8)).eval(), torch.randn(3, 3, 32, 32)
    classes = torch.tensor([4, 0, 9])
    with torch.no_grad():
        maps = net.groups(net.activation(net.stem(F.pad(x, (0, 1, 0, 1), mode="replicate"))))
        weights = net.head.weight[classes][:, :, None, None] * net.logit_factor
    got = grad_cam(net, x, classes, last_maps(net, x))
    torch.testing.assert_close(got, (weights * maps).sum(1).relu() / 64)


def test_last_maps_are_those_before_the_last_pooling():
    x = torch.zeros(1, 3, 32, 32)
    cifarnet, light = build("cifarnet", widths=(8, 8)).eval(), build("vgg_a_light").eval()
    vgg = build("vgg", norm="batch", width=0.02).eval()
    assert last_maps(cifarnet, x) is cifarnet.groups[1].dropout
    assert last_maps(light, x) is light.stage2[1]
    assert last_maps(vgg, x) is vgg.features[-2]


def test_images_are_chosen_by_their_confidence():
    logits = torch.tensor([[2.0, 0], [3, 0], [0, 1], [4, 0], [0, 5]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    assert most_confident_pairs(logits, labels, rows=5).tolist() == [[1, 4], [2, 3]]
    assert most_confident_pairs(logits, labels, rows=1).tolist() == [[1, 4]]
    assert sorted(most_confident_pairs(logits[:1], torch.tensor([0]), rows=5).tolist()) == [
        [-1, -1], [0, -1]]
