"""CIFAR-shaped data that the tests make, and a way to run the scripts on it."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"  # of the scripts: tiny work, and two may run at a time
torch.set_num_threads(1)

from VGG_BatchNorm.ground import kernels
from VGG_BatchNorm.ground.checkpoint import save_checkpoint
from VGG_BatchNorm.ground.cifar10 import ROW
from VGG_BatchNorm.ground.script import run_main
from VGG_BatchNorm.ground.style import plt

needs_compiler = pytest.mark.skipif(kernels.library(torch.float32) is None,
                                    reason="no C compiler")
TINY_RUN = "--batch-size 50 --micro-batch 0 --epochs 6 --small-share 0.5".split()
TINY = [*TINY_RUN, "--widths", "8,8", "--dropout", "0.05"]


def write_data(root: Path, per_batch: int = 60, seed: int = 0) -> Path:
    """A `cifar10.bin` of six batches whose classes differ in brightness, and its checksums."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 100, (6 * per_batch, ROW), dtype=np.uint8)
    rows[:, 0] = np.arange(len(rows)) % 10
    rows[:, 1:] += 15 * rows[:, :1]
    root.mkdir(parents=True, exist_ok=True)
    rows.tofile(root / "cifar10.bin")
    sums = [hashlib.md5(part.tobytes()).hexdigest() for part in np.split(rows, 6)]
    (root / "checksums.txt").write_text("\n".join(sums))
    return root


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Random numbers are the same, whichever tests run; no figure stays open."""
    torch.manual_seed(0)
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def train_command(folder: Path, data_dir: Path, *args) -> list[str]:
    return [*map(str, (sys.executable, ROOT / "codes" / "train.py", "--data-dir", data_dir,
                       "--out", folder, *TINY, *args))]


def finish(command: list[str], **options) -> subprocess.CompletedProcess:
    """Run a script to its end; a traceback is never what the user should see."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def call(monkeypatch, capsys):
    """A script's `main` in this process, to import torch once: (exit code, stdout, stderr)."""
    monkeypatch.setitem(plt.rcParams, "savefig.dpi", 100)  # half of what is committed: quick

    def run(module, *args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [Path(module.__file__).name, *map(str, args)])
        code = 0
        try:
            run_main(module.main)
        except SystemExit as exit_:
            code = exit_.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def succeeds(call):
    """The same, of a script that must end well: its stdout."""

    def run(module, *args) -> str:
        code, out, err = call(module, *args)
        assert code == 0, err
        return out

    return run


@pytest.fixture
def every_clock_lies(monkeypatch):
    """Called with a random.Random, makes it the time that every clock tells."""

    def lie(liar) -> None:
        for name in ("perf_counter", "monotonic", "time", "process_time"):
            monkeypatch.setattr(time, name, lambda: liar.uniform(0, 1e6))

    return lie


@pytest.fixture
def refused(call):
    """What a script says of input that its user can mend: one line, and exit code 2."""

    def run(module, *args) -> str:
        code, _, err = call(module, *args)
        assert code == 2 and len(err.splitlines()) == 1, err
        return err

    return run


@pytest.fixture
def quick(monkeypatch, tmp_path) -> dict:
    """Settings of the studies and small nets, cut to two steps; nets go to the test's folder."""
    from codes import studies
    from codes.insight import small_nets

    for name, base in studies.BASES.items():
        tiny = dict(widths=[8, 8], batch_size=50, epochs=0.4)
        monkeypatch.setitem(studies.BASES, name, base | tiny)
    monkeypatch.setattr(small_nets, "RUNS_DIR", tmp_path / "runs")
    return studies.BASES["quick"]


def save_net(path: Path, network: str = "cifarnet", **config) -> Path:
    """The checkpoint of an untrained net, the same at every call."""
    from codes.networks import build

    torch.manual_seed(0)
    config = ({"widths": (8, 8)} if network == "cifarnet" else {}) | config
    save_checkpoint(path, network, config, build(network, **config).state_dict())
    return path


def drawing(data_dir: Path, results: Path, out: Path, *more) -> tuple:
    """The flags of a script that measures and draws."""
    return ("--data-dir", data_dir, "--device", "cpu", "--results", results, "--out", out, *more)


def assert_picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        assert min(picture.size) > 200 and len(picture.convert("L").getcolors(256)) > 5


def assert_texts_apart(axis) -> None:
    boxes = [label.get_window_extent() for label in axis.texts]
    assert sum(box.count_overlaps(boxes) for box in boxes) == len(boxes)  # each with itself


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, data_dir) -> Path:
    """A run that nothing interrupted."""
    from codes import train

    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", train_command(folder, data_dir)[1:])
        train.main()
    return folder
