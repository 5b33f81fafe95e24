"""Which pixels made a network say what it says: three answers.

    said = net(x).argmax(1)
    integrated_gradients(net, x, said)         # (N, 3, H, W)
    occlusion(net, x, said)                    # (N, rows, columns) of squares
    grad_cam(net, x, said, last_maps(net, x))  # (N, h, w)

Functions of a classifier in evaluation mode, in which images do not touch each other: x
(N, 3, H, W) to logits (N, classes). Images are normalised, so that 0 is the mean colour of the
training set. `classes` (N,) are those whose logits are explained. Nothing of the net is changed.
All three agreed with captum once; it is left out, as the numpy that it pins did not fit."""

from itertools import product

import torch
from torch import Tensor, nn

from codes.insight.similarity import run_and_tell_layers
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.predictions import predict


@torch.no_grad()
def last_maps(net: nn.Module, x: Tensor) -> nn.Module:
    """Return the layer that gives the last feature maps before the last pooling: for a net of this
    project, what follows its last convolution (norm, shortcut, activation) included."""
    given = []

    def note(_, layer: nn.Module, output: Tensor) -> None:
        if (output.ndim == 4 and output.shape[2] > 1
                and not isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d))):
            given.append(layer)

    run_and_tell_layers(net, x, note)
    return given[-1]


def grad_cam(net: nn.Module, x: Tensor, classes: Tensor, layer: nn.Module) -> Tensor:
    """Return (N, h, w): where the maps A_k that `layer` gives speak for the class.

    relu(Σ_k α_k A_k), α_k the mean over the map of ∂logit/∂A_k (Selvaraju et al. 2017, arXiv
    1610.02391, eq. 1 and 2). Behind global pooling, mean or max, and one linear layer, α_k is the
    head's weight up to a factor, and the map that of CAM (Zhou et al. 2016, arXiv 1512.04150)."""
    kept = []

    def keep(_, __, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # what follows may work in place

    with layer.register_forward_hook(keep):
        logits = _logits(net(x.detach().requires_grad_()), classes)
    (gradient,) = torch.autograd.grad(logits.sum(), kept[-1])  # images do not touch each other
    return (gradient.mean((2, 3), keepdim=True) * kept[-1].detach()).sum(1).relu()


def integrated_gradients(net: nn.Module, x: Tensor, classes: Tensor,
                         baseline: Tensor | float = 0.0, steps: int = 64) -> Tensor:
    """Return (N, 3, H, W): what each value of x adds to the logit, on the way from `baseline`.

    (x − b) times the mean gradient on the way, by the midpoint rule (Sundararajan et al. 2017,
    arXiv 1703.01365, eq. 1 and 3). "Complete": the sum over an image is its logit less that of the
    baseline."""
    way, total = x - baseline, torch.zeros_like(x)
    for i in range(steps):
        point = (baseline + (i + 0.5) / steps * way).detach().requires_grad_()
        total += torch.autograd.grad(_logits(net(point), classes).sum(), point)[0]
    return way * total / steps


@torch.no_grad()
def occlusion(net: nn.Module, x: Tensor, classes: Tensor, size: int = 6,
              stride: int = 2) -> Tensor:
    """Return (N, rows, columns): by how much the logit falls when the mean colour covers a square.

    The square of entry (i, j) begins at row i·stride and column j·stride; its side is `size` pixels
    (Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2)."""
    tops, lefts = (range(0, length - size + 1, stride) for length in x.shape[2:])
    whole, falls = _logits(net(x), classes), []
    for top, left in product(tops, lefts):
        covered = x.clone()
        covered[:, :, top:top + size, left:left + size] = 0
        falls.append(whole - _logits(net(covered), classes))
    return torch.stack(falls, 1).unflatten(1, (len(tops), len(lefts)))


def explain(net: nn.Module, x: Tensor, classes: Tensor, size: int, stride: int,
            steps: int) -> dict[str, Tensor]:
    """Return the three answers by name, (N, h, w) each: integrated gradients summed over colours.

    Args:
        size, stride: as for `occlusion`.
        steps: as for `integrated_gradients`."""
    return {"grad_cam": grad_cam(net, x, classes, last_maps(net, x)),
            "integrated_gradients": integrated_gradients(net, x, classes, steps=steps).sum(1),
            "occlusion": occlusion(net, x, classes, size, stride)}


def most_confident_pairs(logits: Tensor, labels: Tensor, rows: int) -> Tensor:
    """Return numbers (rows, 2): a class's most confident right answer and mistake.

    The classes are those whose mistakes are the most confident, in this order; −1 where a class has
    no right answer, or no mistake."""
    confidence, predicted = logits.softmax(1).max(1)
    of_class = labels == torch.arange(logits.shape[1], device=labels.device)[:, None]
    columns = [torch.where(of_class & kind, confidence, -1.0).max(1)
               for kind in (predicted == labels, predicted != labels)]
    numbers = torch.stack([best.indices.masked_fill(best.values < 0, -1) for best in columns], 1)
    return numbers[columns[1].values.argsort(descending=True)[:rows]]


def measure(net: nn.Module, test: Split, rows: int, size: int, stride: int, steps: int) -> dict:
    """Return the images chosen, row by row, right answers before mistakes, and their explanations.
    `rows`: classes; the others are as for `explain`."""
    logits = predict(net, test)
    numbers = most_confident_pairs(logits, test.labels, rows).flatten()
    images, labels = test.take(numbers)  # −1, the last image, is not drawn
    confidence, said = logits[numbers].softmax(1).max(1)
    x = normalize(images)
    found = explain(net, x, said, size, stride, steps)
    with torch.no_grad():
        gain = (net(x) - net(torch.zeros_like(x))).gather(1, said[:, None])[:, 0]
    return {"numbers": numbers, "labels": labels, "said": said, "confidence": confidence,
            "images": images.permute(0, 2, 3, 1), **found, "gain": gain,
            "sum": found["integrated_gradients"].sum((1, 2))}


def _logits(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
