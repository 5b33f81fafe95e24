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
from codes.insight.measured import made_from, measured
from codes.insight.small_nets import net_settings
from codes.open_weights import open_network
from codes.results.measurements import robustness_for_report
from VGG_BatchNorm.ground.cifar10 import data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import FIGURES_DIR, write_json
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.machine import use_device
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
    device = use_device(args.device)
    path, net = open_network(args.ckpt, device, args.network)
    train, test = load_cifar10(args.data_dir)
    images = min(args.n_items, len(test.labels))
    about = made_from(path, args.data_dir, args.network) | {"pgd_step": robustness.PGD_STEP}
    data = measured(args.results / "robustness.npz", about, robustness.measure, net, test,
                    images=images, attacked=images // 4, **robustness.SETTINGS)
    write_json(args.results / "robustness.json", robustness_for_report(data))
    nets = {name: net_settings(name, 0, data_checksum(args.data_dir)) for name in FIRST_LAYERS}
    noise = measured(args.results / "robustness_noise.npz", {}, robustness.noise_by_first_layer,
                     split_validation(train)[0].to(device), test, images=images, nets=nets,
                     strengths=CORRUPTIONS[robustness.NOISE][1])
    save_figure(draw_robustness(data, noise), args.out)
    print(f"{path}\nnumbers    {args.results / 'robustness.npz'}\npicture    {args.out}")


if __name__ == "__main__":
    run_main(main)
