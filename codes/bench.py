"""How near training is to what the machine can do: `make bench`. Leave the machine alone meanwhile.

Measures, in one run, on random images: the float32 rate of a 2048³ matrix product (GEMM), as
torch.mm and as a 1×1 convolution, which may come from another library: the faster counts; for
each preset the seconds of a training step by direct convolutions and by Winograd's algorithm, and
the FLOP rate of the faster, FLOPs counted on direct convolutions (Winograd's needs fewer, so it
can exceed the GEMM rate); the loader's share of the step; peak memory. Best of --repeats. Writes
reports/results/bench.json.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.networks import training_flops, use_winograd
from codes.settings import DEFAULTS, PRESETS
from codes.trainer import Trainer
from VGG_BatchNorm.bench_study import best_seconds, gemm_rate
from VGG_BatchNorm.loaders import Split
from VGG_BatchNorm.runs import (
    RESULTS_DIR,
    environment,
    keep_freed_memory,
    peak_memory,
    pick_device,
    run_main,
    write_json,
)


def measure_step(preset: str, size: int, device: torch.device, repeats: int) -> dict:
    """Seconds, rate and loader's share of one training step of `preset` on size² images."""
    settings = {**DEFAULTS, **PRESETS[preset], "small_size": size, "small_share": 1.0,
                "seed": 0, "amp": False, "compile": False}
    n = 2 * settings["batch_size"]
    data = Split(torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (n,)))
    trainer = Trainer(settings, data.to(device), device)
    trainer.net.stem.bias.requires_grad_(False)  # as in most of the training
    loader = best_seconds(lambda: next(trainer.loader.epoch(0)), repeats, device)
    x, y = next(trainer.loader.epoch(0))
    seconds = {}
    for way in (False, True):
        use_winograd(trainer.net, way)
        seconds[way] = best_seconds(lambda: trainer.step(x, y, 0)[0].item(), repeats, device) + loader
    step = min(seconds.values())
    flops = training_flops(trainer.net, size, whitening_bias=False) * settings["batch_size"]
    return {"preset": preset, "image_size": size, "batch_size": settings["batch_size"],
            "step_seconds": step, "step_flops_per_second": flops / step,
            "direct_seconds": seconds[False], "winograd_seconds": seconds[True],
            "loader_share": loader / step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, help="default: fast, strong; on a GPU all")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 1001), metavar="N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "bench.json")
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    presets = args.presets or (("fast", "strong") if device.type == "cpu" else tuple(PRESETS))
    rate = gemm_rate(device, args.repeats)
    print(f"GEMM 2048³ {rate / 1e9:.0f} GFLOP/s")
    steps = []
    for preset in presets:
        for size in sorted({PRESETS[preset].get("small_size", DEFAULTS["small_size"]), 32}):
            row = measure_step(preset, size, device, args.repeats)
            row["rate_over_gemm"] = row["step_flops_per_second"] / rate
            steps.append(row)
            print(f"{preset:<7}{size} px: {row['step_seconds']:.3f} s a step, "
                  f"{row['step_flops_per_second'] / 1e9:.0f} GFLOP/s = {row['rate_over_gemm']:.2f} of GEMM; "
                  f"direct {row['direct_seconds']:.3f} s, Winograd {row['winograd_seconds']:.3f} s; "
                  f"loader {100 * row['loader_share']:.1f} %", flush=True)
    write_json(args.out, {"gemm_flops_per_second": rate, "steps": steps,
                          "peak_memory_bytes": peak_memory(device), **environment(device)})
    print(args.out)


if __name__ == "__main__":
    run_main(main)
