"""How sure a mean over a few runs is: Student's t, Holm's rule; the expected calibration error."""

import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.05  # the probability of error that is accepted


def t_probability(t: float, freedom: int) -> float:
    """Return the probability that |T| ≥ |t|, for T of Student's distribution. `freedom`: degrees of
    freedom, 1 or more; the sums are exact (Abramowitz & Stegun 26.7.3–4)."""
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
    """Return the t outside of which T lies with 5 % probability, both sides together."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) > LEVEL else (low, middle)
    return low


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of `values` and the half-width of its 95 % interval; of one value, NaN."""
    values = np.asarray(values, float)
    n = len(values)
    half = t95(n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else np.nan
    return float(values.mean()), float(half)


def p_value(differences: Sequence[float]) -> float | None:
    """Return the probability of a mean as far from 0 if it were 0 in truth (t test); None of a
    single value, or of values that are all the same and not 0, which say nothing of their spread.
    """
    mean, n = float(np.mean(differences)), len(differences)
    if n < 2:
        return None
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    if error <= 1e-9 * abs(mean):  # they differ by rounding alone
        return None if mean else 1.0
    return t_probability(mean / error, n - 1)


def holm(p_values: Sequence[float | None]) -> list[bool]:
    """Return which of several differences are clear. Of those that are zero in truth any is called
    so with a probability of LEVEL at most.

    From the smallest p up, each is compared with LEVEL over how many are left (Holm 1979)."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    clear = [False] * len(p_values)
    for rank, (p, i) in enumerate(known):
        if p > LEVEL / (len(known) - rank):
            break
        clear[i] = True
    return clear


def expected_calibration_error(table: np.ndarray) -> float:
    """Return the mean distance between confidence and accuracy, weighted by images, in [0, 1].

    Guo et al. 2017 (arXiv 1706.04599), eq. 3. `table`: (3, bins), as
    `VGG_BatchNorm.ground.predictions.reliability` gives it."""
    images, confidence, accuracy = table
    return float(np.nansum(images * abs(accuracy - confidence)) / images.sum())
