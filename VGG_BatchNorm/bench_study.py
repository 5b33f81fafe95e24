"""How fast the study trains, beside the course kit's own loop; and what probes cost.

    python VGG_BatchNorm/bench_study.py      # leave the machine alone meanwhile

The kit's loop as its starter code has it, written anew for this comparison: images one by one
through torchvision's ToTensor and Normalize, a DataLoader with 4 workers, tensors in (N, C, H, W)
order, Adam, the loss of every step kept. Ours: the same net, batch size, optimizer and number of
steps by `landscape_run.StudyRun`. The two take turns; the median of the seconds a step counts.
Then the probe on the paper's four points, as a share of a hundred steps. Writes
reports/results/bn/bench.json.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.landscape_run import Run, StudyRun
from VGG_BatchNorm.loaders import DATA_DIR, Split, load_cifar10
from VGG_BatchNorm.probes import probe
from VGG_BatchNorm.runs import RESULTS_DIR, environment, keep_freed_memory, pick_device, run_main, write_json
from VGG_BatchNorm.VGG import VGG_A, VGG_BatchNorm


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


def kit_seconds(net: torch.nn.Module, data: KitDataset, steps: int, device: torch.device) -> float:
    """Seconds a step of the kit's loop, loader included, workers already running."""
    net = net.to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = iter(DataLoader(data, batch_size=128, shuffle=True, num_workers=4))
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
    """Seconds a step of ours, loader included."""
    study, start = StudyRun(run, train, device), 0.0
    batches = study.loader.epoch(0)
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        study.train_step(*next(batches))
    return (time.perf_counter() - start) / steps


def probe_seconds(run: Run, train: Split, device: torch.device) -> float:
    """Seconds of one probe on the paper's four points."""
    study = StudyRun(run, train, device)
    batch = next(study.loader.epoch(0))
    study.net.train()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        probe(study.net, F.cross_entropy, batch, 0.1)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, choices=range(1, 301), metavar="N", help="a turn")
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 101), metavar="N", help="turns")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "bn" / "bench.json")
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    train = load_cifar10(args.data_dir)[0]
    kit, ours, rows = KitDataset(train), train.to(device), []
    for norm, net in (("none", VGG_A), ("batch", VGG_BatchNorm)):
        run = Run(norm, 1e-3, args.steps + 2, optimizer="adam", n_items=len(train.labels))
        turns = [(kit_seconds(net(), kit, args.steps, device), study_seconds(run, ours, args.steps, device))
                 for _ in range(args.repeats)]
        theirs, mine = (statistics.median(turn) for turn in zip(*turns, strict=True))
        share = probe_seconds(run, ours, device) / (100 * mine)
        rows.append({"norm": norm, "kit_step_seconds": theirs, "step_seconds": mine, "ratio": theirs / mine,
                     "probe_share_every_100_steps": share})
        print(f"{norm:<6} the kit's loop {theirs:.3f} s a step, ours {mine:.3f} s: {theirs / mine:.2f} times "
              f"as fast; a probe every 100 steps adds {100 * share:.1f} %", flush=True)
    write_json(args.out, {"rows": rows, "batch_size": 128, "steps": args.steps,
                          "repeats": args.repeats, **environment(device)})
    print(args.out)


if __name__ == "__main__":
    run_main(main)
