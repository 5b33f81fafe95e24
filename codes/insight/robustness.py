"""How a net bears corrupted and adversarial images, in accuracies; and two small nets under noise.

    about = made_from(checkpoint, data_dir)
    data = measured(path, about, measure, net, test, images=2000, attacked=500, **SETTINGS)"""

import json
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codes.insight.corruptions import CORRUPTIONS, corrupted
from codes.insight.small_nets import opened
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.machine import environment
from VGG_BatchNorm.ground.predictions import accuracy, predict

NOISE = "Gaussian noise"
PGD_STEP = 2.5  # a step of PGD, in ε over the number of steps
SETTINGS = dict(  # of `measure`
    corruptions={name: strengths for name, (_, strengths) in CORRUPTIONS.items()},
    epsilons=[0.0, 0.5, 1.0, 2.0, 4.0, 8.0],  # largest change of a pixel, in 1/255
    steps=10,  # of PGD
    example=7,  # number of the test image whose versions are shown
)


def loss_gradient(net: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the summed cross-entropy by pixels x (N, 3, H, W) in [0, 1]."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(net(normalize(255 * x)), labels, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def fgsm(net: nn.Module, x: Tensor, labels: Tensor, eps: float, _=None) -> Tensor:
    """Return x (N, 3, H, W) in [0, 1], each pixel moved by eps the way that raises the loss."""
    return (x + eps * loss_gradient(net, x, labels).sign()).clamp(0, 1)


def pgd(net: nn.Module, x: Tensor, labels: Tensor, eps: float, generator: torch.Generator,
        steps: int = 10) -> Tensor:
    """Take `steps` steps of PGD_STEP · eps / steps within eps of x (N, 3, H, W) and in [0, 1].
    `generator`: on the CPU; draws the start, uniform within eps."""
    start = 2 * torch.rand(x.shape, generator=generator).to(x.device) - 1
    moved = (x + eps * start).clamp(0, 1)
    for _ in range(steps if eps else 0):
        moved = moved + PGD_STEP * eps / steps * loss_gradient(net, moved, labels).sign()
        moved = (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)
    return moved


def accuracies(net: nn.Module, test: Split, name: str, strengths: list) -> list[float]:
    """Return the accuracy on `test`, which is on the CPU, under a corruption of each strength."""
    device = next(net.parameters()).device
    splits = (Split(corrupted(test.images, name, one), test.labels).to(device) for one in strengths)
    found = [accuracy(predict(net, split), split.labels) for split in splits]
    print(f"{name:<15}" + "".join(f"{100 * share:6.1f}" for share in found), flush=True)
    return found


def attacked_accuracies(net: nn.Module, some: Split, epsilons: list[float], steps: int,
                        batch_size: int = 250) -> dict[str, list[float]]:
    """Return the accuracy by attack, for `epsilons` in 1/255."""
    found = {}
    for name, attack in {"FGSM": fgsm, f"PGD-{steps}": partial(pgd, steps=steps)}.items():
        found[name] = []
        for eps in epsilons:
            generator = torch.Generator().manual_seed(0)
            batches = zip(*(part.split(batch_size) for part in some), strict=True)
            moved = torch.cat([attack(net, images / 255, labels, eps / 255, generator)
                               for images, labels in batches])
            logits = predict(net, Split(255 * moved, some.labels), batch_size=batch_size)
            found[name].append(accuracy(logits, some.labels))
        print(f"{name:<9}" + "".join(f"{100 * share:6.1f}" for share in found[name]), flush=True)
    return found


def examples(net: nn.Module, one: Split, device: torch.device, corruptions: dict[str, list],
             epsilons: list[float], steps: int) -> dict:
    """Return pictures (corruptions + 1, 6, 32, 32, 3) of an image: clean, severities; last PGD."""
    rows = [torch.cat([one.images, *(corrupted(one.images, name, each) for each in strengths)])
            for name, strengths in corruptions.items()]
    image, label = one.to(device)
    attacked = [pgd(net, image / 255, label, eps / 255, torch.Generator().manual_seed(0), steps)
                for eps in epsilons]
    rows.append((255 * torch.cat(attacked)).round().to("cpu", torch.uint8))
    return {"pictures": torch.stack(rows).permute(0, 1, 3, 4, 2), "label": one.labels[0]}


def measure(net: nn.Module, test: Split, *, images: int, attacked: int,
            corruptions: dict[str, list], epsilons: list[float], steps: int, example: int) -> dict:
    """Return accuracies, in fractions, on the first `images` test images, and `examples` of one.

    Args:
        test: on the CPU.
        attacked: so many of the images are attacked, the first.
        corruptions: strengths by name, as in `CORRUPTIONS`.
        epsilons: largest change of a pixel by the attacks, in 1/255; as many as severities and one.

    Returns:
        clean; corruptions (C, S); attacks (2, E), FGSM and PGD; pictures and label of the example;
        and the environment, as JSON."""
    device = next(net.parameters()).device
    test, one = test.take(slice(images)), test.take(slice(example, example + 1))
    whole, some = test.to(device), test.take(slice(attacked)).to(device)
    return {"clean": accuracy(predict(net, whole), whole.labels),
            "corruptions": [accuracies(net, test, *each) for each in corruptions.items()],
            "attacks": list(attacked_accuracies(net, some, epsilons, steps).values()),
            **examples(net, one, device, corruptions, epsilons, steps),
            "environment": json.dumps(environment(device))}


def noise_by_first_layer(train: Split, test: Split, *, images: int, nets: dict[str, dict],
                         strengths: list[float]) -> dict:
    """Return the accuracy (nets, 1 + strengths) of small nets on clean and on noisy test images.

    Args:
        train: what they are trained on, on the device they run on.
        test: on the CPU.
        nets: `net_settings` by name."""
    test, device, found = test.take(slice(images)), train.labels.device, []
    for name, one in nets.items():
        net = opened(name, one, train)
        clean = accuracy(predict(net, test.to(device)), test.labels.to(device))
        found.append([clean, *accuracies(net, test, NOISE, strengths)])
    return {"accuracy": found}
