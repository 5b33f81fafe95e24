"""Evaluate a checkpoint on the test set: `make evaluate`, or

    python codes/evaluate.py --ckpt runs/strong-s0/last.pt

Test error with one view and with six (mirrored × shifted by one pixel, averaged), accuracy by
class, confusion matrix, expected calibration error. Written to reports/results/evaluation.json.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.networks import parameter_count, restore
from VGG_BatchNorm.loaders import CLASSES, DATA_DIR, Split, load_cifar10, normalize
from VGG_BatchNorm.runs import (
    RESULTS_DIR,
    environment,
    find_checkpoint,
    keep_freed_memory,
    load_checkpoint,
    pick_device,
    run_main,
    shown_path,
    write_json,
)


@torch.no_grad()
def predict(net: nn.Module, split: Split, views: Callable | None = None,
            batch_size: int = 250, progress: bool = False) -> torch.Tensor:
    """Logits (N, classes) of `net` in evaluation mode, in float32; the net's mode is restored.

    Args:
        views: what to compute of (net, batch of images); default: net(images).
        progress: show a bar.
    """
    training = net.training
    net.eval()
    batches = tqdm(split.images.split(batch_size), desc="evaluation", leave=False, disable=not progress)
    logits = [views(net, x) if views else net(x) for x in map(normalize, batches)]
    net.train(training)
    return torch.cat(logits)


def one_and_six_views(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(N, 2, classes): the logits of the images x (N, 3, S, S), and an average over six views.

    Half the weight is on the image and its mirror image, half on both of them shifted by one
    pixel up and left, or down and right (Jordan 2024, arXiv 2404.00498).
    """
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    shifted = (padded[..., :-2, :-2], padded[..., 2:, 2:])
    one = net(x)
    six = (one + net(x.flip(-1))) / 4 + sum(net(view) + net(view.flip(-1)) for view in shifted) / 8
    return torch.stack([one, six], 1)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose highest logit is the label's."""
    return (logits.argmax(1) == labels).float().mean().item()


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(classes, classes) counts; row: true class, column: predicted class."""
    n = logits.shape[1]
    return torch.bincount(labels * n + logits.argmax(1), minlength=n * n).view(n, n)


def reliability(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> torch.Tensor:
    """(3, bins): images, mean confidence and accuracy in equal bins of confidence; NaN where there are none.

    Guo et al. 2017 (arXiv 1706.04599), section 2.
    """
    confidence, predicted = logits.softmax(1).max(1)
    index = (confidence * bins).long().clamp(max=bins - 1)
    rows = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).float()])
    totals = torch.zeros(3, bins, device=logits.device).index_add_(1, index, rows)
    totals[1:] /= totals[0]
    return totals


def expected_calibration_error(table: np.ndarray) -> float:
    """Guo et al. 2017, eq. 3, of what `reliability` gives."""
    images, confidence, accuracy = table
    return float(np.nansum(images * abs(accuracy - confidence)) / images.sum())


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error in `bins` equal bins of confidence."""
    return expected_calibration_error(reliability(logits, labels, bins).cpu().numpy())


def evaluate(net: nn.Module, split: Split) -> dict:
    """All the measures of this script, as plain numbers."""
    logits, averaged = predict(net, split, one_and_six_views, progress=True).unbind(1)
    matrix = confusion_matrix(averaged, split.labels)
    by_class = matrix.diagonal() / matrix.sum(1)
    return {
        "images": len(split.labels),
        "error": 1 - accuracy(logits, split.labels),
        "error_six_views": 1 - accuracy(averaged, split.labels),
        "calibration_error": calibration_error(logits, split.labels),
        "calibration_error_six_views": calibration_error(averaged, split.labels),
        "accuracy_by_class_six_views": dict(zip(CLASSES, by_class.tolist(), strict=True)),
        "confusion_matrix_six_views": matrix.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ckpt", nargs="?", help="default: the newest run, else the shipped weights")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "evaluation.json")
    args = parser.parse_args()
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    result = evaluate(net, load_cifar10(args.data_dir)[1].to(device))
    write_json(args.out, {"checkpoint": shown_path(path), "parameters": parameter_count(net), **result,
                          **environment(device)})
    print(f"{path}\ntest error {100 * result['error']:.2f} %, with six views "
          f"{100 * result['error_six_views']:.2f} %, calibration error {result['calibration_error']:.3f}\n"
          + "\n".join(f"  {name:<11}{100 * share:5.1f} %"
                      for name, share in result["accuracy_by_class_six_views"].items())
          + f"\n{args.out}")


if __name__ == "__main__":
    run_main(main)
