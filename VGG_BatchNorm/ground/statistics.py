"""How sure a mean over a few runs is."""

import numpy as np

T95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def t95(freedom: int) -> float:
    """Student's t for a two-sided 95 % interval, by degrees of freedom (above 9: within 0.2 %)."""
    z, n = 1.959964, freedom
    return T95.get(n) or z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)


def t_interval(values) -> tuple[float, float]:
    """The mean of `values` and the half-width of its 95 % interval; NaN of a single value."""
    values = np.asarray(values, float)
    n = len(values)
    half = t95(n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else np.nan
    return float(values.mean()), float(half)
