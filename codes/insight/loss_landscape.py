"""The loss around a network's weights: directions, the loss there, curvature, the plane of a path.

    from codes.insight.loss_landscape import displaced, filter_normalized, for_landscape, loss_at
    from VGG_BatchNorm.probes import trainable

    centre, draw = trainable(net), torch.Generator().manual_seed(0)
    way = filter_normalized(centre, draw)
    loss_at(for_landscape(net), displaced(centre, (0.5, way)), (images, labels))

The net, its buffers and gradients stay the same bits: what is moved is a copy."""

import copy
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from tqdm import tqdm

from codes.insight.measured import deviating
from codes.results.measurements import TOLERANCE
from VGG_BatchNorm.batchnorm import NoisyBatchNorm2d, with_running_statistics
from VGG_BatchNorm.ground.files import read_npz, write_npz
from VGG_BatchNorm.ground.machine import environment
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.probes import Batch, Tensors, trainable


def for_landscape(net: nn.Module, frozen: bool = False) -> nn.Module:
    """Return a copy of `net` in evaluation mode whose layers with running statistics, as of batch
    norm, follow the weights they are given.

    Running statistics belong to the weights under which they were gathered; anywhere else they have
    to be computed anew. Here that takes no pass of its own: each layer normalises by the batch that
    the loss is taken of. But for n/(n − 1) in a variance of n values, this is evaluation mode after
    the statistics were recomputed from the same images. `frozen`: keep the running statistics of
    `net` instead, wherever its weights are moved.

    Raises UserError: `frozen`, and it has none; or a batch norm that draws noise in training."""
    net = copy.deepcopy(net).eval()
    layers = with_running_statistics(net)
    if frozen and not layers:
        raise UserError("this net keeps no running statistics; leave --frozen out")
    if any(isinstance(layer, NoisyBatchNorm2d) for layer in layers):
        raise UserError("noise after batch norm would make another loss at each look")
    for layer in layers:
        layer.train(not frozen)
    return net


def loss_at(net: nn.Module, point: Tensors, batch: Batch) -> Tensor:
    """Return the mean cross-entropy in nats, not smoothed, of `net` with the parameters `point`.

    Args:
        net: from `for_landscape`.
        point: parameters by name; those left out are the net's.
        batch: normalized images (N, 3, S, S) and labels (N,); they go through at once."""
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    return F.cross_entropy(functional_call(net, (point, buffers), (batch[0],)), batch[1])


def filter_normalized(centre: Tensors, generator: torch.Generator) -> Tensors:
    """Return a random direction, each filter as long as the filter of `centre` that it moves.

    Li et al. 2018 (arXiv 1712.09913, section 4). A filter is all that makes one output channel or
    unit: w[k] of a parameter w with two or more axes. Biases and the parameters of normalisation
    stay (0). Drawn on the CPU: the same on every device."""
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
    """Return the point centre + Σ distance · direction, for `moves` of (distance, direction)."""
    return {name: p + sum(distance * direction[name] for distance, direction in moves)
            for name, p in centre.items()}


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return all entries in one vector, in the tensors' order."""
    return torch.cat([t.flatten() for t in tensors])


def unflat(vector: Tensor, like: Tensors) -> Tensors:
    """Invert `flat` for tensors that are like `like` in name, shape, layout, type and device."""
    parts = vector.split([p.numel() for p in like.values()])
    return {name: torch.empty_like(p).copy_(part.reshape(p.shape))
            for (name, p), part in zip(like.items(), parts, strict=True)}


def top_eigenvalue(loss: Callable[[], Tensor], parameters: Iterable[Tensor],
                   generator: torch.Generator, iterations: int = 60,
                   tolerance: float = TOLERANCE) -> tuple[float, float]:
    """Return the highest eigenvalue of the Hessian of `loss` in `parameters`, by power iteration.

    Each iteration is one Hessian-vector product, the gradient of gᵀv (Pearlmutter 1994). What is
    found is never above the true value (it is a Rayleigh quotient vᵀHv, ‖v‖ = 1).

    Args:
        loss: computes the loss from `parameters`, which require gradients; twice differentiable.
        generator: on the CPU; draws the first v.
        iterations: at most so many, and again where the eigenvalue of largest size is negative.
        tolerance: stop where ‖Hv − λv‖ is within this share of |λ|.

    Returns:
        λ, and ‖Hv − λv‖: some eigenvalue is that near to λ."""
    parameters = list(parameters)
    grad = partial(torch.autograd.grad, inputs=parameters, materialize_grads=True)
    gradient = flat(grad(loss(), create_graph=True))
    start = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype).to(gradient)

    def hessian(vector: Tensor) -> Tensor:
        return flat(grad(gradient, grad_outputs=vector, retain_graph=True))

    value, residual = _largest(hessian, start, iterations, tolerance)
    if value < 0:  # the lowest; with the spectrum moved up by its size, the highest is the largest
        return _largest(hessian, start, iterations, tolerance, shift=value)
    return value, residual


def _largest(product: Callable[[Tensor], Tensor], vector: Tensor, iterations: int,
             tolerance: float, shift: float = 0.0) -> tuple[float, float]:
    """Return the eigenvalue of the symmetric matrix behind `product` farthest from `shift`, and its
    residual."""
    for _ in range(iterations):
        vector = vector / vector.norm()
        image = product(vector) - shift * vector
        value = (vector @ image).item()
        residual = (image - value * vector).norm().item()
        if residual <= tolerance * abs(value + shift):
            break
        vector = image
    return value + shift, residual


def principal_plane(path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the plane in which a path's points vary most, moved so that it holds the last of them.
    `path`: (K, P), K ≥ 2 points in order.

    Returns:
        directions: (2, P) float64, orthonormal: the first two principal components.
        coordinates: (K, 2), of the points along them, counted from the last point.
        explained: (2,), shares of the variance about the mean."""
    path = path.double()
    _, values, directions = torch.linalg.svd(path - path.mean(0), full_matrices=False)
    explained = values.square() / values.square().sum()
    return directions[:2], (path - path[-1]) @ directions[:2].T, explained[:2]


# --- planes, for `fill` ------------------------------------------------------------------------


def random_plane(net: nn.Module, batch: Batch, *, n_items: int, hessian_images: int,
                 iterations: int, points: int, span: float, seed: int,
                 frozen: bool = False) -> tuple:
    """Return, for `fill`, two random directions from the weights, and the top eigenvalue there.

    Args:
        n_items: images of `batch` that the loss is taken of, the first.
        hessian_images: of which the Hessian is.
        iterations: of the power iteration, at most.
        points: of the grid, along each direction; odd.
        span: of the directions, to either side.
        seed: of the directions.
        frozen: leave the batch-norm statistics as they are."""
    net = for_landscape(net.to(batch[0].device), frozen)
    batch = tuple(part[:n_items] for part in batch)
    centre, draw = trainable(net), torch.Generator().manual_seed(seed)
    across, up = filter_normalized(centre, draw), filter_normalized(centre, draw)
    ticks = span * np.arange(-(points // 2), points // 2 + 1) / (points // 2)  # 0 is exact

    def loss(x: float, y: float) -> float:
        return loss_at(net, displaced(centre, (x, across), (y, up)), batch).item()

    def first() -> dict:
        point = {name: p.clone().requires_grad_() for name, p in centre.items()}
        few = tuple(part[:hessian_images] for part in batch)
        value, residual = top_eigenvalue(lambda: loss_at(net, point, few), point.values(), draw,
                                         iterations)
        return dict(eigenvalue=value, residual=residual,
                    environment=json.dumps(environment(few[0].device)))

    return ticks, ticks, loss, first


def path_plane(net: nn.Module, weights: Tensor, batch: Batch, *, n_items: int,
               points: int) -> tuple:
    """Return, for `fill`, the principal plane of the path of weights (K, P), and the path in it."""
    net, batch = for_landscape(net.to(batch[0].device)), tuple(part[:n_items] for part in batch)
    directions, coordinates, explained = principal_plane(weights)
    end, across, up = (unflat(vector, trainable(net)) for vector in (weights[-1], *directions))
    xs, ys = (around(along, points) for along in coordinates.T.numpy())

    def loss(x: float, y: float) -> float:
        return loss_at(net, displaced(end, (x, across), (y, up)), batch).item()

    return xs, ys, loss, lambda: dict(coordinates=coordinates, explained=explained,
                                      environment=json.dumps(environment(batch[0].device)))


def around(values: np.ndarray, points: int) -> np.ndarray:
    """Return evenly spaced ticks that hold `values` and a fifth of their range on either side."""
    margin = 0.2 * np.ptp(values) or 1.0
    return np.linspace(values.min() - margin, values.max() + margin, points)


# --- a grid of losses in a file that grows by a row --------------------------------------------


def fill(path: Path, about: dict, prepare: Callable[..., tuple], **settings) -> dict:
    """Return the losses (len(ys), len(xs)) on a grid, kept row by row in `path`.

    Args:
        about: what the numbers are of, as JSON gives it back; it is kept with the settings. A file
            about something else, or of other settings, is replaced.
        prepare: given the settings, returns xs, ys, loss(x, y) and a function whose result, numbers
            and arrays by name, is computed before the rows; not called for a complete file.

    Raises UserError: the file is damaged."""
    about = {**about, "settings": settings}
    held = read_npz(path) if path.exists() else {}
    known = deviating(held.get("about")) == deviating(about)
    if known and len(held["loss"]) == len(held["ys"]):
        return held
    xs, ys, loss, first = prepare(**settings)
    if not known:
        write_npz(path, about, dict(xs=xs, ys=ys, loss=np.empty((0, len(xs))), **first()))
    for y in tqdm(ys[len(held["loss"]) if known else 0:].tolist(), desc=path.stem, leave=False):
        arrays = read_npz(path)
        arrays["loss"] = np.concatenate([arrays["loss"], [[loss(x, y) for x in xs.tolist()]]])
        write_npz(path, arrays.pop("about"), arrays)
    return read_npz(path)
