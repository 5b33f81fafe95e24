"""The quickstart: what torch hands over, and, where it is installed, that MindSpore agrees."""

import hashlib

import numpy as np
import pytest
from conftest import ROOT, finish

from codes import mindspore_quickstart
from VGG_BatchNorm.ground.cifar10 import ROW
from VGG_BatchNorm.ground.files import read_npz

PYTHON = ROOT / ".venv-mindspore" / "bin" / "python"


@pytest.fixture
def flags(data_dir, tmp_path) -> tuple:
    return "--data-dir", data_dir, "--n-items", 256, "--out", tmp_path


def test_what_torch_hands_over(succeeds, data_dir, tmp_path, flags):
    assert "after 1 epoch\n" in succeeds(mindspore_quickstart, "torch", *flags)
    folder = tmp_path / "cifar-10-batches-bin"
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    sums = [hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]
    assert sums == (data_dir / "checksums.txt").read_text().split()
    given = read_npz(tmp_path / "torch.npz")
    start, trained = (given[f"{name}/stage1.0.weight"] for name in ("start", "trained"))
    assert start.shape == (16, 3, 3, 3) and not np.array_equal(start, trained)
    assert given["about"]["train"] == 256 and given["logits"].shape[1] == 10
    assert given["about"]["epochs"] == 1


def test_without_mindspore_it_is_one_line(refused, flags):
    try:
        import mindspore  # noqa: F401
    except ImportError:
        assert "make mindspore" in refused(mindspore_quickstart, "mindspore", *flags)


@pytest.mark.skipif(not PYTHON.exists(), reason="MindSpore is not installed")
def test_mindspore_gives_torchs_logits(succeeds, tmp_path, flags):
    succeeds(mindspore_quickstart, "torch", *flags)
    for path in (tmp_path / "cifar-10-batches-bin").iterdir():  # it insists on the official size
        np.resize(np.fromfile(path, np.uint8), (10_000, ROW)).tofile(path)
    done = finish([str(PYTHON), mindspore_quickstart.__file__, "mindspore", *map(str, flags)],
                  cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    assert float(lines[0].split(" by ")[1].split()[0]) < 1e-4
    assert [line.split()[0] for line in lines[1:]] == ["torch", "MindSpore"]
