"""Draw the training curves of a run: `make train` does, or

    python codes/plot_curves.py runs/strong-s0        # default: the newest run

Reads the run's log.csv; writes training_curves.png beside it (or to --out)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.curves import draw_curves, read_log
from VGG_BatchNorm.ground.files import RUNS_DIR, newest
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import run_main, user_path
from VGG_BatchNorm.ground.style import save_figure


def main() -> None:
    parser = flag_parser(__doc__)
    parser.add_argument("run", nargs="?", type=user_path, help="run folder")
    parser.add_argument("--out", type=user_path, help="the picture")
    args = parser.parse_args()
    folder = args.run or newest(RUNS_DIR, "*/log.csv",
                                "no run yet; `make train` makes one").parent
    path = args.out or folder / "training_curves.png"
    save_figure(draw_curves(*read_log(folder)), path)


if __name__ == "__main__":
    run_main(main)
