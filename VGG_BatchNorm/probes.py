"""Measure the loss landscape around a network's weights without disturbing its training.

    from VGG_BatchNorm.probes import probe
    found = probe(model, torch.nn.functional.cross_entropy, (images, labels), lr=0.1)
    found["loss"], found["losses"], found["distances"], found["smoothness"]

Works on any module and any differentiable loss. Everything is computed on copies of parameters
and buffers, in the mode (train or eval) the module is in, on the batch it is given: afterwards
parameters, buffers, gradients and random state are the same bits as before. Every point is looked
at under the same random draws (dropout), those that the next training step would see. A batch is
(inputs…, targets), as the model and the loss take them; of `DataParallel` and `torch.compile`, the
module inside is probed, and its names count. Definitions: Santurkar et al. 2018 (arXiv
1805.11604), section 3.1, figure 4 and definition 2.1."""

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from VGG_BatchNorm.ground.machine import autocast
from VGG_BatchNorm.run_files import GRID

PART = 1 << 16  # entries that are summed at a time on a CPU
Tensors = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Batch = Sequence[torch.Tensor]
Result = TypeVar("Result")


def probe(model: nn.Module, loss_fn: Loss, batch: Batch, lr: float, *,
          multipliers: Sequence[float] = GRID, update: Tensors | None = None,
          at: tuple[float, Tensors] | None = None) -> dict:
    """Return loss and gradient along the step that training is about to take.

    The points are θ + s·u for each s of `multipliers`, with u = −lr · g, g the gradient over all
    trainable parameters.

    Args:
        model: in the mode it is trained in; `model(*inputs)` gives what `loss_fn` takes.
        loss_fn: of (outputs, targets), a scalar.
        lr: learning rate η of plain gradient descent, above 0.
        update: the step u of another optimizer, by parameter name; takes the place of −lr · g, and
            lr then changes nothing. To have it: `before = trainable(model)`, a training step of a
            copy of model and optimizer, and `after = trainable(copy)`; u = after − before.
        at: loss and gradient (by parameter name) where the model is, on this batch, if a training
            step has just found them; spares one of five passes. Not for a model with dropout:
            the step's draws were others.

    Returns:
        loss, gradient_norm: L(θ) and ‖g‖.
        multipliers: as given; and for each of them, in lists:
        losses: L(θ + s·u).
        distances: d = ‖∇L(θ + s·u) − g‖, gradient predictiveness.
        cosines: of ∇L(θ + s·u) and g.
        smoothness: d / ‖s·u‖, the effective β.

    Raises ValueError: lr ≤ 0 or not finite, a step that lacks a parameter; and, here and below,
    no trainable parameter, a batch that is not (inputs…, targets), a loss that is not one real
    number, or one that is cut off from all parameters."""
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr must be a number above 0, not {lr}")
    with _undisturbed(model) as model:
        start = trainable(model)
        loss, gradient = at or loss_and_gradient(model, loss_fn, batch, start)
        step = {name: -lr * g for name, g in gradient.items()} if update is None else update
        if lacks := [name for name in start if name not in step]:
            raise ValueError(f"the step lacks {lacks[0]}; its names are those of trainable(model)")
        step_norm = norm(step)
        result = {"loss": loss, "gradient_norm": norm(gradient), "multipliers": list(multipliers),
                  "losses": [], "distances": [], "cosines": [], "smoothness": []}
        for s in multipliers:
            point = {name: p + s * step[name] for name, p in start.items()}
            there, other = loss_and_gradient(model, loss_fn, batch, point)
            distance, cosine = _compare(other, gradient)
            result["losses"].append(there)
            result["distances"].append(distance)
            result["cosines"].append(cosine)
            result["smoothness"].append(_ratio(distance, s * step_norm))
    return result


def curvature(model: nn.Module, loss_fn: Loss, batch: Batch, point: Tensors | None = None) -> dict:
    """Return the limits of the effective β for ever smaller steps, by Hessian-vector products.
    `point`: trainable parameters by name; default: where the model is.

    Returns:
        hessian_norm: ‖H g‖ / ‖g‖.
        rayleigh: κ = gᵀ H g / ‖g‖².
        layer_rayleigh: κ of each weight tensor alone, by name; multiplied by ‖θ_l‖² it does not
            change when the tensor is rescaled before a normalisation."""
    # of attention's kernels, the plain one alone has a second derivative
    with _undisturbed(model) as model, sdpa_kernel(SDPBackend.MATH):
        point = point or trainable(model)
        point = {name: p.detach().clone().requires_grad_() for name, p in point.items()}

        def measure(loss: torch.Tensor) -> dict:
            gradient = _gradient(loss, point, create_graph=True)
            fixed = {name: g.detach() for name, g in gradient.items()}
            along = sum((gradient[name] * g).sum() for name, g in fixed.items())
            product = _gradient(along, point, retain_graph=True)
            square = norm(fixed) ** 2
            layers = {}
            for name in weight_names(model):
                own = (gradient[name] * fixed[name]).sum()
                h = _gradient(own, {name: point[name]}, retain_graph=True)
                layers[name] = _ratio(dot(h, fixed), norm({name: fixed[name]}) ** 2)
            return {"hessian_norm": _ratio(norm(product), square**0.5),
                    "rayleigh": _ratio(dot(product, fixed), square), "layer_rayleigh": layers}

        return _evaluate(model, loss_fn, batch, point, measure)


def curvature_from_losses(model: nn.Module, loss_fn: Loss, batch: Batch, sizes: Sequence[float], *,
                          at: tuple[float, Tensors] | None = None) -> dict:
    """Return the curvature along the gradient, from losses alone: no second pass backwards.

        κ(α) = 2 (L(θ − αg) − L(θ) + α‖g‖²) / (α²‖g‖²)

    Gradient descent at rate η lowers the loss of its own batch, to second order, where η·κ < 2;
    beyond, a quadratic valley is unstable (Cohen et al. 2021, arXiv 2103.00065).

    Args:
        sizes: the step sizes α, above 0.
        at: as in `probe`.

    Returns:
        loss, gradient_norm: L(θ) and ‖g‖; curvature: κ(α), a list."""
    with _undisturbed(model) as model:
        start = trainable(model)
        loss, gradient = at or loss_and_gradient(model, loss_fn, batch, start)
        square, found = dot(gradient, gradient), []
        for size in sizes:
            point = {name: p - size * gradient[name] for name, p in start.items()}
            with _undisturbed(model), torch.no_grad():
                there = _evaluate(model, loss_fn, batch, point, torch.Tensor.item)
            found.append(_ratio(2 * (there - loss + size * square), size**2 * square))
    return {"loss": loss, "gradient_norm": square**0.5, "curvature": found}


def internal_covariate_shift(model: nn.Module, loss_fn: Loss, batch: Batch, before: Tensors,
                             after: Tensors) -> dict[str, dict[str, float]]:
    """Return the covariate shift of definition 2.1 for each weight tensor W_i (two or more axes).

    G is W_i's gradient at `before`; G′ is its gradient once all parameters that were registered
    before W_i, those of normalisation layers too, have moved to `after`. That is the order of the
    forward pass where layers are registered in it, as in the VGG nets (in a group of CifarNet, all
    convolutions come first, then all norms). `before`, `after`: trainable parameters around one
    update, from `trainable`.

    Returns:
        by name of W_i, in the model's order: difference ‖G − G′‖, relative ‖G − G′‖ / ‖G‖, cosine
        of G and G′."""
    result = {}
    with _undisturbed(model) as model:
        _, old = loss_and_gradient(model, loss_fn, batch, before)
        names = list(before)
        for name in weight_names(model):
            new, preceding = old, names[: names.index(name)]
            if preceding:
                mixed = before | {other: after[other] for other in preceding}
                _, new = loss_and_gradient(model, loss_fn, batch, mixed, only=name)
            difference, cosine = _compare({name: old[name]}, {name: new[name]})
            result[name] = {"difference": difference, "cosine": cosine,
                            "relative": _ratio(difference, norm({name: old[name]}))}
    return result


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ACTIVATION_LAYERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU,
                     nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Softplus, nn.Tanh,
                     nn.Sigmoid)


def activation_statistics(model: nn.Module, loss_fn: Loss, batch: Batch) -> dict[str, list]:
    """Return what each of `ACTIVATION_LAYERS` is given, in the order of the forward pass.

    Returns:
        quantiles: of the input's values (5, 25, 50, 75 and 95 %), a list a layer.
        dead: share of the channels (or units; axis 1) that are never above 0 on the batch.
        gradient_norms: ‖∂L/∂input‖₂.

    Raises ValueError: the model calls none."""
    inputs = {}

    def keep(_, args):
        x = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
        inputs[f"input {len(inputs)}"] = x
        return (x.clone(), *args[1:])  # the layer may work in place

    with _undisturbed(model) as model, contextlib.ExitStack() as hooks:
        point = {name: p.requires_grad_() for name, p in trainable(model).items()}
        for layer in model.modules():
            if isinstance(layer, ACTIVATION_LAYERS):
                hooks.callback(layer.register_forward_pre_hook(keep).remove)

        def gradients_by_input(loss: torch.Tensor) -> Tensors:
            if not inputs:
                raise ValueError("the model calls no activation layer (F.relu is a function)")
            given = dict(inputs)  # checkpointed layers will be called again
            every = _gradient(loss, point | given)  # by weights too: reentrant checkpoints refuse
            return {name: every[name] for name in given}

        gradients = _evaluate(model, loss_fn, batch, point, gradients_by_input)
    result = {"quantiles": [], "dead": [], "gradient_norms": []}
    for name, g in gradients.items():
        x = inputs[name].detach()
        x = x if x.dtype == torch.float64 else x.float()  # quantile knows no other types
        x = x[:, None] if x.ndim == 1 else x
        stride = -(-x.numel() // 100_000) | 1  # odd: every column of pixels has its turn
        levels = torch.tensor(QUANTILES, dtype=x.dtype, device=x.device)
        result["quantiles"].append(x.flatten()[::stride].quantile(levels).tolist())
        result["dead"].append((x.transpose(0, 1).flatten(1) <= 0).all(1).float().mean().item())
        result["gradient_norms"].append(norm({"": g}))
    return result


@torch.inference_mode(False)
def trainable(model: nn.Module) -> Tensors:
    """Return copies of the parameters that are trained, by name."""
    named = _inside(model).named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}


def weight_names(model: nn.Module) -> list[str]:
    """Return the names of the trained filters and matrices, in the model's order."""
    named = _inside(model).named_parameters()
    return [name for name, p in named if p.requires_grad and p.ndim > 1]


def loss_and_gradient(model: nn.Module, loss_fn: Loss, batch: Batch, point: Tensors,
                      only: str | None = None) -> tuple[float, Tensors]:
    """Return the loss at the parameters `point`, and its gradient by them, or by `only` one."""
    with _undisturbed(model) as model:
        point = {name: p.detach().requires_grad_(only in (None, name)) for name, p in point.items()}
        wanted = {name: p for name, p in point.items() if p.requires_grad}
        return _evaluate(model, loss_fn, batch, point,
                         lambda loss: (loss.item(), _gradient(loss, wanted)))


def _gradient(of: torch.Tensor, by: Tensors, **options) -> Tensors:
    """Return gradients by name; zeros where `of` does not depend on a tensor."""
    if not of.requires_grad:
        return {name: torch.zeros_like(p) for name, p in by.items()}
    options |= {"allow_unused": True, "materialize_grads": True}
    return dict(zip(by, torch.autograd.grad(of, by.values(), **options), strict=True))


def _evaluate(model: nn.Module, loss_fn: Loss, batch: Batch, point: Tensors,
              use: Callable[[torch.Tensor], Result]) -> Result:
    """Return use(loss) at the parameters `point`, on copies of the buffers.

    `functional_call` puts the model's own tensors back when the forward pass ends; but layers under
    activation checkpointing go forward again in the backward pass, which therefore runs inside it,
    in the forward pass of a module around the model."""
    def run(model: nn.Module) -> Result:
        if not isinstance(batch, Sequence) or len(batch) < 2:
            raise ValueError("a batch is (inputs…, targets)")
        *inputs, targets = (
            x.clone() if isinstance(x, torch.Tensor) and x.is_inference() else x for x in batch)
        loss = loss_fn(model(*inputs), targets)
        if not torch.is_tensor(loss) or loss.numel() != 1 or not loss.is_floating_point():
            found = f"{loss.dtype} {tuple(loss.shape)}" if torch.is_tensor(loss) else type(loss)
            raise ValueError(f"the loss must be one real number (a mean or a sum), not {found}")
        if (torch.is_grad_enabled() and not loss.requires_grad
                and all(p.requires_grad for p in point.values())):
            raise ValueError("the loss is cut off from all parameters, as by detach() or no_grad()")
        return use(loss)

    buffers = {name: b.clone() for name, b in model.named_buffers()}
    tensors = {f"model.{name}": tensor for name, tensor in (point | buffers).items()}
    return functional_call(_Holder(model), tensors, (run,))


class _Holder(nn.Module):
    """A module whose forward pass is any function of the model that it holds."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, run: Callable[[nn.Module], Result]) -> Result:
        return run(self.model)


WRAPPERS = nn.DataParallel, nn.parallel.DistributedDataParallel


def _inside(model: nn.Module) -> nn.Module:
    """Return the module that a wrapper holds: `DataParallel`, its distributed kin, `torch.compile`.
    """
    while isinstance(model, WRAPPERS) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, WRAPPERS) else model._orig_mod
    return model


def norm(tensors: Tensors) -> float:
    """Return ‖·‖₂ over all entries, summed in float64."""
    return dot(tensors, tensors) ** 0.5


def dot(a: Tensors, b: Tensors) -> float:
    """Return the scalar product over the entries of `a`, summed in float64."""
    return float(sum((x * y).sum() for x, y in _in_float64(a, b)))


def _compare(a: Tensors, b: Tensors) -> tuple[float, float]:
    """Return ‖a − b‖ and the cosine of a and b, summed in float64."""
    sums = [torch.stack([(x - y).square().sum(), (x * y).sum(), x.square().sum(), y.square().sum()])
            for x, y in _in_float64(a, b)]
    distance, product, a_square, b_square = torch.stack(sums).sum(0).tolist()
    return distance**0.5, _ratio(product, (a_square * b_square) ** 0.5)


def _in_float64(a: Tensors, b: Tensors) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield corresponding parts of a and b; on a CPU they fit its caches."""
    for name in a:
        x, y = (torch.atleast_1d(t.cpu() if t.device.type == "mps" else t)  # which has no float64
                for t in (a[name], b[name]))
        rows = PART // max(1, x[:1].numel()) if x.device.type == "cpu" else len(x)
        for part in zip(x.split(max(1, rows)), y.split(max(1, rows)), strict=True):
            yield tuple(t.double() for t in part)


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[nn.Module]:
    """Yield what `_inside` returns, in float32 without TF32, autocast or compilation.

    Gradients are on. The random state of CPU, CUDA, numpy and Python is put back at the end.
    Raises ValueError: `model` has nothing to train."""
    model = _inside(model)
    devices = {p.device for p in model.parameters() if p.requires_grad}
    if not devices:
        raise ValueError("the model has no trainable parameter")
    device = next(iter(devices))
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    states = random.getstate(), np.random.get_state()
    with (torch.random.fork_rng([d for d in devices if d.type == "cuda"]),
          autocast(device, "float32"), _not_compiled(),
          torch.inference_mode(False), torch.enable_grad()):
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield model
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.allow_tf32 = cudnn
            random.setstate(states[0])
            np.random.set_state(states[1])


def _not_compiled() -> contextlib.AbstractContextManager:
    """Return a context in which compiled layers run as they were written: with hooks, and
    differentiable twice."""
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # torch 2.6
        return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()
