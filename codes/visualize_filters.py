"""Draw first-layer filters and the feature maps they make: `make filters`, or

    python codes/visualize_filters.py --ckpt runs/strong-s0/last.pt --image 7
    python codes/visualize_filters.py --learned

The filters of the first convolution (each scaled to its own range, grey is 0, sorted by contrast)
and what each makes of one test image. For a whitening net, whose first layer is fixed, the first
trained convolution follows below: its feature maps alone, as its filters have more than three input
channels. Leaves filters.png in reports/figures/, and the numbers behind it in
reports/results/filters.npz, measured anew only for another checkpoint, data set, image or setting.
A few seconds.

With --learned, the 3×3 filters that three small nets (insight/small_nets.py) learn, before and
after training: VGG-A without and with batch norm, and a CifarNet without whitening. Leaves
learned_filters.png, and learned_filters.npz, likewise. They are trained at the first call: two
minutes on two CPU cores."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.filters import TITLES, draw_filters, draw_learned_filters
from codes.insight import filters
from codes.insight.measured import measured, net_and_data, training_parts
from codes.insight.small_nets import net_settings
from VGG_BatchNorm.ground.files import FIGURES_DIR
from VGG_BatchNorm.ground.flags import picture_parser, refuse
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure

OUT = FIGURES_DIR / "filters.png"


def draw_learned(args) -> None:
    refuse(args, "--learned", "image", "ckpt", "network")
    *parts, md5 = training_parts(args)
    data = measured(args.results / "learned_filters.npz", {"data": md5[:10]}, filters.learned,
                    *parts, nets={name: net_settings(name, 0, md5) for name in TITLES})
    out = args.out.with_name("learned_filters.png") if args.out.name == OUT.name else args.out
    save_figure(draw_learned_filters(data), out)


def main() -> None:
    parser = picture_parser(__doc__, out=OUT)
    parser.add_argument("--image", type=int, help="number of the test image (default: 7)")
    parser.add_argument("--learned", action="store_true",
                        help="filters of small nets, before and after training")
    args = parser.parse_args()
    if args.learned:
        return draw_learned(args)
    args.image = 7 if args.image is None else args.image
    about, net, _, test = net_and_data(args)
    data = measured(args.results / "filters.npz", about, filters.measure, net, test,
                    image=args.image, maps=24)
    save_figure(draw_filters(data), args.out)
    print(data["about"]["checkpoint"])


if __name__ == "__main__":
    run_main(main)
