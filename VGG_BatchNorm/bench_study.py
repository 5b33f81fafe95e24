"""How fast the study trains, beside the course kit's own loop; and what probes cost.

    python VGG_BatchNorm/bench_study.py      # leave the machine alone meanwhile

The kit's loop as its starter code has it, written anew for this comparison and run in a process of
its own: images one by one through torchvision's ToTensor and Normalize, a DataLoader with 4
workers, tensors in (N, C, H, W) order, torch's convolutions and pooling, Adam, the loss of every
step kept. Ours: the same net, batch size, optimizer and number of steps by `study.StudyRun`. The
two take turns; the median of the seconds a step counts. Ours is timed in float32 and, where the
hardware has it, in bfloat16.
Beside it the FLOP rate of our step over that of a 2048³ matrix product (GEMM) in the same
precision, FLOPs counted on direct convolutions; and the probe on the paper's four points, as a
share of a hundred float32 steps. Writes reports/results/bn/bench.json."""

import dataclasses
import multiprocessing
import statistics
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.ground import convolution, kernels
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10
from VGG_BatchNorm.ground.files import RESULTS_DIR, write_json
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, pick_precision, use_device
from VGG_BatchNorm.ground.script import run_main, user_path
from VGG_BatchNorm.ground.timing import best_seconds, gemm_rate, training_flops
from VGG_BatchNorm.probes import loss_and_gradient, probe, trainable
from VGG_BatchNorm.run import Run
from VGG_BatchNorm.study import StudyRun
from VGG_BatchNorm.VGG import VGG_A, VGG_BatchNorm

NETS = {"none": VGG_A, "batch": VGG_BatchNorm}
BATCH_SIZE = 128


class KitDataset(Dataset):
    """Images one at a time, through torchvision's transforms."""

    def __init__(self, split: Split):
        from PIL import Image
        from torchvision import transforms

        self.images = [Image.fromarray(image.numpy()) for image in split.images.permute(0, 2, 3, 1)]
        self.labels = split.labels.tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


@mock.patch.object(kernels, "library", lambda dtype: None)  # torch's own operations, as the kit
@mock.patch.object(convolution, "algorithm", lambda x, weight: "direct")
def kit_seconds(norm: str, data_dir: Path, steps: int, device: torch.device) -> float:
    """Return the seconds a step of the kit's loop, loader included, workers already running."""
    warnings.simplefilter("ignore")  # on four workers for two cores, as the kit has it
    data, net = KitDataset(load_cifar10(data_dir)[0]), NETS[norm]().to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = iter(DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, num_workers=4))
    losses, start = [], 0.0
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        x, y = (tensor.to(device) for tensor in next(batches))
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def study_seconds(run: Run, train: Split, steps: int, device: torch.device) -> float:
    """Return the seconds a step of ours, loader included."""
    study, start = StudyRun(run, train, device), 0.0
    batches = study.loader.epoch(0)
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        study.train_step(*next(batches))
    return (time.perf_counter() - start) / steps


def probe_seconds(run: Run, train: Split, device: torch.device) -> float:
    """Return the seconds of a probe on the paper's four points, given a step's gradient."""
    study = StudyRun(run, train, device)
    batch = next(study.loader.epoch(0))
    study.net.train()
    at = loss_and_gradient(study.net, F.cross_entropy, batch, trainable(study.net))
    return best_seconds(lambda: probe(study.net, F.cross_entropy, batch, 0.1, at=at), 4, device)


def measure(norm: str, args, train: Split, device: torch.device, gemm: dict) -> dict:
    """Return the times of the kit's loop and ours by turns, in each precision of `gemm`, and of a
    probe."""
    run = Run(norm, 1e-3, args.steps + 2, "adam", n_items=len(train.labels), batch_size=BATCH_SIZE)
    runs = [dataclasses.replace(run, precision=precision) for precision in gemm]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as kit:
        turns = [(kit.submit(kit_seconds, norm, args.data_dir, args.steps, device).result(),
                  *(study_seconds(each, train, args.steps, device) for each in runs))
                 for _ in range(args.repeats)]
    flops = BATCH_SIZE * training_flops(NETS[norm]())
    theirs, *ours = (statistics.median(turn) for turn in zip(*turns, strict=True))
    return {"norm": norm, "kit_step_seconds": theirs,
            "ours": {precision: {"step_seconds": seconds, "ratio": theirs / seconds,
                                 "rate_over_gemm": flops / seconds / gemm[precision]}
                     for precision, seconds in zip(gemm, ours, strict=True)},
            "probe_share_every_100_steps": probe_seconds(run, train, device) / (100 * ours[0])}


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir", "--device")
    number = {"type": int, "metavar": "N"}
    parser.add_argument("--steps", default=20, choices=range(1, 301), help="a turn", **number)
    parser.add_argument("--repeats", default=3, choices=range(1, 101), help="turns", **number)
    parser.add_argument("--out", type=user_path, default=RESULTS_DIR / "bn" / "bench.json")
    args = parser.parse_args()
    device = use_device(args.device)
    train = load_cifar10(args.data_dir)[0].to(device)
    precisions = dict.fromkeys(("float32", pick_precision("auto", device)))
    gemm, rows = {name: gemm_rate(device, args.repeats, name) for name in precisions}, []
    for norm in NETS:
        rows.append(row := measure(norm, args, train, device, gemm))
        ours = ", ".join(
            f"in {name} {our['step_seconds']:.3f} s, {our['ratio']:.2f} times as fast, "
            f"{our['rate_over_gemm']:.2f} of GEMM" for name, our in row["ours"].items())
        print(f"{norm:<6} the kit's loop {row['kit_step_seconds']:.3f} s a step, ours {ours}"
              f"; a probe every 100 steps adds {100 * row['probe_share_every_100_steps']:.1f} %",
              flush=True)
    write_json(args.out, {"rows": rows, "gemm_flops_per_second": gemm, "batch_size": BATCH_SIZE,
                          "steps": args.steps, "repeats": args.repeats, **environment(device)})
    print(args.out)


if __name__ == "__main__":
    run_main(main)
