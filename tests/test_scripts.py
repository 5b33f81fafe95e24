"""Every script as its user sees it: --help, and a tiny run."""

import os
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, assert_picture, finish

from codes import bench, bench_peer, plot_curves, summarise
from codes.documents import front_page
from codes.documents.map import is_script
from codes.documents.preset_tables import accuracy_table, front_table
from codes.insight.filters import first_convolutions
from codes.networks import build
from codes.open_weights import restore
from codes.results.presets import PRESET_RUN
from codes.settings import choose_settings, make_parser
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CIFAR10_MD5
from VGG_BatchNorm.ground.files import RESULTS_DIR, SHIPPED_WEIGHTS, read_csv, read_json, write_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import markdown

SCRIPTS = [path for room in ("VGG_BatchNorm", "codes") for path in (ROOT / room).rglob("*.py")
           if is_script(path)]


HELP = """
import runpy, sys
from pathlib import Path

path = sys.path[1:]
for script in sys.argv[1:]:
    sys.argv, sys.path = [script, "--help"], [str(Path(script).parent), *path]
    sys.stdout.reconfigure(errors="strict")
    for name in [name for name in sys.modules if name.startswith(("codes", "VGG_BatchNorm"))]:
        del sys.modules[name]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as exit_:
        print(end="\\f" if exit_.code == 0 else script)
"""


def test_help_of_every_script_from_any_folder(tmp_path):
    """In one process, which imports torch once; the repository is found by each anew."""
    poor = os.environ | {"PYTHONIOENCODING": "ascii"}  # a console of few letters
    done = finish([sys.executable, "-c", HELP, *map(str, SCRIPTS)], env=poor, cwd=tmp_path)
    said = done.stdout.split("\f")
    assert len(said) == 1 + len(SCRIPTS) > 20 and said[-1] == "", done.stderr
    assert min(map(len, said[:-1])) > 200 and not list(tmp_path.iterdir())


def test_training_curves(succeeds, refused, finished_run, tmp_path):
    succeeds(plot_curves, finished_run, "--out", tmp_path / "c.png")
    assert_picture(tmp_path / "c.png")
    (tmp_path / "log.csv").write_text("epoch,loss\n1,x\n")
    assert "damaged" in refused(plot_curves, tmp_path, "--out", tmp_path / "d.png")
    refused(plot_curves, tmp_path / "none")


def test_first_convolutions_are_those_of_the_net():
    net = build("cifarnet", widths=(8, 8)).eval()
    x = torch.randn(1, 3, 32, 32)
    (stem, layer, maps), (second, _, _) = first_convolutions(net, x)
    assert (stem, second) == ("stem", "groups.0.convs.0") and layer is net.stem
    assert maps.shape == (1, 24, 32, 32)


def test_bench(succeeds, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "DEFAULTS", bench.DEFAULTS | {"batch_size": 8})
    fast = {"widths": (64, 64), "middle_share": 0.5, "middle_size": 28, "keep_share": 0.5}
    monkeypatch.setattr(bench, "PRESETS", {"fast": fast, "strong": {}, "best": {}})
    monkeypatch.setattr(bench, "gemm_rate", lambda *args, gemm=bench.gemm_rate: gemm(*args, n=64))
    monkeypatch.setattr(bench, "pick_precision", lambda *_: "bfloat16")
    out = succeeds(bench, "--presets", "fast", "--repeats", 1, "--device", "cpu", "--out",
                   tmp_path / "b.json")
    written = read_json(tmp_path / "b.json")
    steps = [(row["image_size"], row["precision"]) for row in written["steps"]]
    assert steps == [(size, name) for size in (16, 32) for name in ("float32", "bfloat16")]
    assert "GEMM" in out
    for row in written["steps"]:
        assert 0 < row["loader_share"] < 1
        assert row["rate_over_gemm"] == pytest.approx(
            row["step_flops_per_second"] / written["gemm_flops_per_second"][row["precision"]])


@pytest.mark.parametrize("text, named",
                         [(None, "no Python file"), ("x = 1", "is not the airbench94_muon.py")])
def test_another_peer_is_refused(refused, tmp_path, text, named):
    if text is not None:
        (tmp_path / "peer.py").write_text(text)
    assert named in refused(bench_peer, tmp_path / "peer.py", "--out", tmp_path / "p.json")
    assert not (tmp_path / "p.json").exists()


RESULT = {"precision": "bfloat16", "preset": "strong", "seed": 0, "images": 50000,
          "parameters": 2_000_000, "flops": 2 * 10**14, "seconds": 600.0, "cpu_seconds": 1200.0,
          "peak_memory_bytes": 2**31, "test_accuracy": 0.93, "test_accuracy_views": 0.94,
          "device": "abacus, beads", "threads": 2, "torch": "2", "commit": "abc"}


def a_run(folder: Path, *flags: str, data_md5: str | None = None, **result) -> Path:
    """What the table needs of a run folder; default: of CIFAR-10."""
    data_md5 = data_md5 or CIFAR10_MD5
    args = make_parser("").parse_args(["--preset", "strong", *flags])
    settings = choose_settings(args, torch.device("cpu"))
    write_json(folder / "config.json", {"settings": settings.as_dict(), "data_md5": data_md5})
    write_json(folder / "result.json", RESULT | result)
    return folder


def test_runs_become_one_table(tmp_path):
    table = tmp_path / "runs.csv"
    for seed, accuracy in ((0, 0.94), (1, 0.97), (2, 0.96), (1, 0.95)):
        summarise.collect([a_run(tmp_path, seed=seed, test_accuracy_views=accuracy)], table)
    rows = read_csv(table, PRESET_RUN)
    assert [row["seed"] for row in rows] == [0, 1, 2]  # the second seed 1 replaces the first
    expected = ("| `strong` | 7.00 ± 0.00 % | 5.00 ± 1.00 % | 3 | 2.00 M | 0.200 | bfloat16 | "
                "10.0 ± 0.0 |")
    assert expected in markdown(accuracy_table(rows))


@pytest.mark.parametrize("device, said", [
    ("abacus, beads", "2 CPU cores, 10.0 min"),
    ("Abacus GPU", "Abacus GPU, 1.5 min")])
def test_the_minutes_of_a_gpu_are_those_of_the_clock(tmp_path, device, said):
    summarise.collect([a_run(tmp_path, seconds=90.0, device=device)], tmp_path / "runs.csv")
    assert f"| {said}" in markdown(front_table(read_csv(tmp_path / "runs.csv", PRESET_RUN), []))


def test_a_preset_that_ran_on_several_machines_counts_the_runs_of_each():
    rows = [RESULT | {"seed": seed, "device": device}
            for seed, device in enumerate(("Hare GPU", "abacus, beads", "Hare GPU", "Abacus GPU"))]
    assert "| 2 CPU cores, 10.0 min; Hare GPU: 2 runs; Abacus GPU: 1 run | 4 |" in markdown(
        front_table(rows, []))
    gpus = [row for row in rows if "GPU" in row["device"]]
    assert "| Hare GPU, 10.0 ± 0.0 min; Abacus GPU: 1 run | 3 |" in markdown(front_table(gpus, []))


@pytest.mark.parametrize("flags", ["--validation", "--lr 0.1", "--n-items 20000"])
def test_what_is_not_the_preset_is_no_result_of_it(tmp_path, flags):
    with pytest.raises(UserError, match=flags.split()[0].strip("-").replace("-", "_")):
        summarise.collect([a_run(tmp_path, *flags.split())], tmp_path / "runs.csv")


def test_a_run_on_other_data_is_no_result_and_not_shipped(refused, tmp_path):
    run = a_run(tmp_path, data_md5="other")
    with pytest.raises(UserError, match="was not trained on CIFAR-10"):
        summarise.collect([run], tmp_path / "runs.csv")
    assert "was not trained on CIFAR-10" in refused(summarise, "--ship", run, "--as", "other")
    assert "give both" in refused(summarise, "--as", "other")  # a name without weights to ship


def test_an_unfinished_run_is_not_shipped(refused, tmp_path):
    run = a_run(tmp_path)
    (run / "result.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in SHIPPED_WEIGHTS.parent.iterdir()}
    assert "result.json is missing" in refused(summarise, "--ship", run, "--as", "other")
    assert {path: path.stat().st_mtime_ns for path in SHIPPED_WEIGHTS.parent.iterdir()} == before


def test_shipped_weights_are_small_and_those_of_the_run(finished_run, tmp_path):
    summarise.ship(finished_run, tmp_path / "w.pt", tmp_path / "log")
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["log.csv", "result.json"]
    shipped, whole = load_checkpoint(tmp_path / "w.pt"), load_checkpoint(finished_run / "last.pt")
    assert (tmp_path / "w.pt").stat().st_size < 0.6 * (finished_run / "last.pt").stat().st_size
    torch.testing.assert_close(restore(shipped).state_dict(), restore(whole).state_dict(),
                               atol=1e-2, rtol=1e-3)
    assert all(torch.equal(w, whole["weights"][n]) for n, w in shipped["weights"].items()
               if w.ndim < 2)


@pytest.mark.parametrize("name", summarise.PAGES)
def test_the_pages_say_what_the_results_say(name):
    text = (ROOT / name).read_text()
    tables = summarise.PAGES[name](RESULTS_DIR)
    assert summarise.renew(text, tables) == text, "run codes/summarise.py"


def test_a_sentence_of_the_front_page_that_no_longer_fits_is_refused(monkeypatch):
    (text, quantity, _), *others = front_page.MEASURED
    monkeypatch.setattr(front_page, "MEASURED", [(text, quantity, "unclear"), *others])
    with pytest.raises(UserError, match="steps to 50 % training accuracy” does not fit .holds, "):
        front_page.readme()
    monkeypatch.undo()
    monkeypatch.setitem(front_page.CLEAR, "mean β of the first three probes", False)
    with pytest.raises(UserError, match="the first three probes” .* after correction it is clear"):
        front_page.readme()
