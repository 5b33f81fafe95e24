"""Time the public speed record's own training step here, beside which `strong` is judged.

    git clone https://github.com/KellerJordan/cifar10-airbench ../cifar10-airbench
    python codes/bench_peer.py ../cifar10-airbench/airbench94_muon.py

Runs the network, loader, optimizers and rates of that file in float32 on the CPU: half precision,
CUDA calls and compilation are taken out, nothing else. The mean of --steps steps counts, after one
that does not; leave the machine alone meanwhile. Writes reports/results/peer.json.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.train import cpu_seconds
from VGG_BatchNorm.loaders import DATA_DIR, load_cifar10
from VGG_BatchNorm.runs import RESULTS_DIR, UserError, environment, run_main, write_json

BATCH_SIZE, EPOCHS, DECAY = 2000, 8, 2e-6 * 2000  # airbench94_muon's
FOR_THE_CPU = {"@torch.compile\n": "", ".half()": ".float()", ".bfloat16()": ".float()",
               'torch.device("cuda")': '"cpu"'}


def load_peer(path: Path) -> ModuleType:
    """The peer's classes, from its file.

    Raises:
        UserError: missing, or not the file this was written for.
    """
    if not path.is_file():
        raise UserError(f"no file {path}; get it as --help says")
    text = path.read_text()
    for theirs, ours in FOR_THE_CPU.items():
        if theirs not in text:
            raise UserError(f"{path} is not the airbench94_muon.py of 2024: it has no {theirs.strip()}")
        text = text.replace(theirs, ours)
    peer = ModuleType("peer")
    exec(compile(text, str(path), "exec"), peer.__dict__)  # a module, but for the words replaced
    return peer


def time_steps(peer: ModuleType, data_dir: Path, steps: int) -> tuple[float, float]:
    """Mean seconds and CPU seconds of a step, loader included."""
    train = load_cifar10(data_dir)[0]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:  # in the layout its loader reads
        torch.save({"images": train.images.permute(0, 2, 3, 1).contiguous(), "labels": train.labels,
                    "classes": None}, Path(folder) / "train.pt")
        loader = peer.CifarLoader(folder, train=True, batch_size=BATCH_SIZE, aug=dict(flip=True, translate=2))
    net = peer.CifarNet().to(memory_format=torch.channels_last)
    net.reset()
    net.init_whiten(loader.normalize(loader.images[:5000]))
    biases = [p for name, p in net.named_parameters() if "norm" in name and p.requires_grad]
    groups = [dict(params=p, lr=lr, weight_decay=DECAY / lr)
              for p, lr in (([net.whiten.bias, *biases], 0.053), ([net.head.weight], 0.67))]
    filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
    optimizers = [torch.optim.SGD(groups, momentum=0.85, nesterov=True),
                  peer.Muon(filters, lr=0.24, momentum=0.6, nesterov=True)]
    net.train()
    batches = iter(loader)
    for step in range(steps + 1):
        if step == 1:
            start, start_cpu = time.perf_counter(), cpu_seconds()
        x, y = next(batches)
        F.cross_entropy(net(x), y, label_smoothing=0.2, reduction="sum").backward()
        for optimizer in optimizers:
            optimizer.step()
        net.zero_grad(set_to_none=True)
    return (time.perf_counter() - start) / steps, (cpu_seconds() - start_cpu) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer", type=Path, help="airbench94_muon.py")
    parser.add_argument("--steps", type=int, default=15, choices=range(1, 25), metavar="N", help="1 to 24")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "peer.json")
    args = parser.parse_args()
    seconds, cpu = time_steps(load_peer(args.peer), args.data_dir, args.steps)
    write_json(args.out, {"name": args.peer.stem, "steps": EPOCHS * 50_000 // BATCH_SIZE,
                          "batch_size": BATCH_SIZE, "step_seconds": seconds, "step_cpu_seconds": cpu,
                          "timed_steps": args.steps, **environment(torch.device("cpu"))})
    print(f"{args.peer.stem}: {seconds:.2f} s a step, {cpu:.2f} CPU seconds\n{args.out}")


if __name__ == "__main__":
    run_main(main)
