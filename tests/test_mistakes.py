"""What the pictures of mistakes are drawn from, against numbers by hand and against evaluate.py."""

import numpy as np
import pytest
import torch

from codes.evaluate import evaluate
from codes.insight.measured import measured
from codes.insight.mistakes import look_alikes, measure
from codes.networks import build
from codes.results.measurements import mistakes_for_report
from VGG_BatchNorm.ground.cifar10 import load_cifar10
from VGG_BatchNorm.ground.predictions import reliability
from VGG_BatchNorm.ground.statistics import expected_calibration_error


def test_look_alikes_by_hand():
    features, labels = torch.tensor([[1.0, 0], [0, 1], [1, 0.9]]), torch.tensor([0, 0, 1])
    known = torch.tensor([[0.1, 0], [0, 5]])  # by the angle, not by the scalar product
    assert look_alikes(features, labels, known, torch.tensor([0, 1]),
                       2).tolist() == [False, True, True]


def test_reliability_by_hand():
    """The confidence 1 is in the last bin."""
    logits = torch.tensor([[0.9, 0.1], [0.8, 0.2], [1, 0], [0.65, 0.35], [0.3, 0.7]]).log()
    table = reliability(logits, torch.tensor([0, 1, 0, 0, 1]), bins=5)
    expected = [[0, 0, 0, 2, 3], [np.nan] * 3 + [0.675, 0.9], [np.nan] * 3 + [1, 2 / 3]]
    torch.testing.assert_close(table, torch.tensor(expected), equal_nan=True)
    expected = (2 * 0.325 + 3 * (0.9 - 2 / 3)) / 5
    assert expected_calibration_error(table.numpy()) == pytest.approx(expected, abs=1e-6)


def test_the_numbers_agree_with_evaluate(data_dir, tmp_path):
    net, (train, test) = build("cifarnet", widths=(8, 8)).eval(), load_cifar10(data_dir)
    about, settings = {"checkpoint": "w.pt"}, {"bins": 15, "mistakes": 24}
    data = measured(tmp_path / "m.npz", about, measure, net, train, test, **settings)
    assert (data["labels"] != data["said"]).all() and (np.diff(data["confidence"]) <= 0).all()
    assert np.array_equal(data["images"][0], test.images[data["numbers"][0]].permute(1, 2, 0))
    result, expected = mistakes_for_report(data), evaluate(net, test)
    assert result["error"] == pytest.approx(expected["error"], abs=1e-6)
    assert list(result["calibration_error"].values()) == pytest.approx(
        [expected["calibration_error"], expected["calibration_error_six_views"]], abs=1e-6)
    most, *_ = result["most_frequent_mistakes"]
    matrix = data["confusion"] - np.diag(data["confusion"].diagonal())
    assert most["images"] == matrix.max() and most["true"] != most["said"]
    assert all(0 <= row["look_alikes"] <= 6 for row in result["by_class"].values())
