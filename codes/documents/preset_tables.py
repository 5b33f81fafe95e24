"""What README.md, MODEL_CARD.md and the report say of presets and weights."""

import statistics
from pathlib import Path

from codes.results import presets
from codes.results.advice import says, short
from codes.results.comparisons import by_study
from codes.results.words import mean_and_deviation
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, digest, read_csv, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table, markdown


def accuracy_table(rows: list[dict]) -> Table:
    """One line a preset: test error, seeds, parameters, FLOPs, minutes."""
    head = ("preset", "test error, one view", "six views", "seeds", "parameters", "PFLOP to train",
            "precision", "minutes of CPU", "by the clock", "peak memory")
    lines = []
    for preset, mine in presets.by_preset(sorted(rows, key=lambda row: row["flops"])).items():
        memory = max(row["peak_memory_bytes"] or 0 for row in mine) / 2**30
        errors = [f"{mean_and_deviation(some, 2)} %" for some in presets.errors_in_percent(mine)]
        lines.append((f"`{preset}`", *errors, str(len(mine)),
                      f"{mine[0]['parameters'] / 1e6:.2f} M", f"{mine[0]['flops'] / 1e15:.3f}",
                      " and ".join(sorted({row.get("precision") or "float32" for row in mine})),
                      mean_and_deviation(presets.minutes(mine), 1), presets.by_the_clock(mine),
                      f"{memory:.1f} GiB" if memory else "not known"))
    return Table("", head, lines)


SHOWN = ("airbench94_muon", "airbench96_faster", "ResNet-18", "adehuang41's PJ2", "spoil-ed's PJ2")


def front_table(rows: list[dict], published: list[dict]) -> Table:
    """One line a net, by its error: ours from runs.csv, and published ones of known cost."""
    lines = []
    for preset, mine in presets.by_preset(rows).items():
        one, six = presets.errors_in_percent(mine)
        errors = [f"{mean_and_deviation(some, 2)} %" for some in (one, six)]
        place = " and ".join(dict.fromkeys(
            row["device"] if presets.on_a_gpu(row) else f"{row['threads']} CPU cores"
            for row in mine))
        took = mean_and_deviation(presets.minutes(mine), 1)
        lines.append((statistics.mean(six), f"`{preset}`", *errors, mine[0]["parameters"],
                      mine[0]["flops"], f"{place}, {took} min", len(mine)))
    for row in published:
        if row["trained_on"]:
            error = 100 * (1 - row["test_accuracy"])
            cells = [f"{error:.2f} %" if row["views"] == views else "" for views in (1, 6)]
            lines.append((error, row["net"], *cells, row["parameters"], row["flops"],
                          row["trained_on"], row["runs"]))
    return Table("", ("net", "test error, one view", "six views", "parameters", "PFLOP to train",
                      "trained on", "runs"),
                 [(*head, f"{parameters / 1e6:.2f} M" if parameters else "",
                   f"{flops / 1e15:.2f}" if flops else "", where, str(runs or ""))
                  for _, *head, parameters, flops, where, runs in
                  sorted(lines, key=lambda line: -line[0])])


def from_scratch_text(rows: list[dict]) -> str:
    accuracies = [100 * row["test_accuracy"] for row in rows]
    seconds = statistics.mean(row["seconds"] for row in rows)
    runs = "one run" if len(rows) == 1 else f"{len(rows)} seeds"
    return (f"Test accuracy {mean_and_deviation(accuracies, 2)} % ({runs}, "
            f"{rows[0]['epochs']} epochs, {rows[0]['parameters']:,} parameters, {seconds:.0f} s on "
            f"{rows[0]['device'].partition(',')[0]}).")


def of_shipped_weights(path: Path) -> dict:
    """Return what a JSON file says that was measured on the shipped weights.

    Raises:
        UserError: it is missing, or was measured on other weights.
    """
    found = read_json(path)
    about = found.get("about", found)
    if about.get("sha1") != digest(SHIPPED_WEIGHTS):
        raise UserError(f"{path} is of {about['checkpoint']} as it was, not of the shipped "
                        "weights; measure these, or `git restore reports`")
    return found


def model_card(results: Path) -> Table:
    """Return what MODEL_CARD.md says of the shipped weights: errors, calibration, mistakes, cost.

    Raises:
        UserError: a file is missing, or was measured on other weights.
    """
    shipped, mistakes, robust = (of_shipped_weights(results / f"{name}.json")
                                 for name in ("evaluation", "mistakes", "robustness"))
    run = read_json(results / "cifarnet/result.json")
    rows = [row for row in read_csv(results / "runs.csv", presets.PRESET_RUN)
            if row["preset"] == run["preset"]]
    recipe = [f"{mean_and_deviation(some, 2)} %" for some in presets.errors_in_percent(rows)]
    by_class = shipped["accuracy_by_class_six_views"]
    worst, *_, best = sorted(by_class.items(), key=lambda item: item[1])
    pairs = ", ".join(f"{pair['true']} taken for {pair['said']} ({pair['images']})"
                      for pair in mistakes["most_frequent_mistakes"][:3])
    corruptions = robust["corruptions"]
    hardest = min(corruptions, key=lambda name: corruptions[name][-1])
    attacked = zip(robust["epsilons"], robust["attacks"]["PGD-10"], strict=True)
    attacks = ", ".join(f"{100 * share:.1f} % at ε = {eps:g}/255"
                        for eps, share in attacked if eps in (1, 2, 4))
    note = (
        f"{shipped['parameters']:,} parameters, trained on {run['images']:,} images "
        f"({run['flops'] / 1e15:.3f} PFLOP). By class, six views: best {best[0]} "
        f"({100 * best[1]:.1f} % right), worst {worst[0]} ({100 * worst[1]:.1f} %). "
        f"Most frequent mistakes, one view: {pairs}. "
        f"On the first {robust['about']['images']:,} test images, accuracy falls from "
        f"{100 * robust['clean']:.1f} % to {100 * corruptions[hardest][-1]:.1f} % under the "
        f"hardest of {len(corruptions)} corruptions ({hardest}, severity 5). "
        f"On {robust['attacked_images']:,} of them, attacked by PGD: {attacks}.")
    return Table(note, (f"on {shipped['images']:,} test images", "one view", "six views"), [
        (f"error of these weights (`{run['preset']}`, seed {run['seed']})",
         f"{100 * shipped['error']:.2f} %", f"{100 * shipped['error_six_views']:.2f} %"),
        (f"error of this recipe, {len(rows)} seeds", *recipe),
        ("expected calibration error", f"{100 * shipped['calibration_error']:.1f} %",
         f"{100 * shipped['calibration_error_six_views']:.1f} %")])


def larger_weights(results: Path) -> Table:
    """Return one line for each net whose weights are shipped beside those that are drawn."""
    lines = []
    for path in sorted(SHIPPED_WEIGHTS.parent.glob(f"{SHIPPED_WEIGHTS.stem}-*.pt")):
        run = read_json(results / path.stem / "result.json",
                        *(name for name in presets.PRESET_RUN if name != "peak_memory_bytes"))
        (one,), (six,) = presets.errors_in_percent([run])
        lines.append((f"`{path.name}`", f"{run['preset']}, seed {run['seed']}",
                      f"{one:.2f} %", f"{six:.2f} %",
                      f"{run['parameters'] / 1e6:.2f} M", f"{run['flops'] / 1e15:.2f}",
                      run["precision"], f"{run['seconds'] / 60:.0f}",
                      f"{presets.minutes([run])[0]:.0f}"))
    return Table("", ("weights", "trained as", "test error, one view", "six views", "parameters",
                      "PFLOP to train", "precision", "minutes by the clock", "of CPU time"), lines)


FOUND = """\
- **In four epochs of a small net**, Adam in place of Muon {adam}. Most of that is not Muon's
  directions, but that it keeps filters at a fixed length: without that, it {free}, and is no
  clearly better than SGD on the filters. Twice the filters {wide}, for 3.5 times the FLOPs; batch
  norm, taken away (under AdamW), {plain}; CutMix {cutmix}, and less in one run of a wider net.
- **With batch norm, VGG-A trains faster:** 50 % training accuracy after {half[1]} steps, not
  {half[0]}.
- **The paper's explanation is seen, but late.** From step 500 on the loss varies less, over half
  to four learning rates along the gradient ({late[1]} against {late[0]} nats), and the gradient
  is more predictive; the effective β shows no clear difference. In the first 200 steps, in which
  batch norm makes its lead, its band of the loss is the wider one ({early[1]} against
  {early[0]}), and from 200 to 500 they are alike ({middle[1]} and {middle[0]}). In the step
  actually taken the loss changes *more* with batch norm ({change[1]} against {change[0]}), for it
  falls further.
- **Internal covariate shift is not reduced** by the paper's measure (‖G − G′‖ of convolution 5:
  {shift[1]} against {shift[0]}). The gradient is longer, too; relative to it there is no clear
  difference in convolutions 3 to 8 ({ratio[1]} and {ratio[0]}). And noise that moves every
  channel's mean at every step leaves most of the gain: training accuracy at step 300 is
  {noise[1]} % with it, and {noise[0]} % without batch norm.
- **Larger rates are not where the gain comes from.** With batch norm, 50 % is reached soonest at
  the smallest rate that was tried ({slow[1]} steps at 0.025). At 0.5 it needs a slow start, or
  norm in the linear layers, too: training accuracy at step 500 is {large[1]} % with it and
  {large[0]} % without, no clear difference; {warm[1]} % and {warm[0]} % with a warm-up,
  {inside[1]} % with batch norm in the linear layers, too.
- **Open:** by what means batch norm makes training faster. What is measured along the gradient
  goes with the gain, and does not show a cause. ([Every
  claim](reports/figures/bn/evening/README.md), with intervals over three seeds, corrected for
  their number and not.)"""
CLAIMED = {  # by the names in FOUND
    "half": "steps to 50 % training accuracy", "early": "the band, ½ to 4 LR, steps 0 to 199",
    "middle": "the band, ½ to 4 LR, steps 200 to 499",
    "late": "the band, ½ to 4 LR, from step 500 on",
    "change": "median size of the loss's change, 1 LR on (nats)",
    "shift": "median ‖G − G′‖, convolution 5", "ratio": "‖G − G′‖ / ‖G‖, convolutions 3 to 8",
    "noise": "training accuracy (%) at step 300; with batch norm: noise by channel after it",
    "large": "training accuracy (%) at step 500, LR 0.5, three linear layers",
    "slow": "steps to 50 % training accuracy, LR 0.025",
    "warm": "the same, a warm-up in both nets",
    "inside": "the same, batch norm in its linear layers too"}
COMPARED = {"adam": ("optimizers", "Adam"), "wide": ("widths", "× 2"),
            "plain": ("components", "none"), "cutmix": ("augmentation", "with CutMix"),
            "free": ("optimizers", "Muon, not rescaling")}


def found_text(effects: list[claims.Effect], studies: dict[str, list[dict]]) -> str:
    """Return what both parts found, in a few sentences.

    Raises:
        KeyError: a claim or a variant that they name is not there.
    """
    told = {effect.claim.quantity: [claims.mean_in_three_digits(side)
                                    for side in (effect.plain, effect.normed)]
            for effect in effects}
    said = {(study, short(row)): says(row)
            for study, rows in studies.items() for row in rows[1:]}
    return FOUND.format(**{name: told[quantity] for name, quantity in CLAIMED.items()},
                        **{name: said[variant] for name, variant in COMPARED.items()})


def readme(results: Path = RESULTS_DIR) -> dict[str, str]:
    """Return the table and the text of README.md in Markdown, from the files in `results`."""
    try:
        published = [row for row in read_csv(results / "published.csv", presets.PUBLISHED)
                     if row["net"] in SHOWN]
        rows = read_csv(results / "runs.csv", presets.PRESET_RUN)
        effects = claims.effects(measures.read_runs(results / "bn" / "evening"))
        return {"front": markdown(front_table(rows, published)),
                "found": found_text(effects, by_study(results / "compare" / "quick"))}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None
