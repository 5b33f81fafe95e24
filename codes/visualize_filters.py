"""Draw first-layer filters and the feature maps they make: `make filters`, or

    python codes/visualize_filters.py --ckpt runs/strong-s0/last.pt --image 7

The filters of the first convolution (each scaled to its own range, grey is 0, sorted by contrast)
and what each makes of one test image. For a whitening net, whose first layer is fixed, the first
trained convolution follows below: its feature maps alone, as its filters have more than three input
channels. Leaves filters.png in reports/figures/, and the numbers behind it in
reports/results/filters.npz, measured anew only for another checkpoint, data set, image or setting.
A few seconds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.filters import draw_filters
from codes.flags import numbers, picture_parser
from VGG_BatchNorm.ground.files import FIGURES_DIR
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure


def main() -> None:
    parser = picture_parser(__doc__, out=FIGURES_DIR / "filters.png")
    parser.add_argument("--image", type=int, default=7, help="number of the test image")
    args = parser.parse_args()
    data = numbers(args, "filters", "test", image=args.image, maps=24)
    save_figure(draw_filters(data), args.out)
    print(f"{data['about']['checkpoint']}\npicture    {args.out}")


if __name__ == "__main__":
    run_main(main)
