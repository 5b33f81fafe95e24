"""Time the public speed record's own training step here, by turns with that of `strong`.

    git clone https://github.com/KellerJordan/cifar10-airbench ../cifar10-airbench
    python codes/bench_peer.py ../cifar10-airbench/airbench94_muon.py

Runs the network, loader, optimizers and rates of that file on the CPU, in float32 and, where the
hardware has it, in bfloat16: its half precision becomes the one that is timed, and what it compiles
is run as it is written, nothing else. Whole recipes are compared: seconds of each kind of step
times how many there are. Steps differ by whether the whitening's bias is still trained, ours by
image size too. The mean of --steps steps of each kind counts, after one that does not; leave the
machine alone meanwhile. Writes reports/results/peer.json; its `step_seconds` is the peer's mean."""

import importlib.util
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.schedule import image_size
from codes.settings import DEFAULTS, PRESETS, Settings
from codes.trainer import Trainer
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10
from VGG_BatchNorm.ground.files import RESULTS_DIR, write_json
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, pick_precision, use_device
from VGG_BatchNorm.ground.script import UserError, run_main, user_path

BATCH_SIZE, EPOCHS, BIAS_EPOCHS, DECAY = 2000, 8, 3, 2e-6 * 2000  # airbench94_muon's
CPU = torch.device("cpu")


def load_peer(path: Path) -> ModuleType:
    """Return the peer's file as a module; nothing in it is compiled. Raises UserError: missing, or
    not the file this was written for."""
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"no Python file {path}; get it as --help says")
    spec = importlib.util.spec_from_file_location("peer", path)
    peer = importlib.util.module_from_spec(spec)
    with mock.patch.object(torch, "compile", lambda function, **_: function):
        spec.loader.exec_module(peer)
    if missing := {"CifarLoader", "CifarNet", "Muon"} - set(vars(peer)):
        raise UserError(f"{path} is not the airbench94_muon.py of 2024: it has no {min(missing)}")
    return peer


class Peer:
    """The peer's training, a step at a time, in `precision`."""

    def __init__(self, peer: ModuleType, train: Split, precision: str):
        dtype = getattr(torch, precision)
        patches = {kind: lambda self, dtype=dtype: self.to(dtype) for kind in ("half", "bfloat16")}
        self.patches = [mock.patch.multiple(cls, **patches)
                        for cls in (torch.Tensor, torch.nn.Module)]
        with self.patches[0], self.patches[1]:
            self.loader, self.net, self.optimizers = self.start(peer, train)
            self.batches = iter(self.loader)

    @staticmethod
    def start(peer: ModuleType, train: Split) -> tuple:
        torch.manual_seed(0)
        load = torch.load
        with (tempfile.TemporaryDirectory() as folder,  # in the layout its loader reads
              mock.patch.object(torch, "load", lambda path, **_: load(path))):
            torch.save({"images": train.images.permute(0, 2, 3, 1).contiguous(),
                        "labels": train.labels, "classes": None}, Path(folder) / "train.pt")
            loader = peer.CifarLoader(folder, train=True, batch_size=BATCH_SIZE,
                                      aug=dict(flip=True, translate=2))
        net = peer.CifarNet().to(memory_format=torch.channels_last)
        net.reset()
        net.init_whiten(loader.normalize(loader.images[:5000].float()))
        biases = [p for name, p in net.named_parameters() if "norm" in name and p.requires_grad]
        groups = [dict(params=p, lr=lr, weight_decay=DECAY / lr)
                  for p, lr in (([net.whiten.bias, *biases], 0.053), ([net.head.weight], 0.67))]
        filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
        optimizers = [torch.optim.SGD(groups, momentum=0.85, nesterov=True),
                      peer.Muon(filters, lr=0.24, momentum=0.6, nesterov=True)]
        return loader, net.train(), optimizers

    def step(self, bias_trained: bool) -> None:
        with self.patches[0], self.patches[1]:
            x, y = next(self.batches)
            logits = self.net(x, whiten_bias_grad=bias_trained).float()
            F.cross_entropy(logits, y, label_smoothing=0.2, reduction="sum").backward()
            for optimizer in self.optimizers:
                optimizer.step()
            self.net.zero_grad(set_to_none=True)


def time_by_turns(peer: ModuleType, data_dir: Path, precision: str, steps: int) -> dict:
    """Return mean seconds of a step of each, by turns, and of the two whole recipes."""
    train = load_cifar10(data_dir)[0]
    theirs = Peer(peer, train, precision)
    settings = Settings.from_dict({**DEFAULTS, **PRESETS["strong"], "precision": precision})
    ours = Trainer(settings, train, CPU)
    batches = ours.loader.epoch(0)

    def kind(number: int) -> tuple[int, int, bool]:
        """Make ours ready for a step; return the image size, the number of images that the net
        trains on, and whether the bias is trained."""
        ours.epoch = number // len(ours.loader)
        ours.start_epoch()
        return (image_size(number, ours.steps, settings), ours.images_kept(number),
                ours.net.stem.bias.requires_grad)

    def our_step(number: int) -> None:
        kind(number)
        ours.step(*next(batches), number)[0].item()

    kinds = [kind(number) for number in range(ours.steps)]
    calls = {trained: partial(theirs.step, trained) for trained in (True, False)}
    calls |= {each: partial(our_step, kinds.index(each)) for each in kinds}
    seconds = Counter()
    for turn in range(steps + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name] += (time.perf_counter() - start) * (turn > 0) / steps
    recipe = 50_000 / BATCH_SIZE * (BIAS_EPOCHS * seconds[True]
                                    + (EPOCHS - BIAS_EPOCHS) * seconds[False])
    return {"precision": precision, "step_seconds": recipe / (EPOCHS * 50_000 / BATCH_SIZE),
            "recipe_seconds": recipe, "strong_seconds": sum(seconds[each] for each in kinds)}


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir")
    add = parser.add_argument
    add("peer", type=user_path, help="airbench94_muon.py")
    add("--steps", type=int, default=8, choices=range(1, 12), metavar="N", help="1 to 11")
    add("--out", type=user_path, default=RESULTS_DIR / "peer.json")
    args = parser.parse_args()
    use_device("cpu")
    peer = load_peer(args.peer)
    rows = []
    for precision in dict.fromkeys(("float32", pick_precision("auto", CPU))):
        rows.append(row := time_by_turns(peer, args.data_dir, precision, args.steps))
        print(f"{precision}: {args.peer.stem} {row['step_seconds']:.2f} s a step, "
              f"{row['recipe_seconds'] / 60:.1f} minutes in all; "
              f"strong {row['strong_seconds'] / 60:.1f} minutes", flush=True)
    write_json(args.out, {"name": args.peer.stem, "steps": EPOCHS * 50_000 // BATCH_SIZE,
                          "batch_size": BATCH_SIZE, "timed_steps": args.steps, "rows": rows,
                          **environment(CPU)})
    print(args.out)


if __name__ == "__main__":
    run_main(main)
