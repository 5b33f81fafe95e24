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
from codes.compare_results import by_study, overview, read_table
from codes.settings import choose_settings, parse_arguments
from VGG_BatchNorm import findings
from VGG_BatchNorm.runs import (
    RESULTS_DIR,
    ROOT,
    SHIPPED_WEIGHTS,
    UserError,
    atomic_write,
    load_checkpoint,
    read_json,
    run_main,
    save_checkpoint,
    write_csv,
)

COLUMNS = ("preset", "seed", "images", "parameters", "flops", "seconds", "cpu_seconds", "peak_memory_bytes",
           "test_accuracy", "test_accuracy_views", "device", "threads", "torch", "commit")


def collect(folders: list[Path], table: Path) -> None:
    """Add or replace a row of `table` for each finished run of a preset as it stands."""
    rows = {(row["preset"], row["seed"]): row for row in read_table(table)}
    for folder in folders:
        settings = read_json(folder / "config.json")["settings"]
        preset = choose_settings(parse_arguments("", ["--preset", settings["preset"]]), torch.device("cpu"))
        changed = [name for name, value in preset.items()
                   if settings.get(name) != value and name not in ("seed", "precision", "compile")]
        if changed:
            raise UserError(f"{folder} is not the preset {settings['preset']}: {', '.join(changed)} differ")
        result = read_json(folder / "result.json")
        rows[result["preset"], str(result["seed"])] = {name: str(result[name]) for name in COLUMNS}
    write_csv(table, [rows[key] for key in sorted(rows)])


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
    """One line a measured training step."""
    lines = ["| preset | images | a step of | direct convolutions | Winograd | rate of the faster | of GEMM | loader's share |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| `{s['preset']}` | {s['image_size']}×{s['image_size']} | {s['batch_size']} | {s['direct_seconds']:.2f} s | {s['winograd_seconds']:.2f} s | "
              f"{s['step_flops_per_second'] / 1e9:.0f} GFLOP/s | {s['rate_over_gemm']:.2f} | "
              f"{100 * s['loader_share']:.1f} % |" for s in bench["steps"]]
    return "\n".join(lines) + (f"\n\nGEMM (2048³, float32): {bench['gemm_flops_per_second'] / 1e9:.0f} GFLOP/s on "
                               f"{bench['device']}, {bench['threads']} threads, torch {bench['torch']}.")


def study_bench_table(bench: dict) -> str:
    """One line a net: the course kit's loop and ours, and what probes cost."""
    lines = ["| VGG-A | the kit's step | ours | faster by | FLOP rate over GEMM's | a probe every 100 steps adds |",
             "|---|---|---|---|---|---|"]
    names = {"none": "without batch norm", "batch": "with batch norm"}
    lines += [f"| {names[row['norm']]} | {row['kit_step_seconds']:.3f} s | {row['step_seconds']:.3f} s | {row['ratio']:.2f} × | "
              f"{row['rate_over_gemm']:.2f} | {100 * row['probe_share_every_100_steps']:.1f} % |" for row in bench["rows"]]
    return "\n".join(lines) + (f"\n\nSteps of {bench['batch_size']} images by Adam, loader included, on {bench['device']}, {bench['threads']} "
                               f"threads, torch {bench['torch']}; GEMM (2048³) {bench['gemm_flops_per_second'] / 1e9:.0f} GFLOP/s; "
                               "FLOPs counted on direct convolutions.")


def peer_text(peer: dict, rows: list[dict[str, str]]) -> str:
    """`strong` beside the public speed record, timed on the same machine."""
    theirs = peer["step_seconds"] * peer["steps"] / 60
    ours = statistics.mean(float(row["seconds"]) for row in rows if row["preset"] == "strong") / 60
    return (f"Beside it on the same machine, {peer['name']}'s own recipe in float32 ({peer['steps']} steps of "
            f"{peer['batch_size']:,} images, {peer['step_seconds']:.1f} s each: mean of {peer['timed_steps']} timed "
            f"steps; 94.01 % with six views by its author, n = 200) takes {theirs:.0f} minutes; `strong` takes "
            f"{ours:.1f}, or {ours / theirs:.2f} of that.")


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
                "peer": peer_text(read_json(results / "peer.json"), read_table(results / "runs.csv"))}
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
