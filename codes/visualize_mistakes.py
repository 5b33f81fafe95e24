"""Draw what the network gets wrong, and how well it knows:

    python codes/visualize_mistakes.py --ckpt reports/models/cifarnet.pt

Leaves four pictures in reports/figures/: confusion.png, mistakes.png (the most confident ones),
calibration.png and look_alikes.png; the numbers behind them in reports/results/mistakes.npz, measured
anew only for another checkpoint, data set or setting, and those for a report in mistakes.json beside it.
Two minutes on two CPU cores: six views of the test images, one of the training images. All is of one
view but for the right half of calibration.png.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures import mistakes
from codes.figures.flags import picture_parser
from VGG_BatchNorm.ground.files import read_npz, write_json
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure

FIGURES = {"confusion": mistakes.draw_confusion, "calibration": mistakes.draw_calibration,
           "look_alikes": mistakes.draw_look_alikes,
           "mistakes": mistakes.draw_mistakes}  # last: its file tells make that all four are there


def main() -> None:
    args = picture_parser(__doc__).parse_args()
    numbers = args.results / "mistakes.npz"
    if args.redraw:
        data = read_npz(numbers)
    else:
        from codes.insight.given import net_and_data
        from codes.insight.measured import measured
        from codes.insight.mistakes import measure

        about, net, train, test = net_and_data(args)
        data = measured(numbers, about, measure, net, train, test, bins=15, mistakes=24)
        write_json(args.results / "mistakes.json", mistakes.summary(data))
    result = mistakes.summary(data)
    print(f"{data['about']['checkpoint']}\ntest error {100 * result['error']:.2f} %, calibration error "
          + ", ".join(f"{error:.3f} ({name})" for name, error in result["calibration_error"].items()))
    for name, draw in FIGURES.items():
        save_figure(draw(data), args.out / f"{name}.png")
        print(f"picture    {args.out / name}.png")


if __name__ == "__main__":
    run_main(main)
