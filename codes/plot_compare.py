"""Draw the comparisons: `make compare` does, or

    python codes/plot_compare.py reports/results/compare/quick

Reads the files that compare.py left; writes five pictures, and README.md, which shows them with
captions, what each study advises, its table, and what is not shown to help, to
reports/figures/compare/<base>/. Where a short and a long base share a variant, horizons.png is
drawn beside that folder, and shown. Trains nothing."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.figures.caption import caption
from codes.figures.comparisons import FIGURES, shows, what_was_trained
from codes.figures.horizons import caption_words, draw_horizons, read_horizons
from codes.results.advice import paragraph
from codes.results.comparisons import Comparisons, overview, study_table, without_effect_table
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, newest, write_text
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import run_main, user_path
from VGG_BatchNorm.ground.style import save_figure
from VGG_BatchNorm.ground.tables import markdown

READING = """\
± after an accuracy is the standard deviation over seeds; after a difference it is half of its 95 %
interval (Student's t, from the variant's own pairs). A difference is clear by Holm's rule over the
study's variants: where nothing differs, a study calls any difference clear with a probability of at
most 5 % (a bit more where seeds 4 and 5 were added when three had been seen). "Uncorrected": zero
lies outside of its own interval, but Holm's rule does not call it clear. All differences of a study
share the first variant's runs, and err together where these were lucky. Rates were tuned on a seed
of their own, but on the held-out images that judge the other seeds too. `tries` counts the grid
that is used now; picture 05 shows rates of earlier grids, too. What a study advises holds for the
net and the length of training named with it.
"""
HORIZONS = ("quick", "long")  # the bases that horizons.png sets side by side
INTRODUCED = {
    "whole_images": "The optimizers without the phase of small images, for about the same FLOPs, "
                    "since it might favour Muon. ",
    "losses_muon": "The losses under Muon, in place of Adam: tuned for each are the rates of SGD "
                   "beside it, of biases and last layer, on one seed. At the base's own rates "
                   "label smoothing is the base itself, which stands under optimizers. ",
    "damped_muon": "DampedMuon, one part at a time: how much it damps, whether less and less "
                   "(annealed), and whether its steps are as long as Muon's; rates are 1.5 apart. "
                   "“Damping 2, annealed” is DampedMuon above, “damping 1, constant” its "
                   "“constant 1”, at the best of finer rates. ",
    "recipe": "Ways to spend as many FLOPs as the base does, with as many epochs as they allow; "
              "“five of these”: images of 16, 24, then 32 pixels, three convolutions a group with "
              "residual connections, the hardest 40 %, averaged weights, shifts of up to 4. "}


def page(runs: Comparisons, horizons: tuple | None) -> str:
    """Return README.md. `horizons`: what `read_horizons` gives, if there is a variant that both
    bases compare."""
    machines = " and ".join(dict.fromkeys(row["device"].partition(",")[0] for row in runs.rows))
    text = ["# What makes the network better: one factor at a time\n",
            f"Drawn by `codes/plot_compare.py`; the base: {what_was_trained(runs)}; "
            f"{machines}.\n", READING]
    compared = {name: rows for name, rows in runs.studies.items() if len(rows) > 1}
    text.append(f"{markdown(overview(compared))}\n")
    text += [f"![{name}]({name}.png)\n\n**{name[:2]}** {caption(draw, {})}\n"
             for name, draw in FIGURES.items() if shows(name, runs)]
    if horizons:
        said = caption(draw_horizons, caption_words(*horizons))
        text.append(f"![horizons](../horizons.png)\n\n{said}\n")
    text += [f"## {study}\n\n{INTRODUCED.get(study, '')}{paragraph(rows, runs.base)}\n\n"
             f"{markdown(study_table(rows))}\n"
             for study, rows in compared.items()]
    text.append("## What is not clearly better\n\n"
                f"{markdown(without_effect_table(runs.studies))}\n")
    return "\n".join(text)


def horizons_of(results: Path) -> tuple | None:
    """Return what `read_horizons` gives of the bases in a folder; None if they share nothing."""
    bases = [results / name for name in HORIZONS]
    there = all((base / "summary.csv").exists() for base in bases)
    found = read_horizons(*bases) if there else None
    return found if found and found[-1] else None


def main() -> None:
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("results", nargs="?", type=user_path, help="folder of a base (default: the newest)")
    add("--out", type=user_path, help="folder of the pictures")
    args = parser.parse_args()
    results = RESULTS_DIR / "compare"
    folder = (args.results or newest(results, "*/summary.csv", f"no finished study in {results}; "
                                     "`make compare` makes one").parent).resolve()
    runs = Comparisons(folder)
    out = args.out or FIGURES_DIR / "compare" / folder.name
    pictures = {out / f"{name}.png": draw(runs) for name, draw in FIGURES.items()
                if shows(name, runs)}
    horizons = horizons_of(folder.parent) if folder.name in HORIZONS else None
    if horizons:
        pictures[out.parent / "horizons.png"] = draw_horizons(*horizons)
    for path, picture in pictures.items():
        save_figure(picture, path)
    write_text(out / "README.md", page(runs, horizons))
    print(f"page       {out / 'README.md'}")


if __name__ == "__main__":
    run_main(main)
