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
from codes.insight.learning import small_recipe, watch
from codes.insight.measured import measured, training_parts
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import count, number, run_main


def main() -> None:
    parser = picture_parser(__doc__, RESULTS_DIR / "learning", FIGURES_DIR / "learning.gif",
                            net=())
    add = parser.add_argument
    add("--frames", metavar="N", default=40,
        type=number(int, "a number from 2 to 200", lambda n: n in range(2, 201)))
    add("--seed", type=count, default=0)
    args = parser.parse_args()
    train, validation, md5 = training_parts(args)
    recipe = small_recipe(args.seed, train.labels.device)
    data = measured(args.results / "learning.npz", {"data": md5[:10]}, watch, train, validation,
                    recipe=recipe, frames=args.frames,
                    validation_images=min(2000, len(validation.labels)))
    write_gif(draw_frames(data), args.out)
    print(f"validation accuracy {100 * data['accuracy'][-1]:.1f} % "
          f"after {data['steps'][-1]} steps")


if __name__ == "__main__":
    run_main(main)
