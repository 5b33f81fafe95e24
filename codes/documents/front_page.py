"""What README.md shows first: our nets beside published ones, and what was found."""

import re
import textwrap
from pathlib import Path

from codes.documents.preset_tables import front_table
from codes.documents.report_numbers import bands, noise
from codes.results.comparisons import changes_table
from codes.results.presets import PRESET_RUN, PUBLISHED
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table, markdown

SHOWN = ("airbench94_muon", "airbench96_faster", "ResNet-18", "adehuang41's PJ2", "spoil-ed's PJ2")

FOUND = """\
- **VGG-A learns faster with batch norm,** and after the paper's 15,000 steps it seems to be a
  little ahead (by held-out readings, looked at afterwards). At a rate of 0.025 a part of the
  lead is due to the course kit's initial weights (Glorot's): from He's, which are made for
  ReLUs, the net without batch norm does better, but diverges at 0.1.
- **At a rate of 0.5 batch norm alone is not enough,** unlike in the paper's deeper net: it takes
  batch norm in the linear layers, too, or a warm-up of 100 steps.
- **Along the gradient the loss seems to vary less with batch norm, as the paper says, but
  late:** half to four times as far as a step goes, from step 500 on, when the lead is already
  there. Before step 200 (from Glorot's weights) it varies more, and until about step 1,500 it
  does on the step itself, in which it falls further. The paper's three measures (range of the
  loss, change ‖Δg‖ of the gradient, and β, its largest ratio to the distance; medians from step
  200 to 1,500) point its way, none of them clearly after correction. Per unit of length the
  gradient changes less from one learning rate on (clearly, at the largest), and more at half and
  below. Until about step 1,500 it is longer, against the paper's words, and later seems to be
  shorter.
- **Internal covariate shift, by the paper's distance, is larger:** ‖G − G′‖, how far a layer's
  gradient moves when the layers below it take their step, much of it because the gradient is
  longer; relative to the gradient it is larger in convolution 2, smaller in linear layer 1, else
  not clearly (corrected over layers, looked at afterwards). Noise that moves every channel's
  mean after batch norm leaves most of the gain of 300 steps (on held-out images once statistics
  are taken anew): most of it does not need steady means, but may need steady spreads.
- **The handout's picture** (Adam, four rates, {bands[batch][epochs]} epochs, one seed): the
  [band of losses](reports/figures/bn/full/02_learning_rate_envelope.png) is narrower with batch
  norm ({bands[batch][width]} against {bands[none][width]} nats), mostly because the largest rate
  is slow without it (leaving that out, {bands[batch][without_slowest]} against
  {bands[none][without_slowest]}).
- **Open:** by what means batch norm makes training faster. [The report](reports/report.pdf)
  weighs each explanation."""
SENTENCES = "FOUND in codes/documents/front_page.py, or reports/report.typ, which holds it"
ACCURACY = "training accuracy (%) at step 500"
MEASURED = (  # as README says it; the claim's quantity; what text presumes that the claim says
    ("steps to 50 % training accuracy", "steps to 50 % training accuracy", "holds"),
    ("test accuracy at step 15,000, %", "test accuracy (%) at step 15,000", "unclear"),
    ("training accuracy at step 500, %, rate 0.5", f"{ACCURACY}, LR 0.5, three linear layers",
     "unclear"),
    ("… batch norm in the linear layers, too",
     "the same, batch norm in its linear layers too", "holds"),
    ("range of the loss along the gradient, nats, steps 0 to 99",
     "the band, ½ to 4 LR, steps 0 to 99", "the opposite"),
    ("… steps 500 to 1,499", "the band, ½ to 4 LR, from step 500 on", "holds"),
    ("largest ‖Δg‖/‖g‖, from step 200 on", "the same, over ‖g‖", "holds"),
    ("‖G − G′‖ of convolution 5", "median ‖G − G′‖, convolution 5", "holds"),
    ("training accuracy at step 300, %, noise after the batch norm (no noise: {training[batch]})",
     "training accuracy (%) at step 300; with batch norm: noise by channel after it", "holds"))
PRESUMED = {  # of claims that FOUND or report.typ leans on and the table leaves out
    f"{ACCURACY}, LR 0.025": "holds", "the same, a warm-up in both nets": "holds",
    "validation accuracy (%), median from step 10,000 on": "holds",
    "median ‖Δg‖ / ‖g‖, 1 LR on": "holds",
    "the band, ½ to 4 LR, steps 100 to 199": "the opposite",
    "the same, steps 0 to 99": "the opposite", "the same, 0 to 2 LR": "the opposite",
    "median β, steps of ½ to 4 LR": "holds", "mean β of the first three probes": "holds",
    "median β, from step 0 on": "unclear", "median β, steps 1,500 to 4,999": "unclear",
    "median ‖g‖": "the opposite", "median ‖g‖, at equal loss, 1.0 to 1.6 nats": "the opposite",
    "median ‖g‖, steps 1,500 to 2,999": "unclear", "median ‖g‖, steps 3,000 to 4,999": "holds",
    "the same, steps 200 to 499": "holds", "the same, 1/16 LR on": "the opposite",
    "median width of the band, ½ to 4 LR (nats)": "holds",
    "median largest ‖Δg‖, ½ to 4 LR": "holds",
    "held-out accuracy (%), there running statistics taken anew without the noise": "holds",
    **{f"distance from a plane's loss, 1 LR on, steps 100 to 499, LR {lr:g}, He's initial weights":
       "holds" for lr in (0.01, 0.025)},
    "‖G − G′‖ / ‖G‖, convolution 2": "holds", "median ‖Δg‖, 1 LR on": "the opposite",
    "median ‖Δg‖ / ‖g‖, ½ LR on": "the opposite", "the band, ½ to 4 LR, step 0": "the opposite",
    "‖G − G′‖ / ‖G‖, convolutions 3 to 6": "unclear",
    **{f"‖G − G′‖ / ‖G‖, {layers}": "the opposite"
       for layers in ("convolutions 7 and 8", "linear layers")},
    **{f"{ACCURACY}, LR {lr}, He's initial weights": "holds" for lr in (0.01, 0.025, 0.05, 0.1)}}
CLEAR = {  # whether they are called clear after correction for the number of claims
    "median width of the band, ½ to 4 LR (nats)": False, "median largest ‖Δg‖, ½ to 4 LR": False,
    "median β, steps of ½ to 4 LR": False, "mean β of the first three probes": True,
    "the same, over ‖g‖": True}


def found_text(runs: measures.Runs) -> str:
    """Return what was found of batch norm, in a few sentences. Raises NotRun: runs that it needs
    are not there."""
    return "\n".join(textwrap.fill(" ".join(point.split()), 110, subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False)
                     for point in re.split("\n(?=- )", FOUND.format(bands=bands(runs, "adam"))))


def measured_table(runs: measures.Runs) -> Table:
    """Return numbers behind what was found of batch norm. Raises KeyError: a claim is not there.
    Raises UserError: it says something else than FOUND and report.typ presume."""
    shown, right = claims.effects(runs), noise(runs)
    effects, clear, rows = {each.claim.quantity: each for each in shown}, claims.clear(shown), []
    presumed = PRESUMED | {quantity: says for _, quantity, says in MEASURED}
    for quantity, wanted in presumed.items():
        if (found := effects[quantity].says) != wanted:
            raise UserError(f"a sentence on “{quantity}” does not fit ({found}, not {wanted}); "
                            f"rewrite {SENTENCES}")
    for quantity, wanted in CLEAR.items():
        if (effects[quantity].claim in clear) != wanted:
            raise UserError(f"a sentence on “{quantity}” does not fit: after correction it is "
                            f"{'not ' * wanted}clear; rewrite {SENTENCES}")
    for text, quantity, _ in MEASURED:
        effect = effects[quantity]
        difference = claims.signed(*effect.interval)
        rows.append((text.format(**right) + " †" * effect.claim.afterwards,
                     *map(claims.mean_in_three_digits, (effect.plain, effect.normed)),
                     f"**{difference}**" if effect.claim in clear else difference))
    return Table("", ("VGG-A", "without batch norm", "with", "difference, 95 %"), rows)


def readme(results: Path = RESULTS_DIR) -> dict[str, str]:
    """Return the tables and the text of README.md in Markdown, from the files in `results`."""
    try:
        published = [row for row in read_csv(results / "published.csv", PUBLISHED)
                     if row["net"] in SHOWN]
        rows = read_csv(results / "runs.csv", PRESET_RUN)
        runs = measures.read_runs(results / "bn" / "full")
        return {"front": markdown(front_table(rows, published)),
                "changes": markdown(changes_table(results / "compare")),
                "found": found_text(runs), "measured": markdown(measured_table(runs))}
    except measures.NotRun:
        raise UserError(f"runs that README names are not in {results / 'bn'}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None
