"""Student's t and Holm's rule against tabled and hand-made values."""

import numpy as np
import pytest

from VGG_BatchNorm.ground.statistics import holm, p_value, t95, t_interval, t_probability


@pytest.mark.parametrize("freedom, t", [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365),
                                        (10, 2.228), (30, 2.042), (101, 1.984)])
def test_the_tables_values(freedom, t):
    assert t95(freedom) == pytest.approx(t, abs=1e-3)
    assert t_probability(t, freedom) == pytest.approx(0.05, abs=1e-4)
    assert t_probability(-t, freedom) == t_probability(t, freedom)
    assert t_probability(0, freedom) == pytest.approx(1)


def test_the_interval_of_a_mean():
    mean, half = t_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert np.isnan(t_interval([3.0])[1])


def test_p_values():
    assert p_value([1.0]) is None
    assert p_value([1.0, 2.0, 3.0]) == pytest.approx(t_probability(2 * 3**0.5, 2))
    assert p_value([2.0, 2.0]) is None
    assert p_value([100 * 0.82 - 100 * 0.80, 100 * 0.83 - 100 * 0.81]) is None  # but for rounding
    assert p_value([0.0, 0.0]) == 1


def test_holm_by_hand():
    # 0.01 against 0.05/4, 0.013 against 0.05/3, 0.03 against 0.05/2: not, and so none after it
    assert holm([0.03, None, 0.01, 0.04, 0.013]) == [False, False, True, False, True]
    assert holm([]) == [] and holm([0.05]) == [True]
