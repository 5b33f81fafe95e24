"""Draw the batch-norm study: `make bn-landscape` does, or

    python VGG_BatchNorm/plot_study.py reports/results/bn/quick  # default: the newest summary.csv's

Reads the runs of one preset; writes its pictures, and README.md, which shows them with captions and
sets the paper's claims against the numbers, to reports/figures/bn/<preset>/. Trains nothing; a
picture whose runs are missing is left out."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.claims import claims_table, twins
from VGG_BatchNorm.draw_own import FIGURES
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, newest, write_text
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, run_main, user_path
from VGG_BatchNorm.ground.style import save_figure
from VGG_BatchNorm.ground.tables import markdown
from VGG_BatchNorm.measures import NotRun, read_runs


def main() -> None:
    parser = flag_parser(__doc__)
    parser.add_argument("results", nargs="?", type=user_path, help="folder of a preset")
    parser.add_argument("--out", type=user_path, help="folder of the pictures")
    args = parser.parse_args()
    results = RESULTS_DIR / "bn"
    folder = (args.results or newest(results, "*/summary.csv", f"no finished study in {results}; "
                                     "`make bn-landscape` makes one").parent).resolve()
    args.out = args.out or FIGURES_DIR / "bn" / folder.name
    runs = read_runs(folder)
    text = ["# Why batch normalisation helps: the pictures\n",
            f"Drawn by `VGG_BatchNorm/plot_study.py` from the preset `{folder.name}`.\n",
            markdown(claims_table(runs)) + "\n"]
    others = {f"{pair.parent.name}/{name}": run for pair in sorted(folder.parent.glob("*/pair"))
              if pair.parent != folder for name, run in read_runs(pair.parent).items()}
    if (same := twins(others | runs)).rows:
        text.append("Runs of this preset and of others that were trained in both precisions, over "
                    "the steps that both have: whether bfloat16, or the machine, changes what is "
                    f"found.\n\n{markdown(same)}\n")
    head = len(text)
    for name, draw in FIGURES.items():
        try:
            save_figure(draw(runs), args.out / f"{name}.png")
        except NotRun as error:
            print(f"{name}: not drawn, {error}", file=sys.stderr)
            continue
        caption, *found = [" ".join(part.split()) for part in draw.__doc__.split("\n\n")]
        text.append(f"![{name}]({name}.png)\n\n**{name[:2]}** {caption}\n")
        if folder == (RESULTS_DIR / "bn" / "full").resolve():
            text += [f"*Finding:* {part}\n" for part in found]
    if len(text) == head:
        raise UserError(f"{folder} holds none of the runs that the pictures need")
    write_text(args.out / "README.md", "\n".join(text))


if __name__ == "__main__":
    run_main(main)
