"""What the pictures of mistakes are drawn from, against numbers by hand and against evaluate.py."""

import numpy as np
import pytest
import torch

from codes.evaluate import evaluate
from codes.figures.mistakes import summary
from codes.insight.measured import measured
from codes.insight.mistakes import look_alikes, measure
from codes.insight.similarity import penultimate
from codes.networks import build
from VGG_BatchNorm.ground.cifar10 import load_cifar10, normalize
from VGG_BatchNorm.ground.predictions import calibration_error, predict, reliability
from VGG_BatchNorm.ground.statistics import expected_calibration_error


def test_features_of_one_direction_a_class_have_no_look_alikes():
    labels, known = torch.tensor([0, 3, 1, 2, 1]), torch.tensor([3, 2, 1, 0])
    axes = torch.eye(4)
    assert not look_alikes(axes[labels], labels, 5 * axes[known], known, chunk=2).any()


def test_look_alikes_by_hand():
    features, labels = torch.tensor([[1.0, 0], [0, 1], [1, 0.9]]), torch.tensor([0, 0, 1])
    known = torch.tensor([[0.1, 0], [0, 5]])  # by the angle, not by the scalar product
    assert look_alikes(features, labels, known, torch.tensor([0, 1]),
                       2).tolist() == [False, True, True]


def test_reliability_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.85, 0.15], [0.65, 0.35], [0.3, 0.7]]).log()
    table = reliability(logits, torch.tensor([0, 1, 0, 1]), bins=5)
    expected = [[0, 0, 0, 2, 2], [np.nan] * 3 + [0.675, 0.875], [np.nan] * 3 + [1, 0.5]]
    torch.testing.assert_close(table, torch.tensor(expected), equal_nan=True)
    assert expected_calibration_error(table.numpy()) == pytest.approx(0.35, abs=1e-6)


def test_the_bins_are_those_of_the_calibration_error():
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(200, 5), torch.randint(5, (200,))
    error = expected_calibration_error(reliability(logits, labels).numpy())
    assert error == pytest.approx(calibration_error(logits, labels), abs=1e-6)


def test_features_are_what_the_last_layer_is_given(data_dir):
    torch.manual_seed(0)
    test = load_cifar10(data_dir)[1]
    net, light = build("cifarnet", widths=(8, 8)).eval(), build("vgg_a_light").eval()
    with torch.no_grad():
        x = normalize(test.images)
        got = predict(net, test, penultimate, batch_size=25)
        torch.testing.assert_close(got, net.features(x), atol=1e-5, rtol=1e-4)
        before = light.classifier[:-1](light.stage2(light.stage1(x)).flatten(1))
        torch.testing.assert_close(predict(light, test, penultimate), before, atol=1e-5, rtol=1e-4)


def test_the_numbers_agree_with_evaluate(data_dir, tmp_path):
    torch.manual_seed(0)
    net, (train, test) = build("cifarnet", widths=(8, 8)).eval(), load_cifar10(data_dir)
    about, settings = {"checkpoint": "w.pt"}, {"bins": 15, "mistakes": 24}
    data = measured(tmp_path / "m.npz", about, measure, net, train, test, **settings)
    assert (data["labels"] != data["said"]).all() and (np.diff(data["confidence"]) <= 0).all()
    assert np.array_equal(data["images"][0], test.images[data["numbers"][0]].permute(1, 2, 0))
    result, expected = summary(data), evaluate(net, test)
    assert result["error"] == pytest.approx(expected["error"], abs=1e-6)
    assert list(result["calibration_error"].values()) == pytest.approx(
        [expected["calibration_error"], expected["calibration_error_six_views"]], abs=1e-6)
    most, *_ = result["most_frequent_mistakes"]
    matrix = data["confusion"] - np.diag(data["confusion"].diagonal())
    assert most["images"] == matrix.max() and most["true"] != most["said"]
    assert all(0 <= row["look_alikes"] <= 6 for row in result["by_class"].values())
