"""The loss around a network's weights: directions, the loss there, curvature, the plane of a path.

    from codes.insight.loss_landscape import displaced, filter_normalized, for_landscape, loss_at
    from VGG_BatchNorm.probes import trainable

    centre, draw = trainable(net), torch.Generator().manual_seed(0)
    way = filter_normalized(centre, draw)
    loss_at(for_landscape(net), displaced(centre, (0.5, way)), (images, labels))

The net, its buffers and gradients stay the same bits: what is moved is a copy.
"""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from tqdm import tqdm

from VGG_BatchNorm.ground.files import atomic_write
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.probes import Batch, Tensors


def for_landscape(net: nn.Module, frozen: bool = False) -> nn.Module:
    """A copy of `net` in evaluation mode (no dropout) whose batch norm follows the weights it is given.

    Running statistics belong to the weights under which they were gathered; anywhere else they have to
    be computed anew. Here that takes no pass of its own: each layer normalises by the batch that the
    loss is taken of. But for n/(n − 1) in a variance of n values, this is evaluation mode after the
    statistics were recomputed from the same images.

    Args:
        frozen: keep the running statistics of `net` instead, wherever its weights are moved.
    """
    net = copy.deepcopy(net).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train(not frozen)
    return net


def loss_at(net: nn.Module, point: Tensors, batch: Batch) -> Tensor:
    """Mean cross-entropy in nats, without label smoothing, of `net` with the parameters `point`.

    Args:
        net: from `for_landscape`.
        point: parameters by name; those left out are the net's.
        batch: normalized images (N, 3, S, S) and labels (N,); they go through at once.
    """
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    return F.cross_entropy(functional_call(net, (point, buffers), (batch[0],)), batch[1])


def filter_normalized(centre: Tensors, generator: torch.Generator) -> Tensors:
    """A random direction whose every filter is as long as the filter of `centre` that it moves.

    Li et al. 2018 (arXiv 1712.09913, section 4). A filter is all that makes one output channel or unit:
    w[k] of a parameter w with two or more axes. Biases and the parameters of normalisation stay (0).
    Drawn on the CPU: the same on every device.
    """
    direction = {}
    for name, p in centre.items():
        if p.ndim < 2:
            direction[name] = torch.zeros_like(p)
            continue
        random = torch.randn(p.shape, generator=generator).to(p)
        wanted, drawn = (torch.linalg.vector_norm(t, dim=tuple(range(1, p.ndim)), keepdim=True)
                         for t in (p, random))
        direction[name] = random * (wanted / drawn)
    return direction


def displaced(centre: Tensors, *moves: tuple[float, Tensors]) -> Tensors:
    """The point centre + Σ distance · direction, for `moves` of (distance, direction)."""
    return {name: p + sum(distance * direction[name] for distance, direction in moves)
            for name, p in centre.items()}


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one vector, in the tensors' order."""
    return torch.cat([t.flatten() for t in tensors])


def unflat(vector: Tensor, like: Tensors) -> Tensors:
    """The inverse of `flat` for tensors that are like `like` in name, shape, layout, type and device."""
    parts = vector.split([p.numel() for p in like.values()])
    return {name: torch.empty_like(p).copy_(part.reshape(p.shape))
            for (name, p), part in zip(like.items(), parts, strict=True)}


def top_eigenvalue(loss: Callable[[], Tensor], parameters: Sequence[Tensor], generator: torch.Generator,
                   iterations: int = 60, tolerance: float = 0.05) -> tuple[float, float]:
    """The highest eigenvalue of the Hessian of `loss` in `parameters`, by power iteration.

    Each iteration is one Hessian-vector product, the gradient of gᵀv (Pearlmutter 1994). What is found is
    never above the true value (it is a Rayleigh quotient vᵀHv, ‖v‖ = 1).

    Args:
        loss: computes the loss from `parameters`, which require gradients; twice differentiable.
        generator: on the CPU; draws the first v.
        iterations: at most so many, and as many again where the eigenvalue of the largest size is negative.
        tolerance: stop where ‖Hv − λv‖ is within this share of |λ|.

    Returns:
        λ, and ‖Hv − λv‖: some eigenvalue is that near to λ.
    """
    parameters = list(parameters)
    gradient = flat(torch.autograd.grad(loss(), parameters, create_graph=True, materialize_grads=True))
    start = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype).to(gradient.device)

    def hessian(vector: Tensor) -> Tensor:
        return flat(torch.autograd.grad(gradient, parameters, vector, retain_graph=True,
                                        materialize_grads=True))

    value, residual = _largest(hessian, start, iterations, tolerance)
    if value < 0:  # it is the lowest; with the spectrum moved up by its size, the highest is the largest
        lowest = value
        value, residual = _largest(lambda v: hessian(v) - lowest * v, start, iterations, tolerance)
        value += lowest
    return value, residual


def _largest(product: Callable[[Tensor], Tensor], vector: Tensor, iterations: int,
             tolerance: float) -> tuple[float, float]:
    """Eigenvalue of the largest size of a symmetric matrix, given its product with a vector; and residual."""
    for _ in range(iterations):
        vector = vector / vector.norm()
        image = product(vector)
        value = (vector @ image).item()
        residual = (image - value * vector).norm().item()
        if residual <= tolerance * abs(value):
            break
        vector = image
    return value, residual


def principal_plane(path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The plane in which the points of a path vary most, moved so that it holds the last of them.

    Args:
        path: (K, P), K ≥ 2 points in order.

    Returns:
        directions: (2, P) float64, orthonormal: the first two principal components.
        coordinates: (K, 2), of the points along them, counted from the last point.
        explained: (2,), shares of the variance about the mean.
    """
    path = path.double()
    _, values, directions = torch.linalg.svd(path - path.mean(0), full_matrices=False)
    explained = values.square() / values.square().sum()
    return directions[:2], (path - path[-1]) @ directions[:2].T, explained[:2]


# --- a grid of losses in a file that grows by a row --------------------------------------------


def fill(path: Path, about: dict, prepare: Callable[[], tuple]) -> dict:
    """The losses (len(ys), len(xs)) on a grid, row by row into `path`, and what goes with them.

    Args:
        about: what the numbers are of, as JSON gives it back; a file about something else is replaced.
        prepare: gives xs, ys, loss(x, y) and a function whose result, numbers and arrays by name, is
            computed before the rows; not called where the file is complete.
    """
    held = read_plane(path)
    known = held.get("about") == about
    if known and len(held["loss"]) == len(held["ys"]):
        return held
    xs, ys, loss, first = prepare()
    if not known:
        held = dict(about=about, xs=xs, ys=ys, loss=np.empty((0, len(xs))), **first())
        write_plane(path, held)
    for y in tqdm(ys[len(held["loss"]):].tolist(), desc=path.stem, leave=False):
        row = [loss(x, y) for x in xs.tolist()]
        held["loss"] = np.concatenate([held["loss"], [row]])
        write_plane(path, held)
    return held


def write_plane(path: Path, plane: dict) -> None:
    with atomic_write(path) as file:
        np.savez(file, **plane | {"about": json.dumps(plane["about"])})


def read_plane(path: Path) -> dict:
    """What `write_plane` wrote; nothing where there is no file.

    Raises:
        UserError: damaged.
    """
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        return held | {"about": json.loads(str(held["about"]))}
    except Exception:  # numpy has no one exception for "this is not a whole npz file"
        raise UserError(f"{path} is damaged; delete it and run again") from None
