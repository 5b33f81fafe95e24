"""Optimizers of our own. Written from the mathematics; only the base class is torch's."""

import torch


def orthogonalize(matrix: torch.Tensor, steps: int = 3) -> torch.Tensor:
    """The nearest semi-orthogonal matrix to a (m, n) `matrix`, roughly: U Vᵀ of its SVD U S Vᵀ.

    Newton–Schulz iteration X ← a X + (b A + c A²) X with A = X Xᵀ. It is applied to the
    singular values alone; the coefficients (Jordan 2024, kellerjordan.github.io/posts/muon)
    take them near 1 fast, not exactly: after 5 steps they lie in about 0.7 … 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for convolution filters (Jordan et al. 2024).

    A filter bank (K, C, h, w) is seen as a K × (C·h·w) matrix. Each step moves it by `lr` along
    the orthogonalised Nesterov momentum, after rescaling it to Frobenius norm √K.
    """

    def __init__(self, params, lr: float = 0.24, momentum: float = 0.6, steps: int = 3):
        super().__init__(params, dict(lr=lr, momentum=momentum, steps=steps))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                update = p.grad.add(buffer, alpha=group["momentum"])
                p.mul_(len(p) ** 0.5 / p.norm())
                p.add_(orthogonalize(update.flatten(1), group["steps"]).view_as(p), alpha=-group["lr"])
        return loss
