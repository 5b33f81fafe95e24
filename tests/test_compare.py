"""The comparisons: every variant trains, nothing runs twice, the numbers are those of the runs."""

import json
import math
import re
from unittest.mock import Mock

import pytest
import torch
from conftest import assert_picture

from codes import compare, plot_compare, studies
from codes.figures.comparisons import FIGURES
from codes.results import advice, compare_results, comparisons
from codes.results.compare_results import (
    CURVE,
    RUN,
    SUMMARY,
    Results,
    best,
    by_effect,
    outcome,
    summary_rows,
)
from codes.results.presets import PRESET_RUN, SCRATCH_RUN
from codes.settings import DEFAULTS, Settings
from codes.trainer import Trainer
from VGG_BatchNorm.ground.cifar10 import Split, data_checksum
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv, read_json, write_csv, write_json
from VGG_BatchNorm.ground.machine import pick_precision
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.tables import Table, markdown

ROW = dict(validation_accuracy=0.5, test_accuracy=None, parameters=1, flops=1, seconds=1.0,
           failure=None)


@pytest.fixture
def flags(quick, data_dir):
    """compare.py and its flags, for tiny nets and data."""
    return lambda folder, *more: (compare, "--data-dir", data_dir, "--out", folder,
                                  "--device", "cpu", "--base", "quick", *more)


@pytest.fixture
def ask(succeeds, flags, tmp_path):
    """Called with further flags: its stdout."""
    return lambda *more, folder=tmp_path: succeeds(*flags(folder, *more))


def to_do(out: str) -> int:
    """The number of runs that compare.py announces."""
    return int(re.search(r"variants, (\d+) runs to do", out)[1])


@pytest.fixture
def comparison(quick, data_dir, tmp_path) -> compare.Comparison:
    return compare.Comparison(quick, Results(tmp_path, quick), data_dir, torch.device("cpu"))


def rows_of(folder) -> list[dict]:
    return read_csv(folder / "summary.csv", SUMMARY)


def runs_of(folder) -> list[dict]:
    return read_csv(folder / "runs.csv", RUN)


@pytest.mark.parametrize("study", [name for name in studies.STUDIES if name != "final"])
def test_every_variant_trains(quick, comparison, study):
    rows = studies.variants(study, quick, {})
    assert len(rows) >= 4 and len({row.name for row in rows}) == len(rows)
    for variant in rows:
        first = variant.tries[0] if variant.tries else {}
        row, curve = comparison.run(variant.changes | first, 1)
        assert 0 <= row["validation_accuracy"] <= 1 and not row["failure"], variant
        steps = (1, 2) if study != "recipe" else range(1, 9)  # of the base's FLOPs
        assert curve[-1]["step"] in steps and curve[-1]["loss"] > 0 and row["flops"] > 0


@pytest.mark.parametrize("base", studies.BASES)
def test_recipes_cost_what_the_base_costs(base):
    settings = studies.BASES[base] | {"precision": "float32"}
    image = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    images = Split(image.expand(45000, -1, -1, -1), torch.zeros(45000, dtype=torch.long))
    rows = studies.variants("recipe", settings, {})
    first, *others = (Trainer(Settings.from_dict(settings | row.changes), images,
                              torch.device("cpu")).flops() for row in rows)
    assert others == pytest.approx([first] * len(others), rel=0.05) and len(others) >= 10
    assert all(any(settings[name] != value for name, value in row.changes.items())
               for row in rows[1:])


def test_the_same_seed_starts_and_shuffles_alike(comparison):
    changes = {}, {"optimizer": "adam", "activation": "relu"}
    a, b = (comparison.trainer(each, 3) for each in changes)
    for x, y in zip(a.net.parameters(), b.net.parameters(), strict=True):
        assert torch.equal(x, y)
    for (x, _), (y, _) in zip(a.loader.epoch(0), b.loader.epoch(0), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("file", ["curves.csv", "runs.csv"])
def test_a_killed_study_ends_alike(ask, call, flags, tmp_path, monkeypatch, file):
    """Stopped just before the third run's `file` is replaced, and called again."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    asked = ("--study", "depth", "--seeds", 2)
    ask(*asked, folder=whole)
    written = []

    def write_csv(path, rows, write=compare_results.write_csv):
        written.append(path.name)
        if written.count(file) == 3 and path.name == file:
            raise KeyboardInterrupt
        write(path, rows)

    with monkeypatch.context() as patched:
        patched.setattr(compare_results, "write_csv", write_csv)
        assert call(*flags(cut, *asked))[0] == 130
    assert len(runs_of(cut / "quick")) == 2
    assert to_do(ask(*asked, folder=cut)) == 8
    for name in ("runs.csv", "summary.csv", "curves.csv"):
        one, other = ([row | {"seconds": None} for row in read_csv(each / "quick" / name, {})]
                      for each in (whole, cut))
        assert one == other and one
    assert to_do(ask(*asked, folder=cut)) == 0
    assert len(runs_of(cut / "quick")) == 10


def test_tuning_keeps_the_best_try(ask, tmp_path, monkeypatch):
    """Nothing is trained: 0.009 is best for focal, 0.027 for cross-entropy, L2 of 1e-4."""

    def run(self, changes, seed):
        liked = {"focal": 0.009}.get(changes.get("loss"), 0.027)
        off = abs(changes["lr"] - liked) + abs(changes.get("weight_decay", 0.0) - 1e-4)
        return ROW | {"validation_accuracy": 0.5 - off + seed / 100}, []

    monkeypatch.setattr(compare.Comparison, "run", run)
    asked = ("--study", "losses", "--seeds", 2, "--variants", "focal + L2")
    ask(*asked)
    tried = [row for row in runs_of(tmp_path / "quick") if row["seed"] == 0]
    assert len(tried) == 5 + 5 + 3  # cross-entropy's and focal's rates; the strength of L2
    table = {row["variant"]: row for row in rows_of(tmp_path / "quick")}
    assert set(table) == {"cross-entropy", "focal", "cross-entropy + L2", "focal + L2"}
    rates = {name: json.loads(row["changes"])["lr"] for name, row in table.items()}
    assert rates == {"cross-entropy": 0.027, "focal": 0.009, "cross-entropy + L2": 0.027,
                     "focal + L2": 0.009}
    assert json.loads(table["focal + L2"]["changes"])["weight_decay"] == 1e-4
    assert table["focal"]["n"] == 2 and table["focal"]["tries"] == 5
    assert table["focal"]["accuracy"] == pytest.approx(51.49)  # of seeds 1 and 2
    assert to_do(ask(*asked)) == 0


@pytest.mark.parametrize("tries, best, more", [
    (({"lr": 0.1}, {"lr": 0.3}, {"lr": 0.9}), 1, None),
    (({"lr": 0.1}, {"lr": 0.3}, {"lr": 0.9}), 2, {"lr": 2.7}),
    (({"lr": 0.1}, {"lr": 0.3}, {"lr": 0.9}), 0, {"lr": 0.033}),
    (({"lr": 0.9}, {"lr": 0.3}, {"lr": 0.1}), 2, {"lr": 0.033}),
    (({"lr": 0.1, "l1": 1e-6}, {"lr": 0.2, "l1": 2e-6}, {"lr": 0.4, "l1": 4e-6}), 0,
     {"lr": 0.05, "l1": 5e-7}),
    (({"lr": 0.1}, {"lr": 0.3}), 1, None), (({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}), 2, None),
    (({"lr": 0.1}, {"lr": 0.3}, {"l1": 0.9}), 2, None),
    (({"depth": 1}, {"depth": 2}, {"depth": 4}), 2, None),
    (({"loss": "a"}, {"loss": "b"}, {"loss": "c"}), 0, None)], ids=str)
def test_a_series_goes_on_where_its_best_is_at_an_edge(tries, best, more):
    longer = studies.beyond(tries, [float(i == best) for i in range(len(tries))])
    if more is None:
        assert longer is None
    else:
        assert longer == ([*tries, more] if best else [more, *tries])


def test_every_series_of_a_study_can_go_on(quick):
    for study in studies.STUDIES:
        for row in studies.variants(study, quick, {name: {} for name in studies.COMBINED}):
            if row.tries:
                assert studies.beyond(row.tries, [1.0] + [0.0] * (len(row.tries) - 1)), row


def test_tries_are_added_until_the_best_is_inside(quick, ask, tmp_path, monkeypatch):
    """Nothing is trained: Muon's best rate is the base's, that of SGD on filters far above."""

    def run(self, changes, seed):
        liked = quick["lr"] if changes.get("optimizer", "muon") == "muon" else 90.0
        off = abs(math.log(changes.get("lr", quick["lr"]) / liked))
        return ROW | {"validation_accuracy": 0.9 - off / 100}, []

    monkeypatch.setattr(compare.Comparison, "run", run)
    name = "SGD, Nesterov, on filters"
    asked = ("--study", "optimizers", "--seeds", 1, "--variants", name)
    with monkeypatch.context() as patched:
        patched.setattr(compare, "MORE", 0)
        assert to_do(ask(*asked)) == 12
        row = rows_of(tmp_path / "quick")[1]
        assert row["edge"] and row["tries"] == 5 and json.loads(row["changes"])["lr"] == 8.1
    assert to_do(ask(*asked)) == 2  # 24 on seed 0, and the best on seed 1
    rows = rows_of(tmp_path / "quick")
    assert [row["variant"] for row in rows] == ["Muon", name]
    assert not rows[1]["edge"] and rows[1]["tries"] == 8
    assert json.loads(rows[1]["changes"])["lr"] == 71.0 and rows[0]["tries"] == 5
    assert to_do(ask(*asked)) == 0


def test_parts_of_a_study_add_up(ask, refused, flags, tmp_path, monkeypatch):
    """On another base, variant by variant, one seed each."""
    asked = ("--base", "long", "--study", "augmentation", "--seeds", 1, "--variants")
    out = ask(*asked, "none")
    assert out.startswith("augmentation: 2 variants, 2 runs to do, about 0 minutes\n")
    row = rows_of(tmp_path / "long")[1]
    assert row["n"] == 1 and row["difference"] is not None and not row["clear"]
    assert row["uncertainty"] is row["deviation"] is row["p"] is None
    assert to_do(ask(*asked, "flip alone")) == 1
    found = [row["variant"] for row in rows_of(tmp_path / "long")]
    assert found == ["alternating flip, shifts", "none", "flip alone"]
    mine = read_json(tmp_path / "long" / "base.json")["precision"]
    assert mine == pick_precision("auto", torch.device("cpu"))
    other = "bfloat16" if mine == "float32" else "float32"
    monkeypatch.setattr(compare, "pick_precision", lambda name, device: other)
    assert f"precision {mine}, not {other}" in refused(*flags(tmp_path, *asked, "none"))


def test_a_variant_that_fails_is_a_row(ask, succeeds, tmp_path, monkeypatch):
    def broken(base: dict) -> list[studies.Variant]:
        return [studies.Variant("base"), studies.Variant("broken", {"lr": 1e30})]

    monkeypatch.setitem(studies.STUDIES, "depth", broken)
    out = ask("--study", "depth", "--seeds", 2)
    assert "| 2 (2 failed) |" in out and "the loss is not finite at step" in out
    row = rows_of(tmp_path / "quick")[1]
    assert row["accuracy"] is row["difference"] is row["seconds"] is None and row["failures"] == 2
    assert outcome(row) == "failed"
    succeeds(plot_compare, tmp_path / "quick", "--out", tmp_path)
    assert "| depth | broken | – | failed |" in (tmp_path / "README.md").read_text()


def test_a_mistake_of_the_user_is_no_failure_of_a_variant(comparison, monkeypatch):
    monkeypatch.setattr(compare.Trainer, "train_epoch", Mock(side_effect=UserError("no compiler")))
    with pytest.raises(UserError, match="no compiler"):
        comparison.perform({}, 0)
    assert comparison.results.find({}, 0) is None


@pytest.mark.parametrize(
    "more, named", [(("--study", "shapes"), "invalid choice: 'shapes'"),
                    (("--study", "depth", "--variants", "7"), "unknown variant '7'; choose from"),
                    (("--variants", "relu"), "--variants needs one --study")])
def test_unknown_names_are_one_line(call, flags, tmp_path, more, named):
    code, _, err = call(*flags(tmp_path, *more))
    assert code == 2 and named in err and not (tmp_path / "quick" / "runs.csv").exists()


def test_a_variant_changes_only_what_the_base_has(quick, tmp_path):
    with pytest.raises(UserError, match="lable_smoothing, which is no setting of the base"):
        Results(tmp_path, quick).find({"lable_smoothing": 0.1}, 1)


def test_results_of_another_base_or_a_damaged_file_are_refused(quick, data_dir, tmp_path):
    results = Results(tmp_path, quick | {"data_md5": data_checksum(data_dir)})
    results.add({"lr": 0.1}, 1, ROW, [dict(step=1, seconds=1, loss=1)])
    assert Results(tmp_path).rows == results.rows and Results(tmp_path).curves == results.curves
    found = Results(tmp_path).find({"lr": 0.1, "depth": quick["depth"]}, 1)
    assert found["validation_accuracy"] == 0.5
    with pytest.raises(UserError, match="epochs 0.4, not 9"):
        Results(tmp_path, quick | {"epochs": 9})
    older = {name: value for name, value in quick.items() if name != "precision"}
    write_json(tmp_path / "base.json", older)  # from before there was a choice
    with pytest.raises(UserError, match="precision float32, not bfloat16"):
        Results(tmp_path, quick | {"precision": "bfloat16"})
    (tmp_path / "runs.csv").write_text("changes,seed\n{},1\n{}")
    with pytest.raises(UserError, match="runs.csv is damaged"):
        Results(tmp_path)


def test_summary_by_hand(tmp_path):
    results = Results(tmp_path, DEFAULTS)
    accuracies = {"first": [0.80, 0.81, 0.82], "better": [0.82, 0.83, 0.85],
                  "alike": [0.81, 0.81, 0.82], "worse": [0.70, 0.72, 0.71]}
    settled = {name: {"lr": float(i)} for i, name in enumerate(accuracies)}
    for name, values in accuracies.items():
        for seed, value in enumerate(values, 1):
            results.add(settled[name], seed, ROW | {"validation_accuracy": value}, [])
    tries = {"better": ({"lr": 1.0}, {"lr": 7.0})}
    rows = {row["variant"]: row for row in summary_rows("depth", settled, tries, results)}
    assert rows["first"]["accuracy"] == pytest.approx(81)
    assert rows["first"]["deviation"] == pytest.approx(1)
    assert rows["better"]["difference"] == pytest.approx(7 / 3, abs=1e-3)  # 2, 2, 3
    assert rows["better"]["uncertainty"] == pytest.approx(4.3027 / 3, abs=1e-3)  # of 2, 2, 3
    assert rows["worse"]["uncertainty"] == pytest.approx(4.3027 / 3**0.5, abs=1e-3)  # by its own
    assert rows["worse"]["p"] == pytest.approx(0.0033, abs=1e-4)  # t = 10 * √3, two degrees
    assert [name for name, row in rows.items() if row["clear"]] == ["better", "worse"]
    assert [outcome(row) for row in list(rows.values())[1:]] == [
        "better", "no clear difference", "worse"]
    assert rows["better"]["edge"] and rows["better"]["tries"] == 2
    assert best(list(rows.values())) == {"lr": 1.0}
    assert best([rows["first"], rows["alike"], rows["worse"]]) == {}


def test_seeds_that_differ_or_fail_do_not_decide_the_order(tmp_path):
    results = Results(tmp_path, DEFAULTS)
    for name, values in enumerate(([0.80, 0.81, 0.82, 0.90, 0.90], [0.82, 0.83, 0.84],  # first, +2
                                   [0.81, 0.82, 0.83, 0.91, 0.91], [None, None, 0.86])):  # +1
        for seed, value in enumerate(values, 1):
            results.add({"lr": float(name)}, seed, ROW | {
                "validation_accuracy": value, "failure": "" if value else "not finite"}, [])
    rows = summary_rows("depth", {f"{n}": {"lr": float(n)} for n in range(4)}, {}, results)
    assert [row["variant"] for row in by_effect(rows)] == ["0", "2", "1", "3"]
    assert outcome(rows[3]) == "too few pairs"
    said = advice.paragraph(rows, DEFAULTS)
    assert "Failed: `3` with 2 of 3 seeds; their means are of the others." in said


def test_a_base_without_small_images_has_no_study_of_whole_ones():
    assert len(studies.variants("whole_images", studies.BASES["full"], {})) == 1
    assert len(studies.variants("whole_images", studies.BASES["quick"], {})) == 4


def test_the_best_are_put_together(quick, ask, tmp_path, monkeypatch):
    found = {name: {} for name in studies.COMBINED}
    found |= {"augmentation": {"cutout": 8}, "optimizers": {"lr": 0.3}}
    first, second = studies.variants("final", quick, found)
    assert first.changes == {"validation": False}
    assert second.changes == {"validation": False, "cutout": 8, "lr": 0.3}
    for name in studies.COMBINED:
        monkeypatch.setitem(studies.STUDIES, name, lambda base: studies._depth(base)[:2])
    ask("--study", "final", "--seeds", 1)
    # nothing was better: one and the same
    (tested,) = (row for row in runs_of(tmp_path / "quick") if row["test_accuracy"])
    assert not tested["validation_accuracy"]


def test_pictures_and_page(quick, ask, succeeds, refused, tmp_path, monkeypatch):
    """Nothing is trained."""

    def run(self, changes, seed):
        curve = [dict(step=step, seconds=1.0 * step, loss=2.0 / step) for step in (1, 2)]
        right = 0.5 + seed * len(str(changes)) / 1e4
        return ROW | self.environment | {"validation_accuracy": right}, curve

    monkeypatch.setattr(compare.Comparison, "run", run)
    for name in studies.STUDIES:  # a few variants draw the same pictures
        rows = studies.variants(name, quick, {each: {} for each in studies.COMBINED})
        some = [row for row in rows if not row.like][:3] + [
            row for row in rows if row.name == "cross-entropy + L2"]  # another column of that table
        short = [row._replace(tries=row.tries[:2]) for row in some]
        monkeypatch.setitem(studies.STUDIES, name, lambda base, short=short: short)
    names = [name for name in studies.STUDIES if name != "final"]
    ask("--study", *reversed(names), "--seeds", 2)
    found = rows_of(tmp_path / "quick")
    assert list(dict.fromkeys(row["study"] for row in found)) == [
        name for name in comparisons.ORDER if name in names]
    ask("--study", names[0], "--seeds", 2)  # again: it keeps its place
    assert rows_of(tmp_path / "quick") == found
    out = tmp_path / "pictures"
    succeeds(plot_compare, tmp_path / "quick", "--out", out)
    for name in FIGURES:
        assert_picture(out / f"{name}.png")
    page = (out / "README.md").read_text()
    for row in rows_of(tmp_path / "quick"):
        assert f"| {row['variant']} | {row['accuracy']:.2f} ±" in page
    refused(plot_compare, tmp_path / "none")


@pytest.mark.parametrize("study", ["losses", "depth"])
def test_one_study_of_one_variant_is_drawn(quick, ask, succeeds, tmp_path, study):
    first = studies.variants(study, quick, {})[0].name
    ask("--study", study, "--variants", first, "--seeds", 1)
    succeeds(plot_compare, tmp_path / "quick", "--out", tmp_path)
    overview = comparisons.overview(comparisons.by_study(tmp_path / "quick"))
    assert f"| {study} | {first}:" in markdown(overview)


COMMITTED = {"compare/quick/runs.csv": RUN, "compare/quick/curves.csv": CURVE,
             "compare/quick/summary.csv": SUMMARY, "runs.csv": PRESET_RUN,
             "from_scratch.csv": SCRATCH_RUN}


@pytest.mark.parametrize("name", COMMITTED)
def test_a_table_of_numbers_is_read_once_and_written_back_the_same(tmp_path, name):
    rows = read_csv(RESULTS_DIR / name, COMMITTED[name])
    assert rows and not any(value == "" for row in rows for value in row.values())
    for column, kind in COMMITTED[name].items():
        assert all(row.get(column) is None or type(row[column]) is kind for row in rows), column
    write_csv(tmp_path / "again.csv", rows)
    assert (tmp_path / "again.csv").read_bytes() == (RESULTS_DIR / name).read_bytes()


@pytest.mark.parametrize("text",
                         ["n,edge\n1.5,True\n", "n,edge\n1,maybe\n", "n,edge\n1\n", "n\n1,2\n"])
def test_a_cell_of_another_type_is_one_line(tmp_path, text):
    (tmp_path / "t.csv").write_text("n,edge,name\n1,False,\n")
    types = {"n": int, "edge": bool}
    assert read_csv(tmp_path / "t.csv", types) == [{"n": 1, "edge": False, "name": None}]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match="t.csv is damaged"):
        read_csv(tmp_path / "t.csv", types)
    assert read_csv(tmp_path / "none.csv", {}) == []


def test_what_did_not_help_is_all_that_is_not_better():
    row = dict(study="depth", variant="a", accuracy=80.0, difference=0.0, uncertainty=None,
               clear=False)
    rows = [row, row | {"variant": "e", "accuracy": None, "difference": None}]
    rows[1:1] = [row | {"variant": name, "accuracy": 80 + points, "difference": points,
                        "uncertainty": 0.5, "clear": abs(points) > 1}
                 for name, points in (("b", 2), ("c", -2), ("d", 0.1))]
    assert comparisons.without_effect_table({"depth": rows}).rows == [
        ("depth", "d", "+0.10 ± 0.50", "no clear difference"),
        ("depth", "c", "−2.00 ± 0.50", "worse"), ("depth", "e", "–", "failed")]


@pytest.mark.parametrize("name", ["quick", "long"])
def test_the_committed_summaries_are_those_of_the_committed_runs(name):
    """And `make compare` has nothing left to do: ours count as done."""
    results = Results(RESULTS_DIR / "compare" / name)
    base = studies.BASES[name] | {"precision": results.base["precision"]}
    comparison = object.__new__(compare.Comparison)
    comparison.base, comparison.results = base, results
    written = comparisons.by_study(results.folder)
    asked = [study for study in studies.STUDIES if study not in (*comparisons.ASIDE, "final")]
    for study in asked if name == "quick" else set(written) - {"final"}:
        of_study = studies.variants(study, base, {})
        rows = comparison.summary(study, of_study)
        assert rows == written[study]
        if name == "quick":
            assert len(rows) == len(of_study) and min(row["n"] for row in rows) >= 3


def test_every_place_on_the_page_is_a_studys():
    assert set(comparisons.ORDER) <= set(studies.STUDIES)  # one of your own follows them


def test_a_table_in_markdown():
    table = Table("below", ("net", "-1"), [("a", "**no**")])
    assert markdown(table) == "| net | -1 |\n|---|---|\n| a | **no** |\n\nbelow"
    assert markdown(table._replace(note="")).endswith("| **no** |")
