"""What the report says of the benchmarks."""

import statistics

from codes.results.presets import by_preset, errors_in_percent, minutes
from codes.results.words import mean_and_deviation
from VGG_BatchNorm.ground.tables import Table


def gemm_rates(bench: dict) -> str:
    """Return the rates of the plain matrix product, in words."""
    return " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}"
                        for name, rate in bench["gemm_flops_per_second"].items())


def bench_table(bench: dict) -> Table:
    """Return one line a preset and image size, both precisions; the GEMM below."""
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
        lines.append((f"`{preset}`", f"{size}×{size}", f"{batch}", *cells))
    share = max(s["loader_share"] for s in bench["steps"])
    note = (f"GEMM (2048³): {gemm_rates(bench)} on {bench['device']}, {bench['threads']} threads, "
            f"torch {bench['torch']}. The loader takes {100 * share:.1f} % of a step or less.")
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


def direct_text(direct: list[dict], runs: list[dict]) -> str:
    """Return errors and minutes of presets, and of the same trained by torch's own operations.

    `runs` are those of runs.csv, of more presets and other machines, too."""
    now = by_preset([row for row in runs if row["device"] == direct[0]["device"]])

    def words(rows: list[dict]) -> str:
        one, six = (mean_and_deviation(some, 2) for some in errors_in_percent(rows))
        return f"{one} and {six} % in {mean_and_deviation(minutes(rows), 1)} (n = {len(rows)})"

    return "; ".join(f"{preset} {words(now[preset])}, by torch's operations {words(old)}"
                     for preset, old in by_preset(direct).items())


def peer_text(peer: dict, direct: list[dict]) -> str:
    """Return `strong` beside the public speed record, timed by turns on one machine; and with
    torch's operations in both, by whole runs of `direct`."""
    best = {name: min(row[name] for row in peer["rows"])
            for name in ("recipe_seconds", "strong_seconds")}
    lines = "; ".join(f"in {row['precision']} {row['recipe_seconds'] / 60:.1f} minutes for it, "
                      f"{row['strong_seconds'] / 60:.1f} for strong" for row in peer["rows"])
    share = best["strong_seconds"] / best["recipe_seconds"]
    mine = minutes([row for row in direct if row["preset"] == "strong"])
    with_torch = "" if not mine else (
        " (with torch's in both "
        f"{60 * statistics.mean(mine) / best['recipe_seconds']:.2f} times, by strong's whole runs)")
    return (f"By turns on one machine, {peer['name']}'s own recipe ({peer['steps']} "
            f"steps of {peer['batch_size']:,} images; 94.01 % with six views by its author, "
            f"n = 200): {lines}. So strong takes {share:.2f} times as long, each in its faster "
            f"precision (mean of {peer['timed_steps']} steps of each), strong with its own "
            f"convolutions, the peer with torch's{with_torch}.")
