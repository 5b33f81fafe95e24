"""How sure a mean over a few runs is: Student's t, and Holm's rule for many differences at once."""

import math
from collections.abc import Sequence

import numpy as np


def t_probability(t: float, freedom: int) -> float:
    """The probability that |T| ≥ |t|, for T of Student's distribution.

    Args:
        freedom: degrees of freedom, 1 or more; the sums are exact (Abramowitz & Stegun 26.7.3–4).
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    odd, cosine = freedom % 2, math.cos(angle)
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    inside = math.sin(angle) * total
    return 1 - (2 / math.pi * (angle + inside) if odd else inside)


def t95(freedom: int) -> float:
    """The t outside of which T lies with 5 % probability, both sides together."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) > 0.05 else (low, middle)
    return low


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of `values` and the half-width of its 95 % interval; NaN of a single value."""
    values = np.asarray(values, float)
    n = len(values)
    half = t95(n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else np.nan
    return float(values.mean()), float(half)


def p_value(differences: Sequence[float]) -> float | None:
    """How probable a mean as far from 0 would be, were it 0 (t test); None of a single value."""
    mean, n = float(np.mean(differences)), len(differences)
    if n < 2:
        return None
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    return t_probability(mean / error, n - 1) if error else float(mean == 0)


def holm(p_values: Sequence[float | None], level: float = 0.05) -> list[bool]:
    """Which of several differences are clear, so that with probability 1 − `level` none is by luck.

    From the smallest p up, each is compared with `level` over how many are left (Holm 1979).
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    clear = [False] * len(p_values)
    for rank, (p, i) in enumerate(known):
        if p > level / (len(known) - rank):
            break
        clear[i] = True
    return clear
