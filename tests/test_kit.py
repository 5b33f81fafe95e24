"""Students' scripts, with other imports; the benchmark against the kit."""

import functools
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, finish, write_data

from VGG_BatchNorm import bench_study
from VGG_BatchNorm.ground.files import read_json
from VGG_BatchNorm.ground.timing import training_flops
from VGG_BatchNorm.run import Run
from VGG_BatchNorm.VGG import VGG

SPAWN = "import multiprocessing\nmultiprocessing.set_start_method('spawn', force=True)\n"
INSIDE = {"models.vgg": "VGG", "data.loaders": "loaders"}
BY_NAME = {"models.vgg": "VGG_BatchNorm.VGG", "data.loaders": "VGG_BatchNorm.loaders"}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of what students use, with data of a few images."""
    root = tmp_path_factory.mktemp("a copy, 课程")
    shutil.copytree(ROOT / "VGG_BatchNorm", root / "VGG_BatchNorm")
    write_data(root / "data", per_batch=10)
    return root


@pytest.mark.parametrize("folder, imports, num_workers, first", [
    ("VGG_BatchNorm", INSIDE, 4, SPAWN), ("VGG_BatchNorm", INSIDE, 0, SPAWN + "import VGG\n"),
    ("VGG_BatchNorm", BY_NAME, 4, SPAWN), ("elsewhere", BY_NAME, 0, ""), (".", BY_NAME, 4, SPAWN)])
def test_a_students_script_runs_with_other_imports(project, tmp_path, folder, imports, num_workers,
                                                   first):
    text = Path(__file__).with_name("student_script.py").read_text()
    for old, new in {**imports, "num_workers = 4": f"num_workers = {num_workers}",
                     "import torch\n": f"import torch\n{first}"}.items():
        assert old in text
        text = text.replace(old, new)
    path = (tmp_path if folder == "elsewhere" else project / folder) / "my_script.py"
    path.write_text(text)
    env = {**os.environ, **({"PYTHONPATH": str(project)} if folder == "elsewhere" else {})}
    done = finish([sys.executable, str(path)], cwd=path.parent, env=env)
    assert done.returncode == 0, done.stderr
    assert (path.parent / "picture.png").stat().st_size > 5000
    (path.parent / "picture.png").unlink()


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


def test_benchmark_of_the_study(succeeds, tmp_path, narrow):
    data = write_data(tmp_path / "data", per_batch=20)
    flags = ("--steps", 2, "--repeats", 1, "--data-dir", data, "--device", "cpu")
    out = succeeds(bench_study, *flags, "--out", tmp_path / "b.json")
    written = read_json(tmp_path / "b.json")
    assert out.count("times as fast") == 4
    for row in written["rows"]:
        assert set(row["ours"]) == {"float32", "bfloat16"}
        for precision, our in row["ours"].items():
            assert our["ratio"] == pytest.approx(row["kit_step_seconds"] / our["step_seconds"])
            rate = 16 * training_flops(bench_study.NETS[row["norm"]]()) / our["step_seconds"]
            assert our["rate_over_gemm"] == pytest.approx(
                rate / written["gemm_flops_per_second"][precision])
        assert row["probe_share_every_100_steps"] > 0
