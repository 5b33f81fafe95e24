"""Draw what the network gets wrong, and how well it knows:

    python codes/visualize_mistakes.py --ckpt reports/models/cifarnet.pt

Leaves four pictures in reports/figures/: confusion.png, mistakes.png (the most confident ones),
calibration.png and look_alikes.png; the numbers behind them in reports/results/mistakes.npz,
measured anew only for another checkpoint, data set or setting, and those for a report in
mistakes.json beside it. Two minutes on two CPU cores: six views of the test images, one of the
training images. All is of one view but for the right half of calibration.png."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.mistakes import draw_calibration, draw_confusion, draw_look_alikes, draw_mistakes
from codes.insight import mistakes
from codes.insight.measured import measured, net_and_data
from codes.results.measurements import mistakes_for_report
from VGG_BatchNorm.ground.files import write_json
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.predictions import SURE_MARGIN
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure

FIGURES = {"confusion": draw_confusion, "calibration": draw_calibration,
           "look_alikes": draw_look_alikes, "mistakes": draw_mistakes}


def main() -> None:
    args = picture_parser(__doc__).parse_args()
    about, *given = net_and_data(args)
    data = measured(args.results / "mistakes.npz", about | {"sure_margin": SURE_MARGIN},
                    mistakes.measure, *given, bins=15, mistakes=24)
    found = mistakes_for_report(data)
    write_json(args.results / "mistakes.json", found)
    errors = (f"{share:.3f} ({name})" for name, share in found["calibration_error"].items())
    print(f"{found['checkpoint']}\ntest error {100 * found['error']:.2f} %, "
          f"calibration error {', '.join(errors)}")
    for name, draw in FIGURES.items():
        save_figure(draw(data), args.out / f"{name}.png")


if __name__ == "__main__":
    run_main(main)
