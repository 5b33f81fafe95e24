"""What README.md, MODEL_CARD.md and the report say of presets, benchmarks and weights."""

import json
import statistics
from pathlib import Path

from codes.documents.comparisons import by_study, overview
from codes.documents.words import spread
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, digest, read_csv, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Code, Table, markdown

PRESET_RUN = {"preset": str, "seed": int, "images": int, "parameters": int, "flops": int,
              "precision": str, "seconds": float, "cpu_seconds": float, "peak_memory_bytes": int,
              "test_accuracy": float, "test_accuracy_views": float, "device": str, "threads": int,
              "torch": str, "commit": str}  # columns of runs.csv, in order
PUBLISHED = {"parameters": int, "flops": int, "test_accuracy": float, "epochs": float,
             "views": int, "runs": int}  # of published.csv
SCRATCH_RUN = {"seed": int, "test_accuracy": float, "images": int, "epochs": int, "lr": float,
               "seconds": float, "parameters": int, "threads": int}  # of from_scratch.csv


def preset_runs(path: Path) -> list[dict]:
    """Return the rows of runs.csv, which codes/summarise.py writes; none where it is missing."""
    return read_csv(path, PRESET_RUN)


def by_preset(rows: list[dict]) -> dict[str, list[dict]]:
    """Return the rows of each preset, in the order of their first."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["preset"], []).append(row)
    return found


def minutes(rows: list[dict]) -> list[float]:
    """Return CPU time over threads: what the clock shows where nothing else runs."""
    return [row["cpu_seconds"] / row["threads"] / 60 for row in rows]


def errors_in_percent(rows: list[dict]) -> tuple[list[float], list[float]]:
    """Return test errors in percent with one view and with six, a number a run."""
    one, six = ([100 * (1 - row[name]) for row in rows]
                for name in ("test_accuracy", "test_accuracy_views"))
    return one, six


def accuracy_table(rows: list[dict]) -> Table:
    """One line a preset: test error, seeds, parameters, FLOPs, minutes."""
    head = ("preset", "test error, one view", "six views", "seeds", "parameters", "PFLOP to train",
            "precision", "minutes", "peak memory")
    lines = []
    for preset, mine in by_preset(sorted(rows, key=lambda row: row["flops"])).items():
        one, six = errors_in_percent(mine)
        memory = max(row["peak_memory_bytes"] or 0 for row in mine) / 2**30
        lines.append((Code(preset), f"{spread(one, 2)} %", f"{spread(six, 2)} %", str(len(mine)),
                      f"{mine[0]['parameters'] / 1e6:.2f} M", f"{mine[0]['flops'] / 1e15:.3f}",
                      " and ".join(sorted({row.get("precision") or "float32" for row in mine})),
                      spread(minutes(mine), 1),
                      f"{memory:.1f} GiB" if memory else "not known"))
    return Table("", head, lines)


def front_table(rows: list[dict], published: list[dict]) -> Table:
    """One line a net, by its error: ours from runs.csv, and published ones of known cost."""
    lines = []
    for preset, mine in by_preset(rows).items():
        one, six = errors_in_percent(mine)
        lines.append((statistics.mean(six), Code(preset), f"{spread(one, 2)} %",
                      f"{spread(six, 2)} %", mine[0]["parameters"], mine[0]["flops"],
                      f"{mine[0]['threads']} CPU cores, {spread(minutes(mine), 1)} min", len(mine)))
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


def gemm_rates(bench: dict) -> str:
    """Return the rates of the plain matrix product, in words."""
    return " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}"
                        for name, rate in bench["gemm_flops_per_second"].items())


def bench_table(bench: dict) -> Table:
    """Return one line a preset and image size, both precisions; GEMM and ways to bfloat16 below."""
    head = ("preset", "images", "a step of", "float32", "of GEMM", "bfloat16", "of GEMM",
            "faster by")
    lines = []
    sizes = dict.fromkeys((s["preset"], s["image_size"], s["batch_size"]) for s in bench["steps"])
    for preset, size, batch in sizes:
        rows = {s["precision"]: s for s in bench["steps"]
                if (s["preset"], s["image_size"]) == (preset, size)}
        plain, half = rows["float32"], rows.get("bfloat16")
        cells = [f"{plain['step_seconds']:.2f} s", f"{plain['rate_over_gemm']:.2f}"]
        cells += [f"{half['step_seconds']:.2f} s", f"{half['rate_over_gemm']:.2f}",
                  f"{plain['step_seconds'] / half['step_seconds']:.2f} ×"] if half else ["–"] * 3
        lines.append((Code(preset), f"{size}×{size}", f"{batch}", *cells))
    share = max(s["loader_share"] for s in bench["steps"])
    note = (f"GEMM (2048³): {gemm_rates(bench)} on {bench['device']}, {bench['threads']} threads, "
            f"torch {bench['torch']}. The loader takes {100 * share:.1f} % of a step or less.")
    if ways := bench["ways_seconds"]:
        each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in ways.items())
        note += f" Forward and backward of 200 images: {each}."
    return Table(note, head, lines)


def study_bench_table(bench: dict) -> Table:
    """Return one line a net: the course kit's loop and ours, and what probes cost."""
    names = {"none": "without batch norm", "batch": "with batch norm"}
    precisions = list(bench["gemm_flops_per_second"])
    ours = (cell for name in precisions for cell in (f"ours, {name}", "faster by", "of GEMM"))
    head = ("VGG-A", "the kit's step", *ours, "a probe every 100 steps adds")
    lines = []
    for row in bench["rows"]:
        cells = [names[row["norm"]], f"{row['kit_step_seconds']:.3f} s"]
        for our in map(row["ours"].get, precisions):
            cells += [f"{our['step_seconds']:.3f} s", f"{our['ratio']:.2f} ×",
                      f"{our['rate_over_gemm']:.2f}"]
        lines.append((*cells, f"{100 * row['probe_share_every_100_steps']:.1f} %"))
    note = (f"Steps of {bench['batch_size']} images by Adam, loader included, on "
            f"{bench['device']}, {bench['threads']} threads, torch {bench['torch']}; "
            f"GEMM (2048³) {gemm_rates(bench)}; FLOPs counted on direct convolutions.")
    return Table(note, head, lines)


def peer_text(peer: dict) -> str:
    """Return `strong` beside the public speed record, timed by turns on one machine."""
    best = {name: min(row[name] for row in peer["rows"])
            for name in ("recipe_seconds", "strong_seconds")}
    lines = "; ".join(f"in {row['precision']} {row['recipe_seconds'] / 60:.1f} minutes for it, "
                      f"{row['strong_seconds'] / 60:.1f} for `strong`" for row in peer["rows"])
    share = best["strong_seconds"] / best["recipe_seconds"]
    return (f"Beside it, by turns on one machine, {peer['name']}'s own recipe ({peer['steps']} "
            f"steps of {peer['batch_size']:,} images; 94.01 % with six views by its author, "
            f"n = 200): {lines}. So `strong` takes {share:.2f} of its time, each in its faster "
            f"precision (mean of {peer['timed_steps']} steps of each, "
            f"{peer['device'].partition(',')[0]}, {peer['threads']} threads).")


def speed_text(bench: dict, study: dict, peer: dict) -> str:
    """Return in a few sentences what the benchmarks say: the GEMM rate, the peers, the kit."""
    ours = [step for step in bench["steps"]
            if step["precision"] == list(bench["gemm_flops_per_second"])[-1]]
    shares = [100 * step["rate_over_gemm"] for step in ours]
    kit = {name: [row["ours"][name]["ratio"] for row in study["rows"]]
           for name in study["gemm_flops_per_second"]}
    times = ", ".join(f"{min(found):.1f} to {max(found):.1f} in {name}"
                      for name, found in kit.items())
    return (f"In {ours[0]['precision']}, a whole training step runs at {min(shares):.0f} to "
            f"{max(shares):.0f} % of the rate of a plain matrix product ({gemm_rates(bench)}, on "
            f"{bench['device'].partition(',')[0]}, {bench['threads']} threads). VGG-A's step is "
            f"faster than the course kit's loop by {times}. "
            f"{peer_text(peer)}")


def from_scratch_text(rows: list[dict]) -> str:
    if not rows:
        return "Not run yet: `make from-scratch`."
    accuracies = [100 * row["test_accuracy"] for row in rows]
    seconds = statistics.mean(row["seconds"] for row in rows)
    runs = "one run" if len(rows) == 1 else f"{len(rows)} seeds"
    return (f"Test accuracy {spread(accuracies, 2)} % ({runs}, {rows[0]['epochs']} epochs, "
            f"{rows[0]['parameters']:,} parameters, {seconds:.0f} s on "
            f"{rows[0]['device'].partition(',')[0]}).")


def model_card(results: Path) -> Table:
    """Return what MODEL_CARD.md says of the shipped weights: errors, calibration, mistakes, cost.

    Raises:
        UserError: a file is missing, or was measured on other weights.
    """
    shipped, mistakes, robust, run = (read_json(results / f"{name}.json") for name in (
        "evaluation", "mistakes", "robustness", "cifarnet/result"))
    for name, about in (("evaluation", shipped), ("mistakes", mistakes),
                        ("robustness", robust["about"])):
        if about.get("sha1") != digest(SHIPPED_WEIGHTS):
            raise UserError(f"{results / name}.json is of {about['checkpoint']} as it was, not of "
                            "the shipped weights; measure these")
    rows = [row for row in preset_runs(results / "runs.csv")
            if row["preset"] == run["preset"]]
    one, six = errors_in_percent(rows)
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
        f"{shipped['parameters']:,} parameters, trained on {run['images']:,} images in "
        f"{run['cpu_seconds'] / run['threads'] / 60:.0f} minutes "
        f"({run['device'].partition(',')[0]}, {run['threads']} "
        f"threads, {run['flops'] / 1e15:.3f} PFLOP). By class, six views: best {best[0]} "
        f"({100 * best[1]:.1f} % right), worst {worst[0]} ({100 * worst[1]:.1f} %). "
        f"Most frequent mistakes, one view: {pairs}. "
        f"On the first {robust['about']['images']:,} test images, accuracy falls from "
        f"{100 * robust['clean']:.1f} % to {100 * corruptions[hardest][-1]:.1f} % under the "
        f"hardest of {len(corruptions)} corruptions ({hardest}, severity 5). "
        f"On {robust['attacked_images']:,} of them, attacked by PGD: {attacks}.")
    return Table(note, (f"on {shipped['images']:,} test images", "one view", "six views"), [
        (f"error of these weights (`{run['preset']}`, seed {run['seed']})",
         f"{100 * shipped['error']:.2f} %", f"{100 * shipped['error_six_views']:.2f} %"),
        (f"error of this recipe, {len(rows)} seeds", f"{spread(one, 2)} %", f"{spread(six, 2)} %"),
        ("expected calibration error", f"{100 * shipped['calibration_error']:.1f} %",
         f"{100 * shipped['calibration_error_six_views']:.1f} %")])


def larger_weights(results: Path) -> Table:
    """Return one line for each net whose weights are shipped beside those that are drawn."""
    lines = []
    for path in sorted(results.glob(f"{SHIPPED_WEIGHTS.stem}-*/result.json")):
        run = read_json(path, *(name for name in PRESET_RUN if name != "peak_memory_bytes"))
        (one,), (six,) = errors_in_percent([run])
        name = Code(f"{path.parent.name}.pt")
        lines.append((name, f"{run['preset']}, seed {run['seed']}", f"{one:.2f} %", f"{six:.2f} %",
                      f"{run['parameters'] / 1e6:.2f} M", f"{run['flops'] / 1e15:.2f}",
                      run["precision"], f"{run['seconds'] / 60:.0f}", f"{minutes([run])[0]:.0f}"))
    return Table("", ("weights", "preset", "test error, one view", "six views", "parameters",
                      "PFLOP to train", "precision", "minutes by the clock", "of CPU time"), lines)


def readme(results: Path = RESULTS_DIR) -> dict[str, str]:
    """Return the tables and texts of README.md in Markdown, from the files in `results`."""
    try:
        studies = by_study(results / "compare" / "quick")
        studies.pop("final", None)
        bench, study, peer = (read_json(results / name)
                              for name in ("bench.json", "bn/bench.json", "peer.json"))
        tables = {
            "front": front_table(preset_runs(results / "runs.csv"),
                                 read_csv(results / "published.csv", PUBLISHED)),
            "bn": claims.claims_table(measures.read_runs(results / "bn" / "evening"), brief=True),
            "compare": overview(studies)}
        return {name: markdown(table) for name, table in tables.items()} | {
            "speed": speed_text(bench, study, peer),
            "from-scratch": from_scratch_text(read_csv(results / "from_scratch.csv", SCRATCH_RUN))}
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None
