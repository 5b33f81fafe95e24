"""Draw the figures that are missing, or older than their numbers or code: `make figures` does, or

    python codes/draw_figures.py
    python codes/draw_figures.py robustness.png --all        # this one, though it is up to date

The figures are those of codes/figures/registry.py; they go to reports/figures/. Reads files in
reports/results/ alone: no data set, no checkpoint, no torch. Names the figures whose numbers are
not there, or are of other weights, and what measures them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.registry import FIGURES, draw, out_of_date, sources
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, run_main, user_path
from VGG_BatchNorm.measures import NotRun


def main() -> None:
    drawn = {figure.file: figure for figure in FIGURES if figure.sources}
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("figures", nargs="*", metavar="FILE", help="such as robustness.png; default: every figure")
    add("--all", action="store_true", help="also those that are up to date")
    add("--results", type=user_path, default=RESULTS_DIR, help="folder of the numbers")
    add("--out", type=user_path, default=FIGURES_DIR, help="folder of the pictures")
    args = parser.parse_args()
    if unknown := set(args.figures) - set(drawn):
        raise UserError(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(drawn)}")
    for figure in (drawn[name] for name in args.figures or drawn):
        if not sources(figure, args.results):
            print(f"missing    {figure.file}: no numbers; `{figure.verb}` measures them")
        elif args.all or out_of_date(figure, args.results, args.out):
            try:
                draw(figure, args.results, args.out)
            except (NotRun, UserError) as error:
                reason = str(error) or f"runs are missing; `{figure.verb}` makes them"
                print(f"not drawn  {figure.file}: {reason}")


if __name__ == "__main__":
    run_main(main)
