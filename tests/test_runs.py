"""Files that are whole or not there, checkpoints, the choice of a device, and how a script ends."""

import errno
import os
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT
from PIL import Image

from VGG_BatchNorm.ground import checkpoint
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.files import atomic_write, read_json, write_json
from VGG_BatchNorm.ground.flags import flag_parser, picture_parser
from VGG_BatchNorm.ground.machine import use_device
from VGG_BatchNorm.ground.script import UserError, run_main, user_path


def python(code: str, *args, **options) -> subprocess.CompletedProcess:
    """Run Python in the repository."""
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, timeout=120,
                          **{"capture_output": True, "check": True, **options})


def a_checkpoint(path):
    save_checkpoint(path, "cifarnet", {"widths": (8, 8)}, {"w": torch.arange(5.0)}, epoch=3)
    return path


@pytest.mark.parametrize("size, keep", [*((5, keep) for keep in (0, 1, 100, 0.5, 0.99)),
                                        *((60_000, keep) for keep in range(2000, 210_000, 16_000))])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, size, keep):
    save_checkpoint(tmp_path / "a.pt", "cifarnet", {}, {"w": torch.randn(size)}, epoch=3)
    whole = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path / "cut.pt")


def test_other_files_are_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    for name, text in ("other.pt", "another format"), ("none.pt", "no checkpoint"), ("", "folder"):
        with pytest.raises(UserError, match=text):
            load_checkpoint(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(OSError), atomic_write(path) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert read_json(path) == {"a": 1} and os.listdir(tmp_path) == ["a.json"]
    with pytest.raises(IsADirectoryError) as error:
        write_json(tmp_path, {"a": 1})
    assert error.value.filename == str(tmp_path)


def test_json_with_a_byte_order_mark_is_read_and_what_is_wrong_is_named(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match="missing"):
        read_json(path)
    path.write_text('{"name": "张三"}', encoding="utf-8-sig")
    assert read_json(path) == {"name": "张三"} == read_json(path, "name")
    with pytest.raises(UserError, match="a.json lacks seed, preset;"):
        read_json(path, "seed", "name", "preset")
    for content, text in (b"[1]", "lacks seed"), (b'{"a": ', "not JSON"), (b"\xff{", "not JSON"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=text) as refused:
            read_json(path, "seed")
        assert "delete" not in str(refused.value)


def test_find_checkpoint_takes_the_named_then_the_newest_then_the_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "RUNS_DIR", tmp_path)
    assert find_checkpoint("x.pt").name == "x.pt"
    assert find_checkpoint(None) == checkpoint.SHIPPED_WEIGHTS
    for age, name in ((100, "old"), (0, "new"), (200, "older")):
        (tmp_path / name).mkdir()
        a_checkpoint(tmp_path / name / "last.pt")
        os.utime(tmp_path / name / "last.pt", (time.time() - age,) * 2)
    assert find_checkpoint(None).parent.name == "new"


def test_pick_device():
    assert use_device("cpu") == torch.device("cpu")
    assert use_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match="nonsense"):
        use_device("nonsense")


@pytest.mark.parametrize("error, code, text", [
    (UserError("mend this"), 2, "mend this"),
    (OSError(errno.ENOSPC, "No space left on device", "/x/last.pt"), 2,
     "No space left on device (/x/last.pt)"), (KeyboardInterrupt(), 130, "go on"),
    (MemoryError(), 2, "smaller --micro-batch"),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), 2, "smaller --micro-batch")])
def test_run_main_says_one_line(error, code, text, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_main(main, stopped="go on")
    lines = capsys.readouterr().err.splitlines()
    assert exit_.value.code == code and len(lines) == 1
    assert lines[0].startswith("train.py: ") and text in lines[0]


def test_run_main_hides_no_defect():
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)


def test_memory_that_is_not_there_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_:
        run_main(lambda: torch.empty(2**50))
    assert exit_.value.code == 2 and "out of memory; train.py" in capsys.readouterr().err


@pytest.mark.parametrize("encoding, printed", [
    ("cp1252", "±, 3 ? 2, ??"), ("ascii", "?, 3 ? 2, ??"), ("utf-8", "±, 3 ≥ 2, 张三")])
def test_a_console_of_few_letters_is_printed_to(encoding, printed):
    code = ("from VGG_BatchNorm.ground.script import run_main; "
            "run_main(lambda: print('±, 3 ≥ 2, 张三'))")
    done = python(code, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.stdout.decode(encoding).strip() == printed


def test_paths_know_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    parser = picture_parser("", out=tmp_path / "own.png")
    for given, taken in (("pics", "pics/own.png"), (tmp_path, tmp_path / "own.png"),
                         ("a.pdf", "a.pdf")):
        assert parser.parse_args(["--out", str(given)]).out == user_path(str(taken))
    assert user_path("~/cifar") == tmp_path / "cifar" and str(user_path("a/~b")) == "a/~b"
    args = flag_parser("", "--ckpt", "--data-dir").parse_args(["--ckpt=~/a.pt", "--data-dir=~"])
    assert args.ckpt == tmp_path / "a.pt" and args.data_dir == tmp_path


def test_pictures_need_no_screen_and_look_alike_whatever_is_set(tmp_path):
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: black\n")
    code = ("import sys; from VGG_BatchNorm.ground.script import run_main; "
            "import matplotlib.pyplot as plt; run_main(plt.figure); "
            "import VGG_BatchNorm.ground.style; plt.figure().savefig(sys.argv[1])")
    python(code, tmp_path / "a.png",
           env=os.environ | {"MPLBACKEND": "module://gone", "MATPLOTLIBRC": str(tmp_path)})
    assert Image.open(tmp_path / "a.png").convert("L").getextrema() == (255, 255)


HALF_MADE = """
import os, signal, sys
from VGG_BatchNorm.ground.script import run_main

class Bar:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        self.file = sys.stderr

    def __del__(self):
        self.file.flush()

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in some backgrounds
run_main(Bar)
"""


def test_ctrl_c_is_one_line_even_where_it_strikes_a_half_made_object():
    """As tqdm's bars are: a destructor that expects a whole object."""
    done = python(HALF_MADE, text=True, check=False)
    assert done.returncode == 130 and len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith(": stopped\n")


def test_a_reader_that_has_seen_enough_ends_a_script_without_a_word():
    script = ("from VGG_BatchNorm.ground.script import run_main; "
              "run_main(lambda: print('word\\n' * 10**5))")
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "word\n"
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(60) == 141
