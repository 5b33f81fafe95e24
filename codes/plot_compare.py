"""Draw the comparisons: `make compare` does, or

    python codes/plot_compare.py reports/results/compare/quick

Reads the files that compare.py left; writes five pictures, and README.md, which shows them with
captions, every study's table, and what did not help, to reports/figures/compare/<base>/. Trains
nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.documents.comparisons import Comparisons, study_table, without_effect_table
from codes.figures.comparisons import FIGURES, STUDIES_OF, scale
from codes.flags import flag_parser
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, atomic_write, newest
from VGG_BatchNorm.ground.script import UserError, run_main, user_path
from VGG_BatchNorm.ground.style import save_figure
from VGG_BatchNorm.ground.tables import markdown


def newest_base(results: Path) -> Path:
    found = newest(results, "*/summary.csv")
    if found is None:
        raise UserError(f"no finished study in {results}; `make compare` makes one")
    return found.parent


def main() -> None:
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("results", nargs="?", type=user_path, help="folder of a base (default: the newest)")
    add("--out", type=user_path, help="folder of the pictures")
    args = parser.parse_args()
    folder = args.results or newest_base(RESULTS_DIR / "compare")
    runs = Comparisons(folder)
    out = args.out or FIGURES_DIR / "compare" / folder.resolve().name
    text = ["# What makes the network better: one factor at a time\n",
            f"Drawn by `codes/plot_compare.py`; the base: {scale(runs)}.\n"]
    for name, draw in FIGURES.items():
        if set(STUDIES_OF[name]) & set(runs.studies):
            save_figure(draw(runs), out / f"{name}.png")
            print(f"picture    {out / name}.png")
            caption = " ".join(draw.__doc__.split())
            text.append(f"![{name}]({name}.png)\n\n**{name[:2]}** {caption}\n")
    text += [f"## {study}\n\n{markdown(study_table(rows))}\n"
             for study, rows in runs.studies.items()]
    text.append(f"## What did not help\n\n{markdown(without_effect_table(runs.studies))}\n")
    with atomic_write(out / "README.md") as file:
        file.write("\n".join(text).encode())
    print(f"page       {out / 'README.md'}")


if __name__ == "__main__":
    run_main(main)
