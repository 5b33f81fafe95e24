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
from VGG_BatchNorm.ground.tables import markdown

SHOWN = ("airbench94_muon", "airbench96_faster", "ResNet-18", "adehuang41's PJ2", "spoil-ed's PJ2")

FOUND = """\
- **In four epochs of a small net**, Adam for everything in place of Muon {adam}, and on the
  filters alone it {filters}. Muon that does not keep filters at a fixed length {free}, and is
  then not clearly better than SGD on the filters; whether a fixed length would lift SGD or Adam
  was not tried. Twice the filters {wide}, for 3.5 times the FLOPs; batch norm, taken away (under
  AdamW), {plain}; CutMix {cutmix}, and less in one run of a wider net.
- **With batch norm, VGG-A trains faster:** 50 % training accuracy after {half[1]} steps, not
  {half[0]}. A part of that is the start: at a rate of 0.025, training accuracy at step 500 is
  {low[1]} % with batch norm and {low[0]} % without from Glorot's weights, {he[1]} and {he[0]} %
  from He's, which are made for ReLUs. At 0.1 the net without it diverges from these.
- **Along the gradient its loss is smoother, as the paper says, but late.** From step 500 on the
  loss varies less over half to four learning rates ({late[1]} against {late[0]} nats), and the
  gradient changes by {turn[1]} of its length in a step, not {turn[0]}. In the first 100 steps,
  after which batch norm is at {ahead[1]} % and the other net at {ahead[0]} %, each of these is
  the other way round ({early[1]} against {early[0]} nats; {first[1]} and {first[0]}), in the
  paper's figure, too, at its first reading: without batch norm the net has hardly left its start.
  In between nothing differs clearly, nor does the effective β from step 200 on. In the step
  actually taken the loss changes *more* with batch norm ({change[1]} against {change[0]}), for it
  falls further.
- **Internal covariate shift is not reduced** by the paper's measure (‖G − G′‖ of convolution 5:
  {shift[1]} against {shift[0]}); relative to the length of the gradient there is no clear
  difference in convolutions 3 to 8 ({ratio[1]} and {ratio[0]}). Noise that moves every channel's
  mean at every step leaves most of the gain on training batches: accuracy at step 300 is
  {trained[batch]} % with batch norm, {trained[noisy_batch_channel]} % with that noise after it,
  {trained[none]} % without both. On held-out images the gain is gone in the mean
  ({held[noisy_batch_channel]} %, in place of {held[batch]} %; {held[none]} % without both), where
  the noise is off and running statistics are those of noisy inputs.
- **The gain does not need a large rate.** With batch norm, 50 % is reached after {small} steps at
  a rate of 0.002 (one seed), {slow[1]} at 0.025 and {half[1]} at 0.1. At 0.5, training accuracy at
  step 500 is {large[1]} % with batch norm and {large[0]} % without, no clear difference; after a
  warm-up, {warm[1]} and {warm[0]} %; with batch norm in the linear layers, too, {inside[1]} %.
- **The handout's picture** (Adam, four rates, one epoch, one seed): the [band of
  losses](reports/figures/bn/evening/02_learning_rate_envelope.png) over the rates is as wide with
  batch norm as without ({bands[batch][width]} and {bands[none][width]} nats), for one rate leaves
  VGG-A at chance; without each net's slowest run it is {bands[batch][without_slowest]} and
  {bands[none][without_slowest]}.
- **Open:** by what means batch norm makes training faster. What is measured along the gradient
  does not go with the gain in time: its lead in accuracy grows up to about step 400, before
  anything there is clearly smoother. Spans of steps were chosen when the runs had been seen. Clear
  after correction for the number of claims are the gain in speed (at 0.025 from either start),
  norm in the linear layers at 0.5, the noise on training batches, the smaller change of the
  gradient, and that the loss changes more in the step taken; no claim on the band is. ([Every
  claim](reports/figures/bn/evening/README.md), with intervals over three seeds.)"""
CLAIMED = {  # by the names in FOUND: the claim's number, and what FOUND presumes that it says
    "half": ("steps to 50 % training accuracy", "holds"),
    "ahead": ("training accuracy (%) at step 100", "holds"),
    "low": ("training accuracy (%) at step 500, LR 0.025", "holds"),
    "he": ("training accuracy (%) at step 500, LR 0.025, He's initial weights", "holds"),
    "early": ("the band, ½ to 4 LR, steps 0 to 99", "the opposite"),
    "late": ("the band, ½ to 4 LR, from step 500 on", "holds"),
    "first": ("the same, steps 0 to 99", "the opposite"),
    "turn": ("the same, from step 500 on", "holds"),
    "change": ("median size of the loss's change, 1 LR on (nats)", "the opposite"),
    "shift": ("median ‖G − G′‖, convolution 5", "holds"),
    "ratio": ("‖G − G′‖ / ‖G‖, convolutions 3 to 8", "unclear"),
    "slow": ("steps to 50 % training accuracy, LR 0.025", "one net alone"),
    "large": ("training accuracy (%) at step 500, LR 0.5, three linear layers", "unclear"),
    "warm": ("the same, a warm-up in both nets", "holds"),
    "inside": ("the same, batch norm in its linear layers too", "holds")}
COMPARED = {"adam": ("optimizers", "Adam"), "filters": ("optimizers", "Adam on filters"),
            "free": ("optimizers", "Muon, not rescaling"), "wide": ("widths", "× 2"),
            "plain": ("components", "none"), "cutmix": ("augmentation", "with CutMix")}


def found_text(runs: measures.Runs, studies: dict[str, list[dict]]) -> str:
    """Return what both parts found, in a few sentences.

    Raises:
        KeyError: a claim or a variant that they name is not there.
        NotRun: nor are runs that they need.
        UserError: a claim says something else than its sentence.
    """
    effects, told = {effect.claim.quantity: effect for effect in claims.effects(runs)}, {}
    for name, (quantity, presumed) in CLAIMED.items():
        effect = effects[quantity]
        if effect.says != presumed:
            raise UserError(f"README's sentence on “{quantity}” does not fit ({effect.says}, not "
                            f"{presumed}); rewrite FOUND in codes/documents/front_page.py")
        told[name] = [claims.mean_in_three_digits(side) for side in (effect.plain, effect.normed)]
    said = {(study, short(row)): says(row)
            for study, rows in studies.items() for row in rows[1:]}
    (slowest,) = measures.find(runs, "envelope", norm="batch", optimizer="sgd", lr=0.002)
    bands = {norm: band(measures.find(runs, "envelope", optimizer="adam", norm=norm))
             for norm in ("none", "batch")}
    right = noise(runs)
    text = FOUND.format(small=measures.steps_to(slowest, 0.5), bands=bands,
                        held=right["held_out"], trained=right["training"],
                        **told, **{name: said[variant] for name, variant in COMPARED.items()})
    return "\n".join(textwrap.fill(" ".join(point.split()), 110, subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False)
                     for point in re.split("\n(?=- )", text))


def readme(results: Path = RESULTS_DIR) -> dict[str, str]:
    """Return the table and the text of README.md in Markdown, from the files in `results`."""
    try:
        published = [row for row in read_csv(results / "published.csv", PUBLISHED)
                     if row["net"] in SHOWN]
        rows = read_csv(results / "runs.csv", PRESET_RUN)
        return {"front": markdown(front_table(rows, published)),
                "found": found_text(measures.read_runs(results / "bn" / "evening"),
                                    by_study(results / "compare" / "quick"))}
    except measures.NotRun:
        raise UserError(f"runs that README names are not in {results / 'bn'}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None
