"""Collect finished runs into reports/results/runs.csv; renew the tables of README.md and MODEL_CARD.md.

    python codes/summarise.py runs/strong-s0 runs/strong-s1 runs/strong-s2 --ship runs/strong-s0

A run that is in the file already is replaced; without arguments the tables alone are renewed,
from the files in reports/results/. A table stands between <!-- name --> and <!-- /name -->.
--ship writes a run's weights, in float16 and without optimizer state, to reports/models/cifarnet.pt,
and its log to reports/results/cifarnet/, from which its training curves are drawn.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.compare_results import by_study, overview
from codes.settings import choose_settings, parse_arguments
from VGG_BatchNorm import findings
from VGG_BatchNorm.ground.checkpoint import SHIPPED_WEIGHTS, load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.files import RESULTS_DIR, ROOT, atomic_write, read_json, read_table, write_csv
from VGG_BatchNorm.ground.script import UserError, run_main

COLUMNS = ("preset", "seed", "images", "parameters", "flops", "precision", "seconds", "cpu_seconds", "peak_memory_bytes",
           "test_accuracy", "test_accuracy_views", "device", "threads", "torch", "commit")


def collect(folders: list[Path], table: Path) -> None:
    """Add or replace a row of `table` for each finished run of a preset as it stands."""
    rows = {(row["preset"], row["seed"]): row for row in read_table(table)}
    for folder in folders:
        settings = read_json(folder / "config.json")["settings"]
        preset = choose_settings(parse_arguments("", ["--preset", settings["preset"]]), torch.device("cpu"))
        changed = [name for name, value in preset.as_dict().items()
                   if settings.get(name) != value and name not in ("seed", "precision", "compile")]
        if changed:
            raise UserError(f"{folder} is not the preset {settings['preset']}: {', '.join(changed)} differ")
        result = read_json(folder / "result.json")
        rows[result["preset"], str(result["seed"])] = {name: str(result[name]) for name in COLUMNS}
    write_csv(table, [dict.fromkeys(COLUMNS, "") | rows[key] for key in sorted(rows)])


def spread(values: list[float], digits: int) -> str:
    """mean ± standard deviation, or the one value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def accuracy_table(rows: list[dict[str, str]]) -> str:
    """One line a preset: test error, seeds, parameters, FLOPs, minutes."""
    lines = ["| preset | test error, one view | six views | seeds | parameters | PFLOP to train | minutes | peak memory |",
             "|---|---|---|---|---|---|---|---|"]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        mine = [row for row in rows if row["preset"] == preset]
        one, six = ([100 * (1 - float(row[name])) for row in mine] for name in ("test_accuracy", "test_accuracy_views"))
        minutes = [float(row["seconds"]) / 60 for row in mine]
        memory = max(float(row["peak_memory_bytes"]) for row in mine) / 2**30
        lines.append(f"| `{preset}` | {spread(one, 2)} % | {spread(six, 2)} % | {len(mine)} | "
                     f"{int(mine[0]['parameters']) / 1e6:.2f} M | {float(mine[0]['flops']) / 1e15:.3f} | "
                     f"{spread(minutes, 1)} | {memory:.1f} GiB |")
    return "\n".join(lines)


def bench_table(bench: dict) -> str:
    """One line a preset and image size, both precisions; then the GEMM and the ways to bfloat16."""
    lines = ["| preset | images | a step of | float32 | of GEMM | bfloat16 | of GEMM | faster by |", "|---|---|---|---|---|---|---|---|"]
    sizes = dict.fromkeys((s["preset"], s["image_size"], s["batch_size"]) for s in bench["steps"])
    for preset, size, batch in sizes:
        rows = {s["precision"]: s for s in bench["steps"] if (s["preset"], s["image_size"]) == (preset, size)}
        plain, half = rows["float32"], rows.get("bfloat16")
        cells = [f"`{preset}`", f"{size}×{size}", f"{batch}", f"{plain['step_seconds']:.2f} s", f"{plain['rate_over_gemm']:.2f}"]
        cells += ([f"{half['step_seconds']:.2f} s", f"{half['rate_over_gemm']:.2f}",
                   f"{plain['step_seconds'] / half['step_seconds']:.2f} ×"] if half else ["–"] * 3)
        lines.append(f"| {' | '.join(cells)} |")
    share = max(s["loader_share"] for s in bench["steps"])
    rates = " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in bench["gemm_flops_per_second"].items())
    note = (f"GEMM (2048³): {rates} on {bench['device']}, {bench['threads']} threads, torch {bench['torch']}. "
            f"The loader takes {100 * share:.1f} % of a step or less.")
    if ways := bench["ways_seconds"]:
        note += " Forward and backward of 200 images: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in ways.items()) + "."
    return "\n".join(lines) + "\n\n" + note


def study_bench_table(bench: dict) -> str:
    """One line a net: the course kit's loop and ours, and what probes cost."""
    names = {"none": "without batch norm", "batch": "with batch norm"}
    precisions = list(bench["gemm_flops_per_second"])
    head = ["VGG-A", "the kit's step", *(cell for name in precisions for cell in (f"ours, {name}", "faster by", "of GEMM")),
            "a probe every 100 steps adds"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in bench["rows"]:
        cells = [names[row["norm"]], f"{row['kit_step_seconds']:.3f} s"]
        for our in map(row["ours"].get, precisions):
            cells += [f"{our['step_seconds']:.3f} s", f"{our['ratio']:.2f} ×", f"{our['rate_over_gemm']:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {100 * row['probe_share_every_100_steps']:.1f} % |")
    rates = " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in bench["gemm_flops_per_second"].items())
    return "\n".join(lines) + (f"\n\nSteps of {bench['batch_size']} images by Adam, loader included, on {bench['device']}, {bench['threads']} "
                               f"threads, torch {bench['torch']}; GEMM (2048³) {rates}; FLOPs counted on direct convolutions.")


def peer_text(peer: dict) -> str:
    """`strong` beside the public speed record, timed by turns on one machine."""
    best = {name: min(row[name] for row in peer["rows"]) for name in ("recipe_seconds", "strong_seconds")}
    lines = "; ".join(f"in {row['precision']} {row['recipe_seconds'] / 60:.1f} minutes for it, {row['strong_seconds'] / 60:.1f} for `strong`"
                      for row in peer["rows"])
    return (f"Beside it, by turns on one machine, {peer['name']}'s own recipe ({peer['steps']} steps of {peer['batch_size']:,} images; "
            f"94.01 % with six views by its author, n = 200): {lines}. So `strong` takes "
            f"{best['strong_seconds'] / best['recipe_seconds']:.2f} of its time, each in its faster precision "
            f"(mean of {peer['timed_steps']} steps of each, {peer['device'].partition(',')[0]}, {peer['threads']} threads).")


def from_scratch_text(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "Not run yet: `make from-scratch`."
    accuracies = [100 * float(row["test_accuracy"]) for row in rows]
    seconds = statistics.mean(float(row["seconds"]) for row in rows)
    return (f"Test accuracy {spread(accuracies, 2)} % ({'one run' if len(rows) == 1 else f'{len(rows)} seeds'}, {rows[0]['epochs']} epochs, "
            f"{int(rows[0]['parameters']):,} parameters, {seconds:.0f} s on {rows[0]['device'].partition(',')[0]}).")


def model_card(results: Path) -> str:
    """What MODEL_CARD.md says of the shipped weights: errors, calibration, mistakes, robustness, cost.

    Raises:
        UserError: a file is missing, or was measured on other weights.
    """
    shipped, mistakes, robust, run = (read_json(results / f"{name}.json") for name in (
        "evaluation", "mistakes", "robustness", "cifarnet/result"))
    for name, about in (("evaluation", shipped), ("mistakes", mistakes), ("robustness", robust["about"])):
        if about["checkpoint"] != str(SHIPPED_WEIGHTS.relative_to(ROOT)):
            raise UserError(f"{results / name}.json is of {about['checkpoint']}, not of the shipped weights; measure these")
    rows = [row for row in read_table(results / "runs.csv") if row["preset"] == run["preset"]]
    one, six = ([100 * (1 - float(row[name])) for row in rows] for name in ("test_accuracy", "test_accuracy_views"))
    worst, *_, best = sorted(shipped["accuracy_by_class_six_views"].items(), key=lambda item: item[1])
    pairs = ", ".join(f"{pair['true']} taken for {pair['said']} ({pair['images']})" for pair in mistakes["most_frequent_mistakes"][:3])
    hardest = min(robust["corruptions"], key=lambda name: robust["corruptions"][name][-1])
    attacked = zip(robust["epsilons"], robust["attacks"]["PGD-10"], strict=True)
    attacks = ", ".join(f"{100 * share:.1f} % at ε = {eps:g}/255" for eps, share in attacked if eps in (1, 2, 4))
    return "\n".join([
        f"| on {shipped['images']:,} test images | one view | six views |", "|---|---|---|",
        f"| error of these weights (`{run['preset']}`, seed {run['seed']}) | {100 * shipped['error']:.2f} % | {100 * shipped['error_six_views']:.2f} % |",
        f"| error of this recipe, {len(rows)} seeds | {spread(one, 2)} % | {spread(six, 2)} % |",
        f"| expected calibration error | {100 * shipped['calibration_error']:.1f} % | {100 * shipped['calibration_error_six_views']:.1f} % |",
        "",
        f"{shipped['parameters']:,} parameters, trained on {run['images']:,} images in {run['seconds'] / 60:.0f} minutes "
        f"({run['device'].partition(',')[0]}, {run['threads']} threads, {run['flops'] / 1e15:.3f} PFLOP). By class, six views: best {best[0]} "
        f"({100 * best[1]:.1f} % right), worst {worst[0]} ({100 * worst[1]:.1f} %). Most frequent mistakes, one view: {pairs}. "
        f"On the first {robust['about']['images']:,} test images, accuracy falls from {100 * robust['clean']:.1f} % to "
        f"{100 * robust['corruptions'][hardest][-1]:.1f} % under the hardest of {len(robust['corruptions'])} corruptions "
        f"({hardest}, severity 5). On {robust['attacked_images']:,} of them, attacked by PGD: {attacks}."])


def renew(text: str, tables: dict[str, str]) -> str:
    """`text` with each table put between its markers."""
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)
        if not found:
            raise UserError(f"a page has no <!-- {name} --> markers")
    return text


def tables(results: Path = RESULTS_DIR) -> dict[str, str]:
    """The tables of the README, from the files in `results`."""
    try:
        return {"accuracy": accuracy_table(read_table(results / "runs.csv")),
                "bench": bench_table(read_json(results / "bench.json")),
                "bn": findings.table(findings.read_runs(results / "bn" / "evening")),
                "bn-bench": study_bench_table(read_json(results / "bn" / "bench.json")),
                "compare": overview({name: rows for name, rows in by_study(results / "compare" / "quick").items()
                                     if name != "final"}),
                "from-scratch": from_scratch_text(read_table(results / "from_scratch.csv")),
                "peer": peer_text(read_json(results / "peer.json"))}
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f"a file in {results} has another shape than expected: {error!r}") from None


PAGES = {"README.md": tables, "MODEL_CARD.md": lambda results: {"model": model_card(results)}}


def ship(folder: Path, path: Path = SHIPPED_WEIGHTS, log: Path = RESULTS_DIR / "cifarnet") -> None:
    """Write the weights of a run to `path`, its log and result into the folder `log`."""
    content = load_checkpoint(folder / "last.pt")
    weights = {name: t.half() if t.is_floating_point() else t for name, t in content["weights"].items()}
    save_checkpoint(path, content["network"], content["config"], weights,
                    settings=content["settings"], epoch=content["epoch"])
    for name in ("log.csv", "result.json"):
        with atomic_write(log / name) as file:
            file.write((folder / name).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders")
    parser.add_argument("--ship", type=Path, metavar="RUN", help="the run whose weights the repository ships")
    args = parser.parse_args()
    if args.ship:
        ship(args.ship)
    collect(args.runs, RESULTS_DIR / "runs.csv")
    for name, found in PAGES.items():
        text = renew((ROOT / name).read_text(), found(RESULTS_DIR))
        with atomic_write(ROOT / name) as file:
            file.write(text.encode())
        print(ROOT / name)


if __name__ == "__main__":
    run_main(main)
