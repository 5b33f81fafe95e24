"""Every script as its user sees it: --help, and a tiny run."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_picture, command, save_net

from codes import bench, bench_peer, plot_curves, summarise, visualize_filters
from codes.documents.preset_tables import accuracy_table
from codes.figures.filters import as_pictures
from codes.insight.filters import first_convolutions
from codes.networks import build, restore
from codes.results.presets import preset_runs
from codes.settings import choose_settings, parse_arguments
from VGG_BatchNorm import loaders
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_json, write_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import markdown

SCRIPTS = [f"VGG_BatchNorm/{name}.py"
           for name in "loaders VGG_Loss_Landscape plot_study bench_study".split()]
SCRIPTS += [f"codes/{name}.py" for name in """train evaluate plot_curves visualize_filters bench
    bench_peer summarise compare plot_compare from_scratch visualize_patches visualize_attribution
    visualize_mistakes visualize_features visualize_robustness visualize_learning
    visualize_landscape gallery report draw_figures mindspore_quickstart""".split()]


def test_help_of_every_script_from_any_folder(tmp_path):
    poor = os.environ | {"PYTHONIOENCODING": "ascii"}  # a console of few letters
    asked = {script: subprocess.Popen(command(script, "--help"), stdout=subprocess.PIPE, text=True,
                                      env=poor, cwd=tmp_path) for script in SCRIPTS}
    for script, process in asked.items():
        out = process.communicate(timeout=120)[0]
        assert process.returncode == 0 and len(out) > 200, script
    assert not list(tmp_path.iterdir())


def test_samples(call, data_dir, tmp_path):
    assert call(loaders, "--data-dir", data_dir, "--out", tmp_path / "s.png")[0] == 0
    assert_picture(tmp_path / "s.png")


def test_training_curves(call, finished_run, tmp_path):
    assert call(plot_curves, finished_run, "--out", tmp_path / "c.png")[0] == 0
    assert_picture(tmp_path / "c.png")
    (tmp_path / "log.csv").write_text("epoch,loss\n1,x\n")
    code, _, err = call(plot_curves, tmp_path, "--out", tmp_path / "d.png")
    assert code == 2 and "damaged" in err
    assert call(plot_curves, tmp_path / "none")[0] == 2


@pytest.mark.parametrize("network, config", [("cifarnet", {}), ("vgg_a", {}),
                                             ("cifarnet", {"whiten": False})], ids=str)
def test_filters_of_each_network(call, data_dir, tmp_path, network, config):
    weights = save_net(tmp_path / "w.pt", network, **config)
    flags = ("--ckpt", weights, "--data-dir", data_dir, "--device", "cpu",
             "--results", tmp_path / "results", "--out", tmp_path / "f.png")
    assert call(visualize_filters, *flags)[0] == 0
    assert_picture(tmp_path / "f.png")
    code, _, err = call(visualize_filters, *flags, "--image", 60)
    assert code == 2 and "0 to 59" in err


def test_filters_are_drawn_as_they_are():
    filters = np.array([-2.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    assert as_pictures(filters).flatten().tolist() == [0.0, 0.5, 0.75]


def test_first_convolutions_are_those_of_the_net():
    net = build("cifarnet", widths=(8, 8)).eval()
    x = torch.randn(1, 3, 32, 32)
    (stem, layer, maps), (second, _, _) = first_convolutions(net, x)
    assert (stem, second) == ("stem", "groups.0.convs.0") and layer is net.stem
    assert maps.shape == (1, 24, 32, 32)


def test_bench(call, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "DEFAULTS", bench.DEFAULTS | {"batch_size": 8})
    fast = {"widths": (64, 64), "middle_share": 0.5, "middle_size": 28, "keep_share": 0.5}
    monkeypatch.setattr(bench, "PRESETS", {"fast": fast, "strong": {}, "best": {}})
    monkeypatch.setattr(bench, "gemm_rate", lambda *args, gemm=bench.gemm_rate: gemm(*args, n=64))
    monkeypatch.setattr(bench, "pick_precision", lambda *_: "bfloat16")
    code, out, _ = call(bench, "--presets", "fast", "--repeats", 1, "--device", "cpu", "--out",
                        tmp_path / "b.json")
    written = read_json(tmp_path / "b.json")
    steps = [(row["image_size"], row["precision"]) for row in written["steps"]]
    assert steps == [(size, name) for size in (16, 32) for name in ("float32", "bfloat16")]
    assert code == 0 and "GEMM" in out and {"float32", "autocast"} <= written["ways_seconds"].keys()
    for row in written["steps"]:
        assert 0 < row["loader_share"] < 1
        assert row["rate_over_gemm"] == pytest.approx(
            row["step_flops_per_second"] / written["gemm_flops_per_second"][row["precision"]])


@pytest.mark.parametrize("text, named",
                         [(None, "no file"), ("x = 1", "is not the airbench94_muon.py")])
def test_another_peer_is_refused(refused, tmp_path, text, named):
    if text is not None:
        (tmp_path / "peer.py").write_text(text)
    assert named in refused(bench_peer, tmp_path / "peer.py", "--out", tmp_path / "p.json")
    assert not (tmp_path / "p.json").exists()


RESULT = {"precision": "bfloat16", "preset": "strong", "seed": 0, "images": 50000,
          "parameters": 2_000_000, "flops": 2 * 10**14, "seconds": 600.0, "cpu_seconds": 1200.0,
          "peak_memory_bytes": 2**31, "test_accuracy": 0.93, "test_accuracy_views": 0.94,
          "device": "cpu", "threads": 2, "torch": "2", "commit": "abc"}


def a_run(folder: Path, *flags: str, **result) -> Path:
    """What the table needs of a run folder."""
    args = parse_arguments("", ["--preset", "strong", *flags])
    settings = choose_settings(args, torch.device("cpu"))
    write_json(folder / "config.json", {"settings": settings.as_dict()})
    write_json(folder / "result.json", RESULT | result)
    return folder


def test_runs_become_one_table(tmp_path):
    table = tmp_path / "runs.csv"
    for seed, accuracy in ((0, 0.94), (1, 0.96), (1, 0.95)):
        summarise.collect([a_run(tmp_path, seed=seed, test_accuracy_views=accuracy)], table)
    rows = preset_runs(table)
    assert [row["seed"] for row in rows] == [0, 1]  # the second seed 1 replaces the first
    expected = ("| `strong` | 7.00 ± 0.00 % | 5.50 ± 0.71 % | 2 | 2.00 M | 0.200 | bfloat16 | "
                "10.0 ± 0.0 |")
    assert expected in markdown(accuracy_table(rows))


def test_a_run_whose_memory_is_not_known_has_its_row(tmp_path):
    summarise.collect([a_run(tmp_path, peak_memory_bytes=None)], tmp_path / "runs.csv")
    assert "| not known |" in markdown(accuracy_table(preset_runs(tmp_path / "runs.csv")))


@pytest.mark.parametrize("flags", ["--validation", "--lr 0.1", "--n-items 20000"])
def test_what_is_not_the_preset_is_no_result_of_it(tmp_path, flags):
    with pytest.raises(UserError, match=flags.split()[0].strip("-").replace("-", "_")):
        summarise.collect([a_run(tmp_path, *flags.split())], tmp_path / "runs.csv")


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
