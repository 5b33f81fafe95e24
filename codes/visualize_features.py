"""Draw what the classifier sees, and how alike the layers of different nets are:

    python codes/visualize_features.py --ckpt reports/models/cifarnet.pt

Leaves in reports/figures/ (and the numbers behind them in reports/results/features/, measured anew
only for another checkpoint, data set, number of images or setting):

    features.png    test images by the input of the last layer: two principal components, and t-SNE
    similarity.png  linear CKA (insight/similarity.py) between the convolution blocks of small nets

t-SNE needs scikit-learn; where it is missing, and so are its numbers, that panel is left out. The
four small nets (insight/small_nets.py), with batch norm and without, of two seeds each, are trained
at the first call. Two and a half minutes on two CPU cores, then a few seconds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.features import draw_features, draw_similarity
from codes.insight.features import compare_nets, neighbour_points, nets_of, principal_points
from codes.insight.measured import measured, net_and_data
from codes.insight.similarity import SIDE
from codes.insight.small_nets import net_settings
from VGG_BatchNorm.ground.cifar10 import data_checksum
from VGG_BatchNorm.ground.files import RESULTS_DIR
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import save_figure

PAIRS = [[["batch_norm", 0], ["batch_norm", 1]], [["plain", 0], ["plain", 1]],
         [["batch_norm", 0], ["plain", 0]]]


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "features")
    parser.add_argument("--n-items", type=int, default=2000, help="test images for t-SNE and CKA")
    args = parser.parse_args()
    if args.n_items < 20:
        raise UserError(f"--n-items takes 20 or more, not {args.n_items}")
    about, net, train, test = net_and_data(args)
    images, md5 = min(args.n_items, len(test.labels)), data_checksum(args.data_dir)
    plane = measured(args.results / "principal_components.npz", about, principal_points, net, test)
    try:
        neighbours = measured(args.results / "t_sne.npz", about, neighbour_points, net, test,
                              images=images, perplexity=min(30, images / 4))
    except ImportError:
        print("scikit-learn is not installed: features.png is without its t-SNE panel")
        neighbours = None
    similar = measured(args.results / "similarity.npz", {"data": about["data"], "side": SIDE},
                       compare_nets, train, test, images=images, pairs=PAIRS,
                       nets=[net_settings(*one, md5) for one in nets_of(PAIRS)])
    save_figure(draw_similarity(similar), args.out / "similarity.png")
    save_figure(draw_features(plane, neighbours), args.out / "features.png")
    print(plane["about"]["checkpoint"])


if __name__ == "__main__":
    run_main(main)
