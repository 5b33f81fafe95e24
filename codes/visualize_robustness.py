"""Draw how the network bears corrupted and adversarial images:

    python codes/visualize_robustness.py --ckpt reports/models/cifarnet.pt

Accuracy on test images under seven corruptions of five severities (insight/corruptions.py), and, on
a quarter of them, under two attacks that know the net: FGSM, one step along the sign of the
gradient (Goodfellow et al. 2015, arXiv 1412.6572), and PGD, ten smaller ones from a random start
(Madry et al. 2018, arXiv 1706.06083). Then Gaussian noise alone on two small nets
(insight/small_nets.py), trained at the first call, which differ in the first layer. Leaves
robustness.png in reports/figures/, and in reports/results/ what it is drawn from, robustness.npz
and robustness_noise.npz, and the accuracies to read, robustness.json. Three minutes on two CPU
cores; the numbers of the same checkpoint, data and settings are only drawn."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.robustness import draw_robustness
from codes.insight import robustness
from codes.insight.corruptions import CORRUPTIONS
from codes.insight.measured import measured, net_and_data
from codes.insight.small_nets import net_settings
from codes.results.measurements import robustness_for_report
from VGG_BatchNorm.ground.cifar10 import data_checksum, split_validation
from VGG_BatchNorm.ground.files import FIGURES_DIR, write_json
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import UserError, count, run_main
from VGG_BatchNorm.ground.style import save_figure

FIRST_LAYERS = ("batch_norm", "trained_stem")  # small nets: a fixed whitening, and a trained layer


def main() -> None:
    parser = picture_parser(__doc__, out=FIGURES_DIR / "robustness.png")
    parser.add_argument("--n-items", type=count, default=2000,
                        help="only the first so many test images")
    args = parser.parse_args()
    if args.n_items <= (example := robustness.SETTINGS["example"]):
        raise UserError(f"--n-items takes more than {example}, not {args.n_items}")
    about, net, train, test = net_and_data(args)
    test, images = test.to("cpu"), min(args.n_items, len(test.labels))
    data = measured(args.results / "robustness.npz", about | {"pgd_step": robustness.PGD_STEP},
                    robustness.measure, net, test, images=images, attacked=images // 4,
                    **robustness.SETTINGS)
    write_json(args.results / "robustness.json", robustness_for_report(data))
    nets = {name: net_settings(name, 0, data_checksum(args.data_dir)) for name in FIRST_LAYERS}
    noise = measured(args.results / "robustness_noise.npz", {}, robustness.noise_by_first_layer,
                     split_validation(train)[0], test, images=images, nets=nets,
                     strengths=CORRUPTIONS[robustness.NOISE][1])
    save_figure(draw_robustness(data, noise), args.out)
    print(f"{about['checkpoint']}\nnumbers    {args.results / 'robustness.npz'}")


if __name__ == "__main__":
    run_main(main)
