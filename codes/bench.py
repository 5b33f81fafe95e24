"""How near training is to what the machine can do: `make bench`. Leave the machine alone meanwhile.

Measures, in one run, on random images, in float32 and, where the hardware has it, in bfloat16:

- the rate of a 2048³ matrix product (GEMM), as torch.mm and as a 1×1 convolution, which may come
  from another library: the faster counts;
- for each preset and image size the seconds of a training step, its FLOP rate over that of the GEMM
  in the same precision (FLOPs counted on direct convolutions; Winograd's need fewer, so it can
  exceed 1), and the loader's share;
- peak memory.

The precisions take turns; the best of --repeats counts. Writes reports/results/bench.json."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.settings import DEFAULTS, PRESETS, WHOLE, Settings
from codes.trainer import Trainer
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.ground.files import RESULTS_DIR, write_json
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, peak_memory, pick_precision, use_device
from VGG_BatchNorm.ground.script import run_main, user_path
from VGG_BatchNorm.ground.timing import best_seconds, gemm_rate, training_flops


def random_images(n: int) -> Split:
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8)
    return Split(images, torch.randint(10, (n,)))


def measure_steps(preset: str, size: int, device: torch.device, repeats: int,
                  gemm: dict) -> list[dict]:
    """Return seconds, rate and loader's share of a step on size² images, a row a precision."""
    settings = DEFAULTS | PRESETS[preset] | WHOLE | {"small_size": size, "small_share": 1.0}
    data = random_images(2 * settings["batch_size"]).to(device)
    trainers = {name: Trainer(Settings.from_dict(settings | {"precision": name}), data, device)
                for name in gemm}
    best = dict.fromkeys(gemm, float("inf"))
    loader = best_seconds(lambda: next(trainers["float32"].loader.epoch(0)), repeats, device)
    x, y = next(trainers["float32"].loader.epoch(0))
    for trainer in trainers.values():
        trainer.net.freeze(0.5)  # as in most of the training
    for _ in range(repeats):
        for precision, trainer in trainers.items():
            seconds = best_seconds(lambda t=trainer: t.step(x, y, 0)[0].item(), 1, device) + loader
            best[precision] = min(best[precision], seconds)
    flops = training_flops(trainer.net, size) * settings["batch_size"]
    return [{"preset": preset, "image_size": size, "batch_size": settings["batch_size"],
             "precision": precision, "step_seconds": seconds,
             "step_flops_per_second": flops / seconds,
             "rate_over_gemm": flops / seconds / gemm[precision], "loader_share": loader / seconds}
            for precision, seconds in best.items()]


def main() -> None:
    parser = flag_parser(__doc__, "--device")
    add = parser.add_argument
    add("--presets", nargs="+", choices=PRESETS, help="default: fast, strong; on a GPU all")
    add("--repeats", type=int, default=5, choices=range(1, 1001), metavar="N")
    add("--out", type=user_path, default=RESULTS_DIR / "bench.json")
    args = parser.parse_args()
    device = use_device(args.device)
    presets = args.presets or (("fast", "strong") if device.type == "cpu" else tuple(PRESETS))
    precisions = dict.fromkeys(("float32", pick_precision("auto", device)))
    gemm = {precision: gemm_rate(device, args.repeats, precision) for precision in precisions}
    print(", ".join(f"GEMM 2048³ in {name}: {r / 1e9:.0f} GFLOP/s" for name, r in gemm.items()))
    steps = []
    for preset in presets:
        for size in sorted({PRESETS[preset].get("small_size", DEFAULTS["small_size"]), 32}):
            rows = measure_steps(preset, size, device, args.repeats, gemm)
            steps += rows
            for row in rows:
                rate = row["step_flops_per_second"] / 1e9
                print(f"{preset:<7}{size} px {row['precision']:<9}: "
                      f"{row['step_seconds']:.3f} s a step, "
                      f"{rate:.0f} GFLOP/s = {row['rate_over_gemm']:.2f} of GEMM; "
                      f"loader {100 * row['loader_share']:.1f} %", flush=True)
    write_json(args.out, {"gemm_flops_per_second": gemm, "steps": steps,
                          "peak_memory_bytes": peak_memory(device), **environment(device)})
    print(args.out)


if __name__ == "__main__":
    run_main(main)
