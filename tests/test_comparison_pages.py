"""The page of the comparisons: its pictures, its words and the two horizons, from small tables."""

import pytest
from conftest import assert_picture, assert_texts_apart

from codes import plot_compare
from codes.figures import comparisons, horizons
from codes.figures.caption import caption
from codes.results.advice import paragraph
from codes.results.comparisons import Comparisons
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, write_csv, write_json
from VGG_BatchNorm.ground.style import plt, save_figure
from VGG_BatchNorm.measures import NotRun

BASE = {"widths": [8, 8], "epochs": 4, "batch_size": 50, "optimizer": "muon", "lr": 0.2}


def row(variant: str, difference: float | None, uncertainty: float | None = 0.5,
        clear: bool = True, study: str = "depth", **more) -> dict:
    return {"study": study, "variant": variant, "changes": "{}", "n": 3, "failures": 0,
            "accuracy": None if difference is None else 80.0 + difference, "deviation": 0.1,
            "difference": difference, "uncertainty": uncertainty, "p": 0.01, "clear": clear,
            "tries": 0, "edge": False, "parameters": 99, "flops": 1000, "seconds": 5.0} | more


FIRST = row("first: 8, 8", 0.0, None, False)


def write_base(folder, rows: list[dict], **changes):
    write_csv(folder / "summary.csv", rows)
    write_json(folder / "base.json", BASE | changes)
    return folder


@pytest.mark.parametrize("rows, said", [
    ([], ["`first` stands alone"]),
    ([row("a: 9", 2.0, flops=3000), row("b", 3.0, clear=False)],
     ["Take `a` in place of `first`: it gains 2.00 ± 0.50 points, for 3.0 times the FLOPs.",
      "before you choose: `b` (+3.00 ± 0.50)", "clear: 1 of 2", "(“uncorrected” below): 1."]),
    ([row("a", -2.0), row("b", None)],
     ["Keep `first`: nothing", "`a` loses 2.00 ± 0.50 points; `b` fails with every seed"]),
    ([row("a", -2.0), row("b", -3.0), row("c", -1.0)],
     ["3 are clearly worse, from `c`, which loses 1.00 ± 0.50 points, to `b`, which"]),
    ([row("a", -0.1, clear=False, edge=True)],
     ["until more is known", "first or last try for `a`", "zero: 1, within −0.60 to +0.40"]),
    ([row("a", 1.0, None, False, n=1)], ["One pair says nothing of luck: `a`", "1 to 3 seeds"]),
])
def test_the_advice_follows_the_rows(rows, said):
    text = paragraph([FIRST, *rows], BASE)
    assert all(part in text for part in said), text


def test_the_advice_names_the_optimizer_of_a_study_that_has_its_own():
    first = FIRST | {"changes": '{"optimizer": "adamw"}'}
    assert "Keep `first` (under adamw): nothing" in paragraph([first, row("a", -2.0)], BASE)


def test_where_the_first_failed_nothing_is_compared():
    rows = [FIRST | {"accuracy": None}, row("a", None, None, False, accuracy=80.0)]
    assert "`first` failed" in paragraph(rows, BASE)


def test_two_horizons_match_variants_by_name(tmp_path):
    short = write_base(tmp_path / "quick", [
        FIRST, row("turns", -2.0), row("stays", 1.0), row("fades", 3.0), row("gone", 4.0),
        row("fails", 1.0), row("a", 0.0, study="widths"), row("b", 1.0, study="widths"),
        row("c", 0.0, study="final"), row("d", 1.0, study="final")])
    long = write_base(tmp_path / "long", [
        FIRST, row("stays: 9, 9", 1.5), row("turns", 5.0), row("fades", 0.5, None, False, n=1),
        row("fails", None), row("new", 1.0), row("b", 0.0, study="widths"),
        row("a", 1.0, study="widths"), row("c", 0.0, study="final"),
        row("d", 1.0, study="final")], epochs=16, lr=0.1)
    found = horizons.read_horizons(short, long)
    names = [(a["variant"], b["variant"]) for a, b in found[-1]["depth"]]
    assert names == [(name, name) for name in ("first", "turns", "stays", "fades")]
    assert list(found[-1]) == ["depth"]  # the others' first differs, or is of the test set
    text = caption(horizons.draw_horizons, horizons.caption_words(*found))
    for part in ("at widths 8, 8; 4 epochs", "at 8, 8; 16 epochs",
                 "Clear in the same direction at both: 1 of 3. Clear in opposite directions: 1 of "
                 "3. Their intervals do not meet: 1 of 3. The sign turns round, clear or not: 1 "
                 "of 3.", "that of “turns” (depth), from −2.00 to +5.00 points",
                 "One seed has no interval", "differ in lr too"):
        assert part in text, text
    figure = horizons.draw_horizons(*found)
    assert "depth (3, then 1 to 3 seeds),\nagainst first" == figure.axes[0].get_title()
    assert {name.get_text() for name in figure.legends[0].texts} == {
        "8, 8; 4 epochs: clear", "8, 8; 16 epochs: clear", "8, 8; 16 epochs: one seed"}
    save_figure(figure, tmp_path / "h.png")
    assert_picture(tmp_path / "h.png")


def test_horizons_that_share_no_variant_are_not_drawn(tmp_path):
    assert plot_compare.horizons_of(tmp_path) is None
    write_base(tmp_path / "quick", [FIRST, row("a", 1.0)])
    assert plot_compare.horizons_of(tmp_path) is None
    write_base(tmp_path / "long", [FIRST, row("b", 1.0)])
    assert plot_compare.horizons_of(tmp_path) is None
    found = horizons.read_horizons(tmp_path / "quick", tmp_path / "long")
    assert horizons.caption_words(*found)["told"] == ""
    with pytest.raises(NotRun):
        horizons.draw_horizons(*found)
    write_base(tmp_path / "long", [FIRST, row("a", 1.0, None, False, n=1)])
    assert plot_compare.horizons_of(tmp_path)[-1].keys() == {"depth"}


def test_every_net_is_named_beside_its_mark_and_text_is_large():
    runs = Comparisons(RESULTS_DIR / "compare" / "quick")
    figure = comparisons.draw_cost(runs)
    changes = {one["changes"] for name in comparisons.SIZES for one in runs.studies[name]}
    for axis in figure.axes:
        assert len(axis.texts) == len(changes)
        assert_texts_apart(axis)
    assert min(text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()) >= 14


def test_each_tuned_rate_has_a_panel_with_the_kept_one_circled():
    runs = Comparisons(RESULTS_DIR / "compare" / "quick")
    figure = comparisons.draw_rates(runs)
    panels = {" ".join(axis.get_title("left").split()): axis for axis in figure.axes}
    for row in (row for study in ("optimizers", "losses") for row in runs.studies[study]
                if row["tries"] and " + " not in row["variant"]):
        *_, own, ring = panels[row["variant"]].lines
        tries, kept = runs.tries(row)
        assert list(zip(*own.get_data(), strict=True)) == tries
        assert tuple(end[0] for end in ring.get_data()) == kept


PAGES = [path.parent.name for path in (FIGURES_DIR / "compare").glob("*/README.md")]


@pytest.mark.parametrize("base", PAGES)
def test_the_page_says_what_the_files_say(base):
    results = RESULTS_DIR / "compare"
    written = plot_compare.page(Comparisons(results / base), plot_compare.horizons_of(results))
    there = (FIGURES_DIR / "compare" / base / "README.md").read_text(encoding="utf-8")
    assert there == written, "run codes/plot_compare.py"
