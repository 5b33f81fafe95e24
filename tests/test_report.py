"""The report, from small made-up results: its numbers are theirs, and what is amiss is one line."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from codes import report
from codes.documents import report_numbers
from codes.documents.page import template
from codes.documents.report_comparisons import comparisons_for_report
from codes.documents.tables import cells
from codes.insight.small_nets import NETS
from codes.results.advice import better_worse_or_unclear, says
from codes.results.compare_results import key
from codes.results.words import listed
from codes.studies import BASES, STUDIES, variants
from VGG_BatchNorm.ground import files
from VGG_BatchNorm.ground.cifar10 import CLASSES
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_json, write_csv, write_json, write_npz
from VGG_BatchNorm.ground.tables import Table

ENVIRONMENT = {"device": "abacus, beads", "threads": 2, "torch": "7.5"}
SHIPPED = {"checkpoint": "reports/models/cifarnet.pt", "sha1": files.digest(files.SHIPPED_WEIGHTS)}
BASE = BASES["quick"] | {"data_md5": "0a1b2c"}
PICTURES = re.findall(r'#picture\("([^"]+)"', report.SOURCE.read_text())


def write_presets(folder):
    rows = [{"preset": preset, "seed": seed, "images": 5000, "parameters": 1234,
             "flops": 2 * 10**14, "seconds": 600, "cpu_seconds": 1, "peak_memory_bytes": 2**31,
             "test_accuracy": 0.9 + seed / 100, "test_accuracy_views": 0.913 + seed / 100,
             **ENVIRONMENT, "commit": "abc"} for preset in ("fast", "strong") for seed in range(3)]
    write_csv(folder / "runs.csv", rows)
    rows = [dict(seed=0, test_accuracy=0.7654, epochs=4, seconds=9, parameters=77, **ENVIRONMENT)]
    write_csv(folder / "from_scratch.csv", rows)
    write_json(folder / "evaluation.json",
               SHIPPED | {
                   "images": 1000, "error": 0.1, "error_six_views": 0.09, "calibration_error": 0.12,
                   "calibration_error_six_views": 0.13, "accuracy_by_class_six_views": {
                       name: 0.9 + i / 100 for i, name in enumerate(CLASSES)}})
    steps = [{"preset": "fast", "image_size": 16, "batch_size": 1000, "precision": precision,
              "step_seconds": seconds, "step_flops_per_second": 1e11, "rate_over_gemm": 0.5,
              "loader_share": 0.01} for precision, seconds in (("float32", 1),
                                                                    ("bfloat16", 0.5))]
    gemm = {"float32": 2e11, "bfloat16": 4e11}
    write_json(folder / "bench.json", {"steps": steps, "gemm_flops_per_second": gemm,
                                       **ENVIRONMENT})
    write_json(folder / "peer.json", {
        "name": "hare", "steps": 200, "batch_size": 2000, "timed_steps": 15,
        "rows": [{"precision": "float32", "recipe_seconds": 600, "strong_seconds": 300}],
        **ENVIRONMENT})


def write_studies(folder):
    """Every variant loses one point more than the one before it, ± half a point."""
    summary, runs = [], {}
    for study in (name for name in STUDIES if name != "final"):
        for i, variant in enumerate(variants(study, BASES["quick"], {})):
            tries = variant.tries or ({},)
            changes = key(variant.changes | tries[len(tries) // 2], BASE)
            summary.append({"study": study, "variant": variant.name, "changes": changes, "n": 3,
                            "failures": 0, "accuracy": 80 - i, "deviation": 0.2, "difference": -i,
                            "uncertainty": 0.5 if i else "", "p": 0.01, "clear": i > 0,
                            "tries": len(variant.tries),
                            "edge": False, "parameters": 99, "flops": 10**12, "seconds": 5})
            runs |= {(key(variant.changes | one, BASE), 0): 0.8 for one in tries}
            runs |= {(changes, seed): 0.8 for seed in (1, 2, 3)}
    write_csv(folder / "summary.csv", summary)
    write_json(folder / "base.json", BASE)
    write_csv(folder / "runs.csv", [
        {"changes": changes, "seed": seed, "validation_accuracy": right, "test_accuracy": "",
         "train_accuracy": 0.75, "failure": "", **ENVIRONMENT}
        for (changes, seed), right in runs.items()])


def write_insights(folder):
    write_json(folder / "mistakes.json", SHIPPED | {
        "images": 1000, "error": 0.1, "calibration_error": {"one view": 0.12, "six views": 0.13},
        "most_frequent_mistakes": [{"true": "cat", "said": "dog", "images": 23},
                                   {"true": "dog", "said": "cat", "images": 20}],
        "by_class": {name: {"accuracy": 0.9, "look_alikes": 11} for name in CLASSES}})
    write_json(folder / "robustness.json",
               {"about": SHIPPED | {"images": 200}, "clean": 0.9,
                "corruptions": {"fog": [0.8, 0.333], "blur": [0.8, 0.7]}, "attacked_images": 50,
                "epsilons": [0, 1], "attacks": {"FGSM": [0.9, 0.4], "PGD-10": [0.9, 0.123]}})
    write_npz(folder / "robustness_noise.npz", {},
              {"accuracy": [[0.8, 0.444, 0.2], [0.8, 0.666, 0.3]]})
    write_npz(folder / "features" / "similarity.npz", {},
              {"cka": np.ones((3, 4, 4)), "accuracy": np.full((3, 2), 0.6)})
    about = {"settings": {"n_items": 40}}
    plane = {"xs": np.arange(3), "ys": np.arange(3), "loss": np.full((3, 3), 1.25)}
    for name in NETS:
        write_npz(folder / "landscape" / f"compare_{name}.npz", about,
                  plane | {"eigenvalue": 17.0, "residual": 0.1})
    write_npz(folder / "landscape" / "path.npz", about, plane | {"explained": [0.5, 0.2]})
    write_npz(folder / "learning" / "learning.npz", {},
              {"steps": np.arange(0, 40, 5), "accuracy": np.linspace(0.1, 0.8, 8),
               "loss": np.linspace(2, 1, 8)})


def write_batch_norm(folder):
    """Runs of both nets in each group; with batch norm every number is half of one without."""
    for group, norm, optimizer, lr in (
            ("pair", "none", "sgd", 0.1), ("pair", "batch", "sgd", 0.1),
            ("rates", "none", "sgd", 0.5), ("rates", "batch", "sgd", 0.5),
            ("rescue", "none", "sgd", 0.1), ("rescue", "batch", "sgd", 0.1),
            *(("noise", norm, "sgd", 0.1) for norm in (
                    "none", "batch", "noisy_batch", "noisy_batch_channel")),
            *((group, norm, "sgd", 0.025) for group in ("edge", "init")
              for norm in ("none", "batch")),
            *(("envelope", norm, optimizer, lr) for norm in (
                    "none", "batch") for optimizer in ("adam", "sgd") for lr in (0.001, 0.002))):
        value = 1.0 if norm == "none" else 0.5
        run = {"norm": norm, "lr": lr, "optimizer": optimizer, "seed": 0, "warmup": 0,
               "init": "he" if group == "init" else "glorot", "only_norm": False,
               "batch_size": 128, "probe_every": 50}
        probes = {name: np.full((3, 11), value) for name in (
            "losses", "distances", "cosines", "smoothness", "shift_difference", "shift_relative",
            "shift_cosine", "layer_rayleigh", "weight_norm", "relative_update",
            "activation_dead")}
        write_npz(folder / group / f"{norm}-{optimizer}-{lr:g}-s0.npz",
                  {"run": run, "device": "abacus", "seconds_per_step": 0.1},
                  probes | dict(loss=np.full(500, value), correct=np.full(500, 96),
                                validation_accuracy=[1 - value], probe_steps=[0, 250, 500],
                                gradient_norm=np.full(3, value), probe_loss=[2, 1.2, 1.2],
                                fine_steps=[0, 250, 1000], rayleigh=np.full(3, value),
                                scale_rayleigh=[16.0, 4, 1, 0.25, 0.1]))


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Path:
    """A folder of made-up results and pictures."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("typst")
    tmp_path = tmp_path_factory.mktemp("report")
    write_presets(tmp_path / "results")
    shutil.copy(RESULTS_DIR / "published.csv", tmp_path / "results")
    for base in ("quick", "long"):
        write_studies(tmp_path / "results" / "compare" / base)
    write_insights(tmp_path / "results")
    write_batch_norm(tmp_path / "results" / "bn" / "evening")
    rows = [{"norm": norm, "kit_step_seconds": 2, "probe_share_every_100_steps": 0.04,
             "ours": {"float32": {"step_seconds": seconds, "ratio": 2, "rate_over_gemm": 0.9}}}
            for norm, seconds in (("none", 1.0), ("batch", 1.37))]
    write_json(tmp_path / "results" / "bn" / "bench.json",
               {"rows": rows, "batch_size": 128, "gemm_flops_per_second": {"float32": 2e11},
                **ENVIRONMENT})
    for name in PICTURES:
        path = tmp_path / "figures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (60, 30)).save(path)
    settings = {"title": "Hedgehogs", "student": "Mecki", "student_id": "4711", "code": "",
                "dataset": "https://example.org", "weights": ""}
    write_json(tmp_path / "report.json", settings)
    return tmp_path


@pytest.fixture
def flags(made_up, tmp_path) -> list:
    """What names a copy of them."""
    shutil.copytree(made_up, tmp_path, dirs_exist_ok=True)
    return ["--results", tmp_path / "results", "--figures", tmp_path / "figures",
            "--settings", tmp_path / "report.json", "--out", tmp_path / "report.pdf"]


def test_its_numbers_are_those_of_the_results(succeeds, flags):
    pypdf = pytest.importorskip("pypdf")
    out = succeeds(report, *flags)
    assert re.findall(r"^left out +(.+):", out, flags=re.M) == ["code and weights"]
    pdf = flags[-1].read_bytes()
    pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]
    text = " ".join(" ".join(pages).split())
    for expected in ("Hedgehogs", "Mecki", "4711", "9.00 ± 1.00 %", "7.70 ± 1.00 %",
                     "1,234 in all", "0a1b2c", "76.54 %", "10.0 minutes for it", "43 images",
                     "12.3 %", "33.3 % (fog)", "to 44.4 %", "37 % longer", "−1.00 ± 0.50",
                     "loses 1.00 ± 0.50 points", "The design did not win", "abacus"):
        assert expected in text, expected
    assert "Code:" not in text and "Weights:" not in text
    succeeds(report, *flags)
    assert flags[-1].read_bytes() == pdf


def test_a_name_is_printed_in_its_own_script(succeeds, refused, flags):
    pypdf = pytest.importorskip("pypdf")
    pytest.importorskip("pylopdf_fonts_zh_cn")
    settings = read_json(flags[5])
    write_json(flags[5], settings | {"student": "张三 Łukasz Иван"})
    succeeds(report, *flags)
    first = pypdf.PdfReader(flags[-1]).pages[0]
    fonts = {str(font.get_object()["/BaseFont"]) for font in first["/Resources"]["/Font"].values()}
    assert "张三 Łukasz Иван" in first.extract_text()
    assert any("NotoSerif" in font for font in fonts), fonts
    write_json(flags[5], settings | {"student": "Mecki \U000e1234"})
    assert "no font here can print" in refused(report, *flags)


def test_a_photograph_in_a_picture_of_lines_keeps_its_colours(tmp_path):
    image = pytest.importorskip("PIL.Image")
    drawn, photograph = image.new("RGB", (800, 600), "white"), image.radial_gradient("L")
    bands = photograph, photograph.rotate(90), image.linear_gradient("L")
    drawn.paste(image.merge("RGB", bands).resize((64, 64)), (320, 320))
    drawn.save(tmp_path / "source.png")
    assert not report.looks_alike(drawn, drawn.quantize(8)) and report.looks_alike(drawn, drawn)
    with image.open(report.for_print(tmp_path / "source.png", tmp_path / "target", 1)) as made:
        assert report.looks_alike(drawn, made)


def test_a_study_of_your_own_that_has_not_run_does_not_stop_the_report(made_up, monkeypatch):
    monkeypatch.setitem(STUDIES, "mine", None)
    found = comparisons_for_report(made_up / "results" / "compare" / "quick" / "summary.csv")
    assert found["studies"].keys() == STUDIES.keys() - {"mine", "final"}


def test_a_name_that_is_a_number_is_one_line(refused, flags):
    write_json(flags[5], read_json(flags[5]) | {"student_id": 4711})
    assert "weights, each in quotes" in refused(report, *flags)


def test_pictures_have_the_pixels_that_are_printed(tmp_path):
    image = pytest.importorskip("PIL.Image")
    source, target = tmp_path / "source.png", tmp_path / "folder" / "picture"
    ramp = image.linear_gradient("L").resize((2000, 1000))
    noise = image.merge("RGB", [image.effect_noise((2000, 1000), 200) for _ in range(3)])
    printed = (round(report.DPI * 8.5 / 2.54), round(report.DPI * 4.25 / 2.54))  # half of 17 cm
    for drawn, size, suffix in ((ramp.convert("RGBA"), printed, ".png"),
                                (image.new("RGB", (60, 30)), (60, 30), ".png"),
                                (noise, printed, ".jpg")):
        drawn.save(source)
        made = report.for_print(source, target, 0.5)
        with image.open(made) as picture:
            assert picture.size == size and made.suffix == suffix


@pytest.mark.parametrize("part", report_numbers.PARTS)
def test_a_missing_file_and_one_of_another_shape_are_one_line(refused, flags, part):
    file, maker, _ = report_numbers.PARTS[part]
    path = flags[1] / file
    for spoil in (lambda: path.write_bytes(b"{}"), path.unlink):
        spoil()
        said = refused(report, *flags)
        assert path.name in said and maker in said and not flags[-1].exists()


@pytest.mark.parametrize("name", ["evaluation", "mistakes", "robustness"])
def test_a_file_of_other_weights_is_refused(refused, flags, name):
    path = flags[1] / f"{name}.json"
    path.write_text(path.read_text().replace(SHIPPED["sha1"], "0123456789"))
    said = refused(report, *flags)
    assert f"{path} is of {SHIPPED['checkpoint']}" in said and f"git restore {path}" in said
    assert not flags[-1].exists()


def test_a_missing_picture_is_one_line(refused, flags):
    path = flags[3] / f"{PICTURES[-1]}.png"
    path.unlink()
    said = refused(report, *flags)
    assert f"{PICTURES[-1]}.png is missing" in said and "make figures" in said
    path.write_bytes(b"x")
    assert f"{PICTURES[-1]}.png is no picture" in refused(report, *flags)


def test_words_follow_the_numbers():
    row = {"accuracy": 81.0, "difference": -1.0, "uncertainty": 0.5, "variant": "× 2: 32",
           "clear": True}
    assert says(row) == "loses 1.00 ± 0.50 points"
    assert says(row | {"difference": 1.0}) == "gains 1.00 ± 0.50 points"
    open_ = row | {"clear": False}
    unclear = "makes no clear difference (−1.00 ± 2.00 points)"
    assert says(open_ | {"uncertainty": 2.0}) == unclear
    assert says(open_) == "loses 1.00 ± 0.50 points (uncorrected)"
    assert says(open_ | {"uncertainty": None}) == "differs by −1.00 points in one run"
    assert says(row | {"accuracy": None}) == "fails with every seed"
    assert better_worse_or_unclear(row | {"accuracy": None}) == "worse"
    assert listed(["a", "b", "c"]) == "a, b and c" and listed(["a"]) == "a"
    assert listed(["SGD, plain", "b", "c"]) == "SGD, plain; b and c"
    assert cells(Table("x", ("a", ""), [("`b`", "-1")])) == [["a", ""], ["b", "−1"]]


def test_a_table_in_html():
    table = Table("`x` & **y**", ("a",), [("`b<`",), ("**no**",), ("-1 > -2",)])
    written = template("table.html.j2").render(table=table)
    for part in ("<caption><code>x</code> &amp; <strong>y</strong></caption>",
                 '<th scope="col">a</th>', "<td class=short><code>b&lt;</code></td>",
                 "<td class=short><strong>no</strong></td>", "<td class=short>-1 &gt; -2</td>"):
        assert part in written


def test_the_stages_of_the_network_hold_all_its_parameters():
    stages = report_numbers.network(report_numbers.DEFAULTS)
    assert [stage.get("side") for stage in stages] == [32, 16, 8, 4, None]
    assert sum(int(stage["parameters"].replace(",", "")) for stage in stages) == 1_972_792


def test_settings_that_are_zero_or_one_are_numbers():
    head, *rows = report_numbers.differing_settings(["fast", "better"])
    said = {name: cells for name, *cells in rows}
    assert head == ["setting", "fast", "better"]
    assert said["head lr"] == ["0.67", "1"] and said["cutout"] == ["0", "8"]
    assert said["residual"] == ["no", "yes"] and said["widths"] == ["64, 256, 256", "96, 384, 384"]
