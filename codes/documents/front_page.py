"""What README.md shows first: our nets beside published ones, and what was found."""

import re
import textwrap
from pathlib import Path

from codes.documents.preset_tables import front_table
from codes.documents.report_numbers import band, noise
from codes.results.advice import says, short
from codes.results.comparisons import by_study
from codes.results.presets import PRESET_RUN, PUBLISHED
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table, markdown

SHOWN = ("airbench94_muon", "airbench96_faster", "ResNet-18", "adehuang41's PJ2", "spoil-ed's PJ2")

FOUND = """\
- **In four epochs of a net of {parameters} M parameters ({base} % right on held-out images),**
  Adam for everything in place of Muon {adam} (Muon that does not keep filters at a fixed length
  {free}); batch norm, taken away, {plain} (under AdamW, from {normed} %); CutMix {cutmix}, less
  in one longer run of a wider net; twice the filters {wide}, for 3.5 times the FLOPs.
- **With batch norm, VGG-A trains faster,** at rates of 0.1 and of 0.025. A part of the gain is
  the start: without batch norm the net does better from He's weights, made for ReLUs, than from
  Glorot's. But from these, too, it stays far behind at each of four rates (from 0.05 on, some or
  all of its runs diverge).
- **At a rate of 0.5 batch norm alone is not enough,** unlike in the paper's deeper net: neither
  net learns reliably. With batch norm in the linear layers, too, or after a warm-up, the net with
  batch norm does; a warm-up without batch norm hardly helps.
- **Over half to four learning rates along the gradient, loss and gradient vary less, as the paper
  says, but late** (the loss from step 500 on, when the lead is already there); over shorter
  distances they vary more. In the first 100 steps it is the other way round, as in the paper's
  first reading: the net without batch norm has hardly left its start. That is of Glorot's
  weights: from He's, by the one measure taken there, nothing differs clearly in these steps, and
  at a rate of 0.01 batch norm is the smoother net from step 100 on. So it is at equal loss, from
  1.0 to 1.6 nats; above, there is no clear difference.
- **In the step taken the loss falls further, as the gradient is longer,** in both nets by a third
  of what a plane would give, and the gradient changes less for its length. These two are clear
  after correction, and nothing else of this is. The effective β shows no clear difference: with
  batch norm it mostly comes from the shortest distance measured.
- **Internal covariate shift is not reduced:** by the paper's distance ‖G − G′‖ it is larger in
  the mean, much of which is the length of the gradient; relative to that, and by the cosine,
  there is no clear difference in most layers. Noise that moves every channel's mean after batch
  norm leaves most of the gain, also on held-out images if the running averages, which the noise
  spoils, are taken anew without it.
- **The handout's picture** (Adam, four rates, one seed): the [band of
  losses](reports/figures/bn/evening/02_learning_rate_envelope.png) over the rates is as wide with
  batch norm as without ({bands[batch][width]} and {bands[none][width]} nats), but for different
  reasons: without it one rate stays at chance, with it all four learn, one of them slowly.
  Without each net's slowest run it is {bands[batch][without_slowest]} and
  {bands[none][without_slowest]}.
- **Open:** by what means batch norm makes training faster."""
ACCURACY = "training accuracy (%) at step 500"
MEASURED = (  # as README says it; the claim's quantity; what FOUND presumes that the claim says
    ("steps to 50 % training accuracy", "steps to 50 % training accuracy", "holds"),
    ("held-out accuracy at step 1,500, %", "validation accuracy (%)", "holds"),
    ("training accuracy at step 100, %", "training accuracy (%) at step 100", "holds"),
    ("at step 500, %, rate 0.025", f"{ACCURACY}, LR 0.025", "holds"),
    ("… from He's weights", f"{ACCURACY}, LR 0.025, He's initial weights", "holds"),
    ("… rate 0.5", f"{ACCURACY}, LR 0.5, three linear layers", "unclear"),
    ("… rate 0.5, batch norm in the linear layers, too",
     "the same, batch norm in its linear layers too", "holds"),
    ("… rate 0.5, after a warm-up", "the same, a warm-up in both nets", "holds"),
    ("range of the loss along the gradient, nats, steps 0 to 99",
     "the band, ½ to 4 LR, steps 0 to 99", "the opposite"),
    ("… from step 500 on", "the band, ½ to 4 LR, from step 500 on", "holds"),
    ("… at equal loss, 1.0 to 1.6 nats", "the band, ½ to 4 LR, at equal loss, 1.0 to 1.6 nats",
     "holds"),
    ("‖Δg‖/‖g‖ in the step taken, steps 0 to 99", "the same, steps 0 to 99", "the opposite"),
    ("… from step 200 on", "median ‖Δg‖ / ‖g‖, 1 LR on", "holds"),
    ("size of the loss's change, nearly always a fall, in the step taken, nats",
     "median size of the loss's change, 1 LR on (nats)", "the opposite"),
    ("effective β", "median β, steps of ½ to 4 LR", "unclear"),
    ("‖G − G′‖ of convolution 5", "median ‖G − G′‖, convolution 5", "holds"),
    ("‖G − G′‖/‖G‖ of convolutions 3 to 8", "‖G − G′‖ / ‖G‖, convolutions 3 to 8", "unclear"),
    ("training accuracy at step 300, %, noise after the batch norm (no noise: {training[batch]})",
     "training accuracy (%) at step 300; with batch norm: noise by channel after it", "holds"),
    ("held-out accuracy then, %, running averages taken anew (no noise: {anew[batch]})",
     "held-out accuracy (%), there running statistics taken anew without the noise", "holds"))
PRESUMED = {  # of claims that FOUND leans on and the table leaves out
    "the same, 0 to 2 LR": "the opposite", "the same, 1/16 LR on": "the opposite",
    "the band, ½ to 4 LR, at equal loss, 1.6 to 1.9 nats": "unclear",
    "cosine of G and G′, convolutions 3 to 8": "unclear",
    **{f"distance from a plane's loss, 1 LR on, {text}, He's initial weights": says
       for text, says in (("steps 0 to 99, LR 0.01", "unclear"),
                          ("steps 0 to 99, LR 0.025", "unclear"),
                          ("steps 100 to 499, LR 0.01", "holds"))},
    **{f"{ACCURACY}, LR {lr}, He's initial weights": "holds" for lr in (0.01, 0.05, 0.1)}}
COMPARED = {"adam": ("optimizers", "Adam"), "free": ("optimizers", "Muon, not rescaling"),
            "wide": ("widths", "× 2"), "plain": ("components", "none"),
            "cutmix": ("augmentation", "with CutMix")}


def found_text(runs: measures.Runs, studies: dict[str, list[dict]]) -> str:
    """Return what both parts found, in a few sentences.

    Raises:
        KeyError: a variant that they name is not there.
        NotRun: nor are runs that they need.
    """
    said = {(study, short(row)): says(row)
            for study, rows in studies.items() for row in rows[1:]}
    bands = {norm: band(measures.find(runs, "envelope", optimizer="adam", norm=norm))
             for norm in ("none", "batch")}
    base, normed = studies["widths"][0], studies["components"][0]
    text = FOUND.format(bands=bands, parameters=f"{base['parameters'] / 1e6:.2f}",
                        base=f"{base['accuracy']:.1f}", normed=f"{normed['accuracy']:.1f}",
                        **{name: said[of] for name, of in COMPARED.items()})
    return "\n".join(textwrap.fill(" ".join(point.split()), 110, subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False)
                     for point in re.split("\n(?=- )", text))


def measured_table(runs: measures.Runs) -> Table:
    """Return the numbers behind what FOUND says of batch norm.

    Raises:
        KeyError: a claim is not there.
        UserError: it says something else than FOUND presumes.
    """
    shown, right = claims.effects(runs), noise(runs)
    effects, clear, rows = {each.claim.quantity: each for each in shown}, claims.clear(shown), []
    presumed = PRESUMED | {quantity: says for _, quantity, says in MEASURED}
    for quantity, wanted in presumed.items():
        if (found := effects[quantity].says) != wanted:
            raise UserError(f"README's sentence on “{quantity}” does not fit ({found}, not "
                            f"{wanted}); rewrite FOUND in codes/documents/front_page.py")
    for text, quantity, _ in MEASURED:
        effect = effects[quantity]
        difference = claims.signed(*effect.interval)
        rows.append((text.format(**right) + " †" * effect.claim.afterwards,
                     *map(claims.mean_in_three_digits, (effect.plain, effect.normed)),
                     f"**{difference}**" if effect.claim in clear else difference))
    return Table("", ("VGG-A", "without batch norm", "with", "difference, 95 %"), rows)


def readme(results: Path = RESULTS_DIR) -> dict[str, str]:
    """Return the table and the text of README.md in Markdown, from the files in `results`."""
    try:
        published = [row for row in read_csv(results / "published.csv", PUBLISHED)
                     if row["net"] in SHOWN]
        rows = read_csv(results / "runs.csv", PRESET_RUN)
        runs = measures.read_runs(results / "bn" / "evening")
        return {"front": markdown(front_table(rows, published)),
                "found": found_text(runs, by_study(results / "compare" / "quick")),
                "measured": markdown(measured_table(runs))}
    except measures.NotRun:
        raise UserError(f"runs that README names are not in {results / 'bn'}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None
