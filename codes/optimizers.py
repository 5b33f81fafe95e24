"""Optimizers of our own. Written from the mathematics; only the base class is torch's.

    SGD, Adam, AdamW   the textbook's; each step is that of torch.optim's class of the same name
    Muon               orthogonalised momentum, for convolution filters
    DampedMuon         the same, less sure of itself where the gradient is noise (our own design)

All take parameters or groups of them and keep their state in `state_dict`. OPTIMIZERS, at the end,
names those that a run may have, torch's among them; a row there makes an optimizer a choice of
`--optimizer`."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Optimizer(torch.optim.Optimizer):
    """What ours share. A subclass says in `update` what one step does to one parameter."""

    def __init__(self, params, **defaults):
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, p.grad, self.state[p], group)
        return loss

    def update(self, p: Tensor, grad: Tensor, state: dict, group: dict) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent with heavy-ball or Nesterov momentum (Sutskever et al. 2013).

    With d = g + weight_decay · w and B ← momentum · B + d, the step is w ← w − lr · B, or, looking
    ahead as Nesterov does, w ← w − lr · (d + momentum · B)."""

    def __init__(self, params, lr: float, momentum: float = 0.0, weight_decay: float = 0.0,
                 nesterov: bool = False):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay,
                         nesterov=nesterov)

    def update(self, p, grad, state, group):
        lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        if momentum:
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].mul_(momentum).add_(grad).add_(p, alpha=decay)
        if not momentum or group["nesterov"]:
            p.mul_(1 - lr * decay).add_(grad, alpha=-lr)
        if momentum:
            p.add_(state["momentum"], alpha=-lr * (momentum if group["nesterov"] else 1))


class Adam(Optimizer):
    """Running means of g and g², freed of their start at 0 (Kingma & Ba 2015).

    w ← w − lr · m̂ / (√v̂ + eps). `weight_decay` adds weight_decay · w to the gradient
    (L2 in the loss); `decoupled`, it shrinks w by 1 − lr · weight_decay instead
    (Loshchilov & Hutter 2019)."""

    def __init__(self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         decoupled=decoupled)

    def update(self, p, grad, state, group):
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if not state:
            state.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
        state["step"] += 1
        if decay and group["decoupled"]:
            p.mul_(1 - lr * decay)
        elif decay:
            grad = grad.add(p, alpha=decay)
        state["mean"].lerp_(grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = state["square"].sqrt() / (1 - beta2 ** state["step"]) ** 0.5 + group["eps"]
        p.addcdiv_(state["mean"], root, value=-lr / (1 - beta1 ** state["step"]))


class AdamW(Adam):
    """`Adam` with decoupled weight decay."""

    def __init__(self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2):
        super().__init__(params, lr, betas, eps, weight_decay, decoupled=True)


def orthogonalize(matrix: Tensor, steps: int = 3) -> Tensor:
    """Return, roughly, the semi-orthogonal matrix nearest to (m, n): U Vᵀ of its SVD U S Vᵀ.

    Newton–Schulz iteration X ← a X + (b A + c A²) X with A = X Xᵀ. It is applied to the singular
    values alone; the coefficients (Jordan 2024, kellerjordan.github.io/posts/muon) take them near 1
    fast, not exactly. From a hundredth of the matrix's norm on, 5 steps take them to about 0.7 …
    1.2; after 3, those below a twentieth of it are still on their way up."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)  # b A + c A²
        x = torch.addmm(x, polynomial, x, beta=a)  # a X + (b A + c A²) X
    return x.T if tall else x


class Muon(Optimizer):
    """Orthogonalised momentum for convolution filters (Jordan et al. 2024).

    A filter bank (K, C, h, w) is seen as a K × (C·h·w) matrix. Each step moves it by `lr` along the
    orthogonalised Nesterov momentum (computed in `precision`, a torch dtype by name; default: the
    parameter's own), after rescaling it to Frobenius norm √K (`rescale`; batch norm does not see
    the scale, so this only keeps the relative step what `lr` says)."""

    def __init__(self, params, lr: float = 0.24, momentum: float = 0.6, steps: int = 3,
                 rescale: bool = True, precision: str | None = None, **more):
        super().__init__(params, lr=lr, momentum=momentum, steps=steps, rescale=rescale,
                         precision=precision, **more)

    def update(self, p, grad, state, group):
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        mu = group["momentum"]
        buffer = state["momentum"].mul_(mu).add_(grad)
        nesterov = torch.add(grad, buffer, alpha=mu).flatten(1)
        if group["rescale"]:
            p.mul_(len(p) ** 0.5 / p.norm().clamp_min(1e-7))
        dtype = getattr(torch, group["precision"]) if group["precision"] else p.dtype
        direction = self.direction(nesterov.to(dtype), state, group).to(p.dtype)
        p.add_(direction.reshape(p.shape), alpha=-group["lr"])

    def direction(self, matrix: Tensor, state: dict, group: dict) -> Tensor:
        """Return where to go, given the momentum as a matrix (K, C·h·w)."""
        return orthogonalize(matrix, group["steps"])


class DampedMuon(Muon):
    """Muon that moves along each singular direction by its strength over the noise.

    *Idea.* Muon's U Vᵀ moves as far along a weak singular direction of the momentum as along the
    strongest: it solves max ⟨M, D⟩ over matrices D of spectral norm ≤ 1. But many directions of a
    mini-batch gradient are sampling noise, and that is a full step at random.

    *Derivation.* Let standing still be worth something, the more the higher the noise σ is:

        max ⟨M, D⟩ + σ Σᵢ √(1 − dᵢ²)    over the singular values 0 ≤ dᵢ ≤ 1 of D.

    D shares M's singular vectors, and for a singular value s of M, s = σ d / √(1 − d²), so

        d = s / √(s² + σ²),   that is   D = (M Mᵀ + σ² I)^(−½) M.

    Directions well above the noise go in full (σ = 0 is Muon), those below it in proportion to s,
    as plain momentum would (σ → ∞). No SVD is needed: D is the left part of the orthogonalised [M,
    σI], because [M, σI][M, σI]ᵀ = M Mᵀ + σ² I. Its singular values are ≥ σ, so the iteration of
    `orthogonalize` has no tiny ones to lift and comes nearer in as few steps.

    *The noise* is measured, not set. Let v be the variance of a gradient's entry. Once the running
    mean (1 − μ) B of the gradients has filled, g minus it has mean square v · 2/(1 + μ), drift of
    the true gradient counted in; v is averaged over about 20 steps. The Nesterov momentum M = g +
    μB then has entries of variance v ρ, ρ = (1 + μ)² + μ⁴/(1 − μ²), and the mean squared singular
    value of a K × n matrix of such noise is v ρ max(K, n). `damping` times its root is σ.

    *Annealing.* What a random step costs, curvature times its square, is of second order in the
    learning rate, what a true one gains is of first. So σ falls with lr, from its highest on: the
    end of a run is Muon's. (Without, `anneal=False`, it ends worse.)

    *Length.* ‖D‖ is less than Muon's √min(K, n), so damping also shortens the step, and annealing
    has it grow: `full_length` scales D up to √min(K, n), so that the direction alone differs.

    *Kin.* With a fixed σ and no momentum this is one-sided Shampoo (Gupta et al. 2018, arXiv
    1802.09568) that accumulates nothing, (G Gᵀ + ε I)^(−½) G, with σ² for its damping ε. PRISM
    (Yang 2026, arXiv 2602.03096) puts beside M what the momentum did not foresee, γ (G − M), where
    this puts σI: its noise has a shape, ours is alike in all directions. Ours is how σ is found.

    *Limits.* s is that of the noisy momentum: where all is noise, s is about σ / damping, so no
    direction is ever left out. The evidence is in reports/figures/compare/quick/README.md."""

    def __init__(self, params, lr: float = 0.24, momentum: float = 0.6, steps: int = 3,
                 rescale: bool = True, damping: float = 2.0, anneal: bool = True,
                 full_length: bool = False, precision: str | None = None):
        super().__init__(params, lr, momentum, steps, rescale, precision, damping=damping,
                         anneal=anneal, full_length=full_length, peak_lr=0.0)

    def update(self, p, grad, state, group):
        if not state:
            state["variance"], state["seen"] = p.new_zeros(()), 0
        mu = group["momentum"]
        if state["seen"]:  # before that, there is no mean to compare with
            weight = (1 - mu) / (1 - mu ** state["seen"])  # of the sum that the momentum is
            noise = torch.sub(grad, state["momentum"], alpha=weight).flatten(1)
            now = noise.norm().square() / grad.numel() * (1 + mu) / 2
            state["variance"].lerp_(now, max(0.05, 1 / state["seen"]))
        state["seen"] += 1
        super().update(p, grad, state, group)

    def direction(self, matrix, state, group):
        mu = group["momentum"]
        rho = (1 + mu) ** 2 + mu**4 / (1 - mu**2)
        group["peak_lr"] = max(group["peak_lr"], group["lr"])
        annealed = group["lr"] / (group["peak_lr"] or 1.0) if group["anneal"] else 1
        damping = group["damping"] * annealed
        sigma = damping * (state["variance"] * rho * max(matrix.shape)).sqrt()
        tall = matrix.shape[0] > matrix.shape[1]
        wide = matrix.T if tall else matrix
        padding = sigma.to(wide.dtype) * torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
        damped = orthogonalize(torch.cat([wide, padding], 1), group["steps"])[:, :wide.shape[1]]
        if group["full_length"]:
            damped = damped * (len(wide) ** 0.5 / damped.norm().clamp_min(1e-7))
        return damped.T if tall else damped


class Choice(NamedTuple):
    """What `--optimizer NAME` means.

    Args:
        make: the class; called with parameters, the learning rate, and `takes` by name.
        about: what it is for, in one line.
        takes: settings of a run, by name, that it takes beside lr.
        start: settings to start from, where they are not the defaults.
        filters_only: it trains convolution filters, and SGD the rest, with bias_lr, head_lr and
            weight_decay; otherwise it trains everything."""

    make: Callable[..., torch.optim.Optimizer]
    about: str
    takes: tuple[str, ...] = ()
    start: dict = {}
    filters_only: bool = False

    @property
    def settings(self) -> tuple[str, ...]:
        """Return all that it takes, or SGD beside it."""
        sgd = ("bias_lr", "head_lr", "weight_decay") if self.filters_only else ()
        return ("lr", *self.takes, *sgd)


_SGD = dict(takes=("momentum", "nesterov", "weight_decay"),
            start=dict(lr=0.1, momentum=0.9, weight_decay=5e-4))
_ADAM = dict(takes=("weight_decay",), start=dict(lr=3e-3, weight_decay=0.0))
_ADAMW = dict(takes=("weight_decay",), start=dict(lr=3e-3, weight_decay=1e-2))
_MUON = dict(takes=("momentum", "precision"), filters_only=True)
OPTIMIZERS = {  # own_*: ours in place of torch's
    "muon": Choice(Muon, "filters: orthogonalised momentum, the fastest here", **_MUON),
    "damped_muon": Choice(DampedMuon, "filters: Muon that trusts noisy directions less", **_MUON),
    "damped_muon_constant": Choice(partial(DampedMuon, damping=1.0, anneal=False),
                                   "filters: damped_muon, half as damped, not annealed", **_MUON),
    "damped_muon_half": Choice(partial(DampedMuon, damping=1.0),
                               "filters: damped_muon, half as damped", **_MUON),
    "damped_muon_flat": Choice(partial(DampedMuon, anneal=False),
                               "filters: damped_muon, not annealed", **_MUON),
    "damped_muon_long": Choice(partial(DampedMuon, full_length=True),
                               "filters: damped_muon, steps as long as Muon's", **_MUON),
    "muon_free": Choice(partial(Muon, rescale=False),
                        "filters: Muon that leaves their norm as it comes", **_MUON),
    "sgd_filters": Choice(torch.optim.SGD, "filters: plain momentum in Muon's place, to compare",
                          ("momentum", "nesterov"), dict(lr=0.9, momentum=0.9), filters_only=True),
    "adam_filters": Choice(torch.optim.Adam, "filters: Adam in Muon's place, to compare",
                           (), dict(lr=9e-3), filters_only=True),
    "sgd": Choice(torch.optim.SGD, "everything: the usual one for VGG nets", **_SGD),
    "own_sgd": Choice(SGD, "everything: the same, ours", **_SGD),
    "rmsprop": Choice(torch.optim.RMSprop, "everything: steps over the root of the mean g²",
                      ("weight_decay",), dict(lr=1e-3, weight_decay=0.0)),
    "adam": Choice(torch.optim.Adam, "everything: little to tune; weight decay is L2 in the loss",
                   **_ADAM),
    "own_adam": Choice(Adam, "everything: the same, ours", **_ADAM),
    "adamw": Choice(torch.optim.AdamW, "everything: Adam with decoupled weight decay", **_ADAMW),
    "own_adamw": Choice(AdamW, "everything: the same, ours", **_ADAMW),}


BESIDE_MOMENTUM = 0.85  # of SGD beside an optimizer of filters


def make_optimizers(net: nn.Module, settings) -> list[torch.optim.Optimizer]:
    """Return the optimizer of `settings`: for all, or for filters after SGD for the rest.
    `settings`: a `Settings` of codes/settings.py, which imports this file."""
    choice = OPTIMIZERS[settings.optimizer]
    more = {name: getattr(settings, name) for name in choice.takes}
    if "nesterov" in more:  # torch refuses it without momentum
        more["nesterov"] = settings.nesterov and settings.momentum > 0
    trained = [p for p in net.parameters() if p.requires_grad]
    if not choice.filters_only:
        return [choice.make(trained, settings.lr, **more)]
    filters, matrices = ([p for p in trained if p.ndim == axes] for axes in (4, 2))
    vectors = [p for p in trained if p.ndim not in (2, 4)]
    # lr for one example × batch size: with the mean loss, this is airbench's rate on the summed
    # loss; the decay in a gradient then is weight_decay × batch size, whatever the rate
    groups = [dict(params=p, lr=rate * settings.batch_size,
                   weight_decay=settings.weight_decay / rate)
              for p, rate in ((vectors, settings.bias_lr), (matrices, settings.head_lr)) if p]
    sgd = torch.optim.SGD(groups, momentum=BESIDE_MOMENTUM, nesterov=True)
    return [sgd, choice.make(filters, settings.lr, **more)] if filters else [sgd]
