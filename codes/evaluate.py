"""Evaluate a checkpoint on the test set: `make evaluate`, or

    python codes/evaluate.py --ckpt runs/strong-s0/last.pt

Test error with one view and with six (mirrored × shifted by one pixel, averaged), accuracy by
class, confusion matrix, expected calibration error. Written to evaluation.json beside a run's
last.pt, to w.evaluation.json beside other weights w.pt, to reports/results/ for the shipped ones.

Six views are taken of images whose first is unsure; the logits of a sure one, which enter the
measures of six views too, are those of its one view. `views_per_image` is the mean number."""

import sys
from pathlib import Path

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.insight.measured import made_from
from codes.open_weights import open_network
from VGG_BatchNorm.ground import predictions
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, write_json
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, use_device
from VGG_BatchNorm.ground.script import run_main, user_path
from VGG_BatchNorm.VGG import get_number_of_parameters


def evaluate(net: nn.Module, split: Split) -> dict:
    """Return all the measures of this script, as plain numbers."""
    views = predictions.predict(net, split, predictions.one_and_six_views, progress=True)
    logits, averaged = views.unbind(1)
    matrix = predictions.confusion_matrix(averaged, split.labels)
    by_class = matrix.diagonal() / matrix.sum(1)
    return {
        "images": len(split.labels), "views_per_image": predictions.views_per_image(logits),
        "error": 1 - predictions.accuracy(logits, split.labels),
        "error_six_views": 1 - predictions.accuracy(averaged, split.labels),
        "calibration_error": predictions.calibration_error(logits, split.labels),
        "calibration_error_six_views": predictions.calibration_error(averaged, split.labels),
        "accuracy_by_class_six_views": dict(zip(CLASSES, by_class.tolist(), strict=True)),
        "confusion_matrix_six_views": matrix.tolist(),}


def place(checkpoint: Path) -> Path:
    """Return where the numbers of a checkpoint go, if nothing else is said."""
    if checkpoint.resolve() == SHIPPED_WEIGHTS:
        return RESULTS_DIR / "evaluation.json"
    if checkpoint.name == "last.pt":
        return checkpoint.with_name("evaluation.json")
    return checkpoint.with_suffix(".evaluation.json")


def main() -> None:
    parser = flag_parser(__doc__, "--ckpt", "--network", "--data-dir", "--device")
    parser.add_argument("--out", type=user_path, help="the file that is written")
    args = parser.parse_args()
    device = use_device(args.device)
    path, net = open_network(args.ckpt, device, args.network)
    result = evaluate(net, load_cifar10(args.data_dir)[1].to(device))
    out = args.out or place(path)
    write_json(out, {**made_from(path, args.data_dir),
                     "parameters": get_number_of_parameters(net), **result,
                     **environment(device)})
    print(f"{path}\ntest error {100 * result['error']:.2f} %, with six views "
          f"{100 * result['error_six_views']:.2f} %, "
          f"calibration error {result['calibration_error']:.3f}")
    for name, share in result["accuracy_by_class_six_views"].items():
        print(f"  {name:<11}{100 * share:5.1f} %")
    print(out)


if __name__ == "__main__":
    run_main(main)
