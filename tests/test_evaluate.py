"""A network's accuracy and views against loops, and evaluate.py on a run."""

import shutil

import pytest
import torch
from torch import nn

from codes import evaluate
from codes.networks import build
from VGG_BatchNorm.ground import predictions
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, read_json
from VGG_BatchNorm.ground.predictions import predict


def test_confusion_matrix_against_a_loop():
    logits, labels = torch.randn(50, 4), torch.randint(4, (50,))
    expected = torch.zeros(4, 4, dtype=torch.long)
    for row, label in zip(logits, labels, strict=True):
        expected[label, row.argmax()] += 1
    assert torch.equal(predictions.confusion_matrix(logits, labels), expected)
    assert predictions.accuracy(logits, labels) == pytest.approx(expected.trace().item() / 50)


def test_six_views_against_each_shifted_image():
    net = build("cifarnet", widths=(8, 8)).eval()
    x = torch.randn(3, 3, 32, 32)

    def shifted(image, dy, dx):
        padded = nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")
        return padded[..., 1 + dy : 33 + dy, 1 + dx : 33 + dx]

    weights = {(0, 0): 1 / 4, (-1, -1): 1 / 8, (1, 1): 1 / 8}
    expected = sum(w * (net(shifted(x, *by)) + net(shifted(x, *by).flip(-1)))
                   for by, w in weights.items())
    one, six = predictions.one_and_six_views(net, x).unbind(1)
    torch.testing.assert_close(six, expected)
    torch.testing.assert_close(one, net(x))


def test_only_unsure_images_are_viewed_six_times():
    """A net whose two logits are the first pixel and 0: their sigmoid's distance is the margin."""
    seen = []

    def net(x):
        seen.append(len(x))
        first = x[:, 0, 0, 0]
        return torch.stack([first, torch.zeros_like(first)], 1)

    x = torch.zeros(4, 3, 8, 8)
    x[:, 0, 0, 0] = torch.tensor([3.0, -3.0, 0.9, -1.2])  # margin tanh(|logit| / 2): 0.42, 0.54
    one, six = predictions.one_and_six_views(net, x).unbind(1)
    assert seen == [4, 1, 1, 1, 1, 1]
    assert torch.equal(one[[0, 1, 3]], six[[0, 1, 3]]) and not torch.equal(one[2], six[2])
    assert predictions.views_per_image(one) == (3 * 1 + 6) / 4
    seen.clear()
    predictions.one_and_six_views(net, x[:2])
    assert seen == [2]


def test_predict_is_in_evaluation_mode_and_gives_the_mode_back():
    net = build("cifarnet", widths=(8, 8), dropout=0.5).train()
    split = Split(torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8), torch.zeros(7).long())
    logits = predict(net, split, batch_size=3)
    assert net.training and torch.equal(logits, predict(net, split, batch_size=3))
    torch.testing.assert_close(logits, net.eval()(normalize(split.images)), atol=1e-5, rtol=1e-4)


def test_numbers_lie_beside_their_weights(tmp_path):
    for weights, numbers in (("last.pt", "evaluation.json"), ("w.pt", "w.evaluation.json")):
        assert evaluate.place(tmp_path / weights) == tmp_path / numbers
    assert evaluate.place(SHIPPED_WEIGHTS) == RESULTS_DIR / "evaluation.json"


def test_the_numbers_of_a_run(succeeds, data_dir, finished_run, tmp_path):
    shutil.copy(finished_run / "last.pt", tmp_path)
    out = succeeds(evaluate, "--ckpt", tmp_path / "last.pt", "--data-dir", data_dir)
    written, result = map(read_json, (tmp_path / "evaluation.json", finished_run / "result.json"))
    assert "test error" in out
    assert 1 - written["error"] == pytest.approx(result["test_accuracy"], abs=1e-6)
    assert 1 - written["error_six_views"] == pytest.approx(result["test_accuracy_views"], abs=1e-6)
    assert sum(map(sum, written["confusion_matrix_six_views"])) == written["images"] == 60
    assert 0 <= written["calibration_error"] <= 1 <= written["views_per_image"] <= 6
    assert len(written["accuracy_by_class_six_views"]) == 10
