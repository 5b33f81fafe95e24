"""Tables and sentences on presets and weights, for README.md, MODEL_CARD.md and the report."""

import statistics
from collections import Counter
from pathlib import Path

from codes.results import presets
from codes.results.words import mean_and_deviation
from VGG_BatchNorm.ground.files import SHIPPED_WEIGHTS, digest, read_csv, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table


def accuracy_table(rows: list[dict]) -> Table:
    """One line a preset: test error, seeds, parameters, FLOPs, minutes."""
    head = ("preset", "test error, one view", "six views", "seeds", "parameters", "PFLOP to train",
            "precision", "minutes of CPU", "by the clock", "peak memory")
    lines = []
    for preset, mine in presets.by_preset(sorted(rows, key=lambda row: row["flops"])).items():
        memory = max(row["peak_memory_bytes"] for row in presets.on_cpus(mine)) / 2**30
        on_gpu = all(map(presets.on_a_gpu, mine))
        errors = [f"{mean_and_deviation(some, 2)} %" for some in presets.errors_in_percent(mine)]
        lines.append((f"`{preset}`", *errors, str(len(mine)),
                      f"{mine[0]['parameters'] / 1e6:.2f} M", f"{mine[0]['flops'] / 1e15:.3f}",
                      " and ".join(sorted({row.get("precision") or "float32" for row in mine})),
                      "–" if on_gpu else mean_and_deviation(presets.minutes(mine), 1),
                      presets.by_the_clock(mine) + " (GPU)" * on_gpu, f"{memory:.1f} GiB"))
    return Table("", head, lines)


def front_table(rows: list[dict], published: list[dict]) -> Table:
    """One line a net, by its error: ours from runs.csv, and published ones of known cost."""
    lines = []
    for preset, mine in presets.by_preset(rows).items():
        one, six = presets.errors_in_percent(mine)
        errors = [f"{mean_and_deviation(some, 2)} %" for some in (one, six)]
        counts = Counter(row["device"].removeprefix("NVIDIA ") if presets.on_a_gpu(row)
                         else f"{row['threads']} CPU core" + "s" * (row["threads"] != 1)
                         for row in sorted(mine, key=presets.on_a_gpu))
        place, *others = counts
        took = f"{mean_and_deviation(presets.minutes(mine), 1)} min" + "".join(
            f"; {other}: {counts[other]} run" + "s" * (counts[other] > 1) for other in others)
        lines.append((statistics.mean(six), f"`{preset}`", *errors, mine[0]["parameters"],
                      mine[0]["flops"], f"{place}, {took}", len(mine)))
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
    """Return what a JSON file says that was measured on the shipped weights. Raises UserError: it
    is missing, or was measured on other weights."""
    found = read_json(path)
    about = found.get("about", found)
    if about.get("sha1") != digest(SHIPPED_WEIGHTS):
        raise UserError(f"{path} is of {about.get('checkpoint', 'a net')} as it was, not of the "
                        f"shipped weights; measure these, or `git restore {path}` and its pictures")
    return found


def model_card(results: Path) -> Table:
    """Return what MODEL_CARD.md says of the shipped weights: errors, calibration, mistakes, cost.
    Raises UserError: a file is missing, or was measured on other weights."""
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
        run = read_json(results / path.stem / "result.json", *presets.PRESET_RUN)
        (one,), (six,) = presets.errors_in_percent([run])
        lines.append((f"`{path.name}`", f"{run['preset']}, seed {run['seed']}",
                      f"{one:.2f} %", f"{six:.2f} %",
                      f"{run['parameters'] / 1e6:.2f} M", f"{run['flops'] / 1e15:.2f}",
                      run["precision"], f"{run['seconds'] / 60:.0f}",
                      "–" if presets.on_a_gpu(run) else f"{presets.minutes([run])[0]:.0f}"))
    return Table("", ("weights", "trained as", "test error, one view", "six views", "parameters",
                      "PFLOP to train", "precision", "minutes by the clock", "of CPU time"), lines)
