"""How alike layers represent the same images: linear CKA, and what it needs of a net.

    from codes.insight.similarity import cka_matrix, layer_outputs
    similar = cka_matrix(layer_outputs(one, x), layer_outputs(other, x))  # row: a block of `one`

Centred kernel alignment compares which images a layer holds to be alike, not its channels: it is 1
for features that differ by a rotation and a factor, near 0 for unrelated ones (Kornblith et al.
2019, arXiv 1905.00414)."""

import contextlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from VGG_BatchNorm.ground.script import UserError

SIDE = 4  # of the averaged maps that are compared, in pixels


def gram(features: Tensor) -> Tensor:
    """Return the centred Gram matrix (N, N) of features (N, D), of Frobenius norm 1 (or 0)."""
    x = features - features.mean(0)
    products = x @ x.T
    return products / products.norm().clamp(min=torch.finfo(products.dtype).tiny)


def cka_matrix(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Return (len(first), len(second)) values of linear CKA (eq. 4) of features (N, D).

    A value is the cosine of two Gram matrices: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centred X and Y."""
    rows, columns = (torch.stack([gram(x) for x in some]).flatten(1) for some in (first, second))
    return rows @ columns.T


def run_and_tell_layers(net: nn.Module, x: Tensor,
                        note: Callable[[str, nn.Module, Tensor], None]) -> None:
    """Run `net` on x; call `note` with name, layer and output of each innermost layer that runs.
    Raises UserError: it has no convolution, and so no feature maps."""
    if not any(isinstance(layer, nn.Conv2d) for layer in net.modules()):
        raise UserError("this net has no convolution, so there are no feature maps to look at; "
                        "visualize_mistakes.py and visualize_landscape.py take it")
    with contextlib.ExitStack() as hooks:
        for name, layer in net.named_modules():
            if not list(layer.children()):
                hooks.enter_context(layer.register_forward_hook(
                    lambda layer, _, output, name=name: note(name, layer, output)))
        net(x)


@torch.no_grad()
def layer_outputs(net: nn.Module, x: Tensor, batch_size: int = 250) -> list[Tensor]:
    """Return what each convolution block of `net` makes of the images x (N, 3, H, W), normalised.

    A block ends with its activation. Its maps are averaged over areas, down to SIDE × SIDE
    pixels: for 2,000 images and the shipped net, 150 MB in all.

    Returns:
        features (N, channels · SIDE²), or of all pixels where there are fewer, in the net's order.
    """
    seen: list[list[Tensor]] = []

    def note(name: str, layer: nn.Module, maps: Tensor) -> None:
        ends_block = name.endswith("activation") or isinstance(layer, nn.ReLU)
        if ends_block and maps.ndim == 4:  # not those of linear layers
            seen[-1].append(F.adaptive_avg_pool2d(maps, min(SIDE, maps.shape[-1])).flatten(1))

    for images in x.split(batch_size):
        seen.append([])
        run_and_tell_layers(net, images, note)
    return [torch.cat(parts) for parts in zip(*seen, strict=True)]


def penultimate(net: nn.Module, x: Tensor) -> Tensor:
    """Return (N, D): what the last linear layer of `net` is given for normalised images x.
    Raises UserError: it has none."""
    seen, layers = [], [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise UserError("this net has no linear layer, whose input would be its features")
    with layers[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        net(x)
    return seen[0]


def nearest(features: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return cosines and numbers (N, count) of the nearest `known` features (M, D), in order."""
    return (F.normalize(features) @ F.normalize(known).T).topk(min(count, len(known)))
