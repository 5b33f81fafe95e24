"""A script that makes the calls of the course kit; the benchmark against the kit."""

import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, finish, write_data

from VGG_BatchNorm import bench_study
from VGG_BatchNorm.ground.files import read_json
from VGG_BatchNorm.study import Run
from VGG_BatchNorm.VGG import VGG

SCRIPT = """
import sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from VGG_BatchNorm.loaders import PartialDataset, get_cifar_loader
from VGG_BatchNorm.VGG import VGG_A, VGG_A_BatchNorm, get_number_of_parameters

train_loader = get_cifar_loader(root=sys.argv[1], batch_size=16, train=True, n_items=48)
val_loader = get_cifar_loader(sys.argv[1], train=False, shuffle=False, num_workers=2, n_items=20)
for X, y in train_loader:
    assert X.shape == (16, 3, 32, 32) and X.min() >= -1 and X.max() <= 1 and y.shape == (16,)
    break

def train(model, optimizer, criterion, train_loader, val_loader, epochs_n):
    losses = []
    for epoch in range(epochs_n):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
    return losses, right / 20

for net, colour in ((VGG_A, "g"), (VGG_A_BatchNorm, "r")):
    curves = []
    for lr in [1e-3, 1e-4]:
        torch.manual_seed(2020)
        model = net()
        assert get_number_of_parameters(model) > 9e6
        assert model.classifier[4].weight.shape == (10, 512)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        criterion = nn.CrossEntropyLoss()
        losses, accuracy = train(model, optimizer, criterion, train_loader, val_loader, epochs_n=1)
        assert len(losses) == len(train_loader) == 3 and 0 <= accuracy <= 1
        curves.append(losses)
    min_curve, max_curve = np.min(curves, axis=0), np.max(curves, axis=0)
    plt.fill_between(range(3), min_curve, max_curve, color=colour, alpha=0.3)
plt.savefig(sys.argv[2])
"""


def test_a_script_with_the_kits_calls_runs(data_dir, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(data_dir), str(tmp_path / "landscape.png")]
    done = finish(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "landscape.png").stat().st_size > 5000


@pytest.fixture
def narrow(monkeypatch):
    """The benchmark on narrow nets and small batches, the kit's loop in a thread."""
    nets = {norm: functools.partial(VGG, norm=norm, width=1 / 16) for norm in ("none", "batch")}
    gemm = bench_study.gemm_rate
    for name, value in {"NETS": nets, "BATCH_SIZE": 16, "Run": functools.partial(Run, width=1 / 16),
                        "gemm_rate": lambda *args: gemm(*args, n=64),
                        "pick_precision": lambda *_: "bfloat16",
                        "ProcessPoolExecutor": lambda n, mp_context: ThreadPoolExecutor(n)}.items():
        monkeypatch.setattr(bench_study, name, value)


def test_benchmark_of_the_study(call, tmp_path, narrow):
    data = write_data(tmp_path / "data", per_batch=20)
    flags = ("--steps", 2, "--repeats", 1, "--data-dir", data, "--device", "cpu")
    code, out, _ = call(bench_study, *flags, "--out", tmp_path / "b.json")
    written = read_json(tmp_path / "b.json")
    assert code == 0 and out.count("times as fast") == 4
    for row in written["rows"]:
        assert set(row["ours"]) == {"float32", "bfloat16"}
        for precision, our in row["ours"].items():
            assert our["ratio"] == pytest.approx(row["kit_step_seconds"] / our["step_seconds"])
            rate = bench_study.step_flops(row["norm"]) / our["step_seconds"]
            assert our["rate_over_gemm"] == pytest.approx(
                rate / written["gemm_flops_per_second"][precision])
        assert row["probe_share_every_100_steps"] > 0


def test_flops_of_a_step_are_those_of_the_protocol():
    """153.29 M multiply-adds an image forward; backward twice as many, less the first input's."""
    expected = 2 * 128 * (3 * 153.29e6 - 64 * 27 * 32 * 32)
    assert bench_study.step_flops("none") == pytest.approx(expected, rel=1e-4)
