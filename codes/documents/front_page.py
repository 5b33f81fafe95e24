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
- **In four epochs of a small net**, Adam for everything in place of Muon {adam}; batch norm,
  taken away (under AdamW), {plain}; CutMix {cutmix}, less in one run of a wider net; twice the
  filters {wide}, for 3.5 times the FLOPs.
- **With batch norm, VGG-A trains faster:** 50 % training accuracy after {half[1]} steps, not
  {half[0]}. A part of this is the start: at a rate of 0.025, accuracy at step 500 is {low[1]} %
  with batch norm; without, it is {low[0]} % from Glorot's weights and {he[0]} % from He's, which
  are made for ReLUs.
- **Along the gradient the loss is smoother, as the paper says, but late:** from step 500 on it
  varies less over half to four learning rates ({late[1]} against {late[0]} nats). In the first
  100 steps, in which batch norm makes most of its lead, it varies more ({early[1]} against
  {early[0]}). The change of the gradient in a step behaves alike ({turn[1]} against {turn[0]} of
  its length; {first[1]} against {first[0]}).
- **Internal covariate shift is not reduced** by the paper's measure (‖G − G′‖ of convolution 5:
  {shift[1]} against {shift[0]}). Noise that moves every channel's mean after batch norm leaves
  most of the gain on training batches (accuracy at step 300: {trained[batch]} % with batch norm,
  {trained[noisy_batch_channel]} % with the noise, too, {trained[none]} % without both), none of
  it on held-out images, which come without the noise.
- **The gain does not need a large rate**: 50 % is reached after {slow[1]} steps at 0.025. Nor
  does batch norm alone make large rates safe: at 0.5, accuracy at step 500 is {large[1]} % with
  it and {large[0]} % without; it is {inside[1]} % with batch norm in the linear layers, too, and
  {warm[1]} % after a warm-up (without batch norm {warm[0]} %).
- **The handout's picture** (Adam, four rates, one seed): the [band of
  losses](reports/figures/bn/evening/02_learning_rate_envelope.png) over the rates is as wide with
  batch norm as without ({bands[batch][width]} and {bands[none][width]} nats), for in either net
  one run lags far behind; without that run it is {bands[batch][without_slowest]} and
  {bands[none][without_slowest]}.
- **Open:** by what means batch norm makes training faster. What is measured along the gradient
  gets clearly smoother only when the lead is made. Of the above, clear after correction for the
  number of claims are the gain in speed (at 0.025 from either start), norm in the linear layers
  at 0.5, the noise on training batches and the smaller change of the gradient; nothing on the
  band is ([every claim](reports/figures/bn/evening/README.md), with intervals)."""
CLAIMED = {  # by the names in FOUND: the claim's number, and what FOUND presumes that it says
    "half": ("steps to 50 % training accuracy", "holds"),
    "low": ("training accuracy (%) at step 500, LR 0.025", "holds"),
    "he": ("training accuracy (%) at step 500, LR 0.025, He's initial weights", "holds"),
    "early": ("the band, ½ to 4 LR, steps 0 to 99", "the opposite"),
    "late": ("the band, ½ to 4 LR, from step 500 on", "holds"),
    "first": ("the same, steps 0 to 99", "the opposite"),
    "turn": ("the same, from step 500 on", "holds"),
    "shift": ("median ‖G − G′‖, convolution 5", "holds"),
    "slow": ("steps to 50 % training accuracy, LR 0.025", "one net alone"),
    "large": ("training accuracy (%) at step 500, LR 0.5, three linear layers", "unclear"),
    "warm": ("the same, a warm-up in both nets", "holds"),
    "inside": ("the same, batch norm in its linear layers too", "holds")}
COMPARED = {"adam": ("optimizers", "Adam"), "wide": ("widths", "× 2"),
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
    bands = {norm: band(measures.find(runs, "envelope", optimizer="adam", norm=norm))
             for norm in ("none", "batch")}
    text = FOUND.format(bands=bands, trained=noise(runs)["training"], **told,
                        **{name: said[variant] for name, variant in COMPARED.items()})
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
