"""The report, from altered results: its numbers are theirs, and what is amiss is one line."""

import io
import math
import re
import shutil
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest

from codes import report
from codes.documents import report_numbers
from codes.documents.page import template
from codes.documents.report_comparisons import comparisons_for_report, repeated_for_report
from codes.results.advice import better_worse_or_unclear, says, short
from codes.results.comparisons import by_study
from codes.results.words import cells, listed, with_spread
from codes.studies import BASES, STUDIES, variants
from VGG_BatchNorm.ground import files
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv, read_json, write_csv, write_json
from VGG_BatchNorm.ground.tables import Table

PICTURES = re.findall(r'#picture\("([^"]+)"', report.SOURCE.read_text())
ALTERED = {  # by file: places in it, each with a number or a name that stands nowhere else
    "evaluation.json": [("accuracy_by_class_six_views", "ship", 0.987)],
    "mistakes.json": [
        ("calibration_error", "six views", 0.136), ("by_class", "ship", "look_alikes", 777),
        ("most_frequent_mistakes", [{"true": "cat", "said": "dog <&>", "images": 23},
                                    {"true": "dog <&>", "said": "cat", "images": 20}])],
    "robustness.json": [("corruptions", "fog", [0.8, 0.7, 0.5, 0.3, 0.057]),
                        ("attacks", "PGD-10", -1, 0.123)],
    "bench.json": [("device", "abacus, beads")],
    "peer.json": [("rows", 0, "recipe_seconds", 606.0)],
    "bn/bench.json": [("rows", 0, "ours", "float32", "step_seconds", 1.0),
                      ("rows", 1, "ours", "float32", "step_seconds", 1.37)],
    "compare/quick/base.json": [("data_md5", "0a1b2c")]}


def altered_results(folder: Path) -> None:
    """A copy of the committed results without what a reader may lack: larger presets, later seeds,
    some groups of the study. The numbers that tests look for are put into it."""
    without = shutil.ignore_patterns("*-s[1-4].npz", "heads", "smooth")
    shutil.copytree(RESULTS_DIR, folder, ignore=without)
    shutil.rmtree(folder / "bn" / "full" / "long")
    for file, places in ALTERED.items():
        content = read_json(folder / file)
        for *way, name, value in places:
            reduce(getitem, way, content)[name] = value
        write_json(folder / file, content)
    presets, scratch, summary = (
        folder / name for name in ("runs.csv", "from_scratch.csv", "compare/quick/summary.csv"))
    run = read_csv(presets, {})[0] | {"parameters": 1234}
    write_csv(presets, [
        run | {"preset": preset, "seed": seed, "test_accuracy": 0.9 + seed / 100,
               "test_accuracy_views": 0.913 + seed / 100}
        for preset in ("fast", "strong") for seed in range(3)])
    write_csv(scratch, [read_csv(scratch, {})[0] | {"test_accuracy": 0.7654}])
    loses = {"accuracy": 80, "difference": -1, "uncertainty": 0.5, "clear": True}
    write_csv(summary, [row | loses if row["variant"] == "DampedMuon (ours)" else row
                        for row in read_csv(summary, {})])
    noise = {"accuracy": [[0.8, 0.444], [0.8, 0.666]]}
    files.write_npz(folder / "robustness_noise.npz", {}, noise)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Path:
    """A folder of altered results and of made-up pictures."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("typst")
    tmp_path = tmp_path_factory.mktemp("report")
    altered_results(tmp_path / "results")
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
                     "1,234 in all", "0a1b2c", "76.54 %", "10.1 minutes for it", "43 images",
                     "12.3 %", "5.7 % (fog)", "to 44.4 %", "37 % more time", "−1.00 ± 0.50",
                     "loses 1.00 ± 0.50 points", "the design is behind", "abacus"):
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
    folder = made_up / "results" / "compare" / "quick"
    found = comparisons_for_report(folder / "summary.csv")
    assert found["studies"].keys() == by_study(folder).keys()


def test_variants_that_the_report_names_are_in_their_studies():
    asked = re.findall(r'(?:of|says)\("(\w+)", "([^"]+)"\)', report.SOURCE.read_text())
    for study, name in asked:
        rows = variants(study, BASES["quick"], {})
        assert name in {short({"variant": row.name}) for row in rows}, name
    assert asked


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
    path.write_text(path.read_text().replace(files.digest(files.SHIPPED_WEIGHTS), "0123456789"))
    said = refused(report, *flags)
    assert f"{path} is of reports/models/cifarnet.pt" in said and f"git restore {path}" in said
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
           "clear": True, "n": 3}
    assert says(row) == "loses 1.00 ± 0.50 points"
    assert says(row | {"difference": 1.0}) == "gains 1.00 ± 0.50 points"
    open_ = row | {"clear": False}
    unclear = "makes no clear difference (−1.00 ± 2.00 points)"
    assert says(open_ | {"uncertainty": 2.0}) == unclear
    assert says(open_) == "loses 1.00 ± 0.50 points (uncorrected)"
    assert says(open_ | {"uncertainty": None}) == "differs by −1.00 points in one run"
    assert says(row | {"accuracy": None}) == "fails with every seed"
    assert better_worse_or_unclear(row | {"accuracy": None}) == "worse"
    assert with_spread(1.0, math.nan, "+") == with_spread(1.0, None, "+") == "+1.00"
    assert with_spread(-1.0, 0.5) == "−1.00 ± 0.50" and with_spread(None, None) == "–"
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


def test_what_was_repeated_is_counted_from_both_summaries(tmp_path):
    """Of the second run, one difference lies outside of its first interval, and one is not clear
    again."""
    for name in ("compare", "compare-xeon"):
        shutil.copytree(RESULTS_DIR / name / "quick", tmp_path / name / "quick")
    first = tmp_path / "compare-xeon" / "quick" / "summary.csv"
    shutil.copy(first, tmp_path / "compare" / "quick")
    before = repeated_for_report(first)
    assert before["outside"] == 0 and before["lost"] == [] and before["clear"] > 3
    rows = read_csv(first, {"difference": float, "uncertainty": float})
    for row in rows:
        if row["variant"] == "tanh":
            row["difference"] -= 1.1 * row["uncertainty"]
        row["clear"] = row["clear"] if row["variant"] != "none" else False
    write_csv(tmp_path / "compare" / "quick" / "summary.csv", rows)
    found = repeated_for_report(first)
    assert found["differences"] == before["differences"] and found["clear"] == before["clear"]
    assert found["outside"] == 1 and found["lost"] == ["“none”"]
