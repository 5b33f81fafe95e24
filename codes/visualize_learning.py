"""Draw a small net while it learns, as an animation:

    python codes/visualize_learning.py

Trains the net of the base `quick` (studies.py), but with a first layer that is trained, in place of
the fixed whitening, and on images of full size from the start, and looks at it at moments that lie
denser where it changes faster. Leaves learning.gif in reports/figures/, and what it is drawn from
in reports/results/learning/learning.npz. Two minutes on two CPU cores; then a few seconds, as long
as the settings stay the same."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.learning import draw_frames, write_gif
from codes.flags import picture_parser
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, read_npz
from VGG_BatchNorm.ground.script import count, run_main


def measure_numbers(args) -> None:
    from codes.insight.learning import small_recipe, watch  # here: to draw again takes no torch
    from codes.insight.measured import measured
    from VGG_BatchNorm.ground.cifar10 import data_checksum, load_cifar10, split_validation
    from VGG_BatchNorm.ground.machine import use_device

    device = use_device(args.device)
    whole, _ = load_cifar10(args.data_dir)
    train, validation = (split.to(device) for split in split_validation(whole))
    measured(args.results / "learning.npz", {"data": data_checksum(args.data_dir)[:10]}, watch,
             train, validation, recipe=small_recipe(args.seed, device), frames=args.frames,
             validation_images=min(2000, len(validation.labels)))


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "learning", FIGURES_DIR / "learning.gif",
                            ckpt=False)
    add = parser.add_argument
    add("--frames", type=int, choices=range(2, 201), metavar="N", default=40)
    add("--seed", type=count, default=0)
    args = parser.parse_args()
    if not args.redraw:
        measure_numbers(args)
    data = read_npz(args.results / "learning.npz")
    write_gif(draw_frames(data), args.out)
    print(f"validation accuracy {100 * data['accuracy'][-1]:.1f} % "
          f"after {data['steps'][-1]} steps")
    print(f"picture    {args.out}, {args.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_main(main)
