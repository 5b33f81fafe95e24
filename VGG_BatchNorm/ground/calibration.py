"""How far a network is from being right as often as it claims."""

import numpy as np


def expected_calibration_error(table: np.ndarray) -> float:
    """Return the mean distance between confidence and accuracy, weighted by images, in [0, 1].

    Guo et al. 2017 (arXiv 1706.04599), eq. 3.

    Args:
        table: (3, bins), as `VGG_BatchNorm.ground.predictions.reliability` gives it.
    """
    images, confidence, accuracy = table
    return float(np.nansum(images * abs(accuracy - confidence)) / images.sum())
