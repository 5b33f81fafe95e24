"""Draw which pixels made the network say what it says, for right answers and for mistakes:

    python codes/visualize_attribution.py --ckpt reports/models/cifarnet.pt

Three methods (insight/attribution.py) on test images that a rule chooses. Leaves attribution.png in
reports/figures/, and the numbers behind it in reports/results/attribution.npz, measured anew only
for another checkpoint, data set or setting. A quarter of a minute on two CPU cores."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.attribution import draw_attribution
from codes.insight import attribution
from codes.insight.measured import measured, net_and_data
from VGG_BatchNorm.ground.files import FIGURES_DIR
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import save_figure


def main() -> None:
    args = picture_parser(__doc__, out=FIGURES_DIR / "attribution.png").parse_args()
    about, net, _, test = net_and_data(args)
    data = measured(args.results / "attribution.npz", about, attribution.measure, net, test,
                    rows=5, size=6, stride=2, steps=64)
    save_figure(draw_attribution(data), args.out)
    missed = abs(data["sum"] - data["gain"]) / abs(data["gain"]).clip(1e-12)
    missed = missed[data["numbers"] >= 0]  # some rows may have no image
    print(f"{data['about']['checkpoint']}\nintegrated gradients miss their sum by "
          f"{100 * np.median(missed):.1f} % (median), {100 * missed.max():.1f} % at most")


if __name__ == "__main__":
    run_main(main)
