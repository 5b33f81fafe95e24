"""Draw what the deeper layers answer to, and an image on its way through the network:

    python codes/visualize_patches.py --ckpt reports/models/cifarnet.pt --image 7

Leaves patches.png (the patches of test images that excite a channel the most, for some channels of
a layer in each group) and feature_maps.png (a row of feature maps for each convolution) in
reports/figures/, and the numbers behind them in reports/results/patches.npz, measured anew only for
another checkpoint, data set, image or setting. Half a minute on two CPU cores. `make filters` draws
the first layer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.patches import draw_feature_maps, draw_patches
from codes.insight import patches
from codes.insight.measured import measured, net_and_data
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure


def main() -> None:
    parser = picture_parser(__doc__)
    parser.add_argument("--image", type=int, default=7, help="number of the test image")
    args = parser.parse_args()
    about, net, _, test = net_and_data(args)
    data = measured(args.results / "patches.npz", about | {"grey": patches.GREY}, patches.measure,
                    net, test, image=args.image, channels=6, patches=9, maps=12)
    print(data["about"]["checkpoint"])
    for name, draw in (("feature_maps", draw_feature_maps), ("patches", draw_patches)):
        save_figure(draw(data), args.out / f"{name}.png")


if __name__ == "__main__":
    run_main(main)
