"""The findings of the batch-norm study from made-up runs: claims, verdicts, and their words."""

import dataclasses

import numpy as np
import pytest

from codes.documents import report_numbers
from codes.results.words import mean_and_deviation
from VGG_BatchNorm import claims, draw_paper, measures, plot_study
from VGG_BatchNorm.draw_own import FIGURES, HEAD_LOOKS
from VGG_BatchNorm.draw_paper import what_was_trained
from VGG_BatchNorm.ground.files import RESULTS_DIR
from VGG_BatchNorm.ground.style import apart
from VGG_BatchNorm.ground.tables import markdown
from VGG_BatchNorm.run import Run
from VGG_BatchNorm.run_files import FINE_GRID, read_study_run


def test_steps_to_an_accuracy():
    correct = np.concatenate([np.full(60, 8), np.full(60, 16)])
    run = {"correct": correct, "run": {"batch_size": 16}}
    assert measures.steps_to(run, 0.5) == 50
    assert measures.steps_to(run, 1.0) == 110
    assert measures.steps_to(run | {"correct": correct[:60]}, 0.9) is None
    assert measures.steps_to(run | {"correct": correct[:40]}, 0.1) is None


def run_of(norm: str, seed: int = 0, lr: float = 0.5, right: float = 0.1, steps: int = 500,
           **more) -> dict:
    """A run at which only the training accuracy matters."""
    about = dataclasses.asdict(Run(norm, lr, steps, seed=seed, **more))
    return {"run": about, "device": "abacus", "correct": np.full(steps, 128 * right),
            "loss": np.full(steps, 1.0)}


def test_a_claim_is_a_difference_over_seeds_with_its_interval():
    def row(runs: dict) -> str:
        *_, line, _, about = markdown(claims.claims_table(runs)).splitlines()
        assert about.endswith("Computed on abacus.")
        return line.partition("three linear layers ")[2]

    runs = {"rates/a": run_of("none", right=0.3), "rates/b": run_of("batch", right=0.6)}
    assert row(runs) == "| 1 | 30.0 | 60.0 | +30.0 | 7.82 / 51.6 | one seed only |"
    # a seed of which one net is missing yet does not count
    runs["rates/c"] = run_of("none", 1, right=0.1)
    assert row(runs).startswith("| 1 | 30.0 | 60.0 |")
    runs["rates/d"] = run_of("batch", 1, right=0.2)  # differences of 30 and 10: t = 12.7 at n = 2
    assert row(runs) == ("| 2 | 20.0 ± 14.1 | 40.0 ± 28.3 | +20 ± 127 | 7.82 / 51.6 "
                         "| unclear |")
    for seed in (2, 3, 4):
        runs |= {f"rates/{norm}{seed}": run_of(norm, seed, right=0.1 + 0.2 * (norm == "batch"))
                 for norm in ("none", "batch")}
    assert row(runs).startswith("| 5 |") and row(runs).endswith("holds |")
    swapped = {name: run | {"correct": 128 * 0.7 - run["correct"]} for name, run in runs.items()}
    assert row(swapped).endswith("the opposite |")


def test_arms_of_a_claim_may_be_of_two_groups():
    runs = {"rates/a": run_of("none"), "heads/b": run_of("batch", head="batch", right=0.5),
            "heads/c": run_of("batch", head="single", right=0.4),
            "heads/d": run_of("none", head="single", right=0.2)}
    shown = {effect.claim.quantity: pytest.approx((*effect.plain, *effect.normed))
             for effect in claims.effects(runs)}
    assert shown["the same, one linear layer in both nets"] == (20, 40)
    assert shown["the same, batch norm in its linear layers too"] == (10, 50)
    assert len(shown) == 2


def test_a_net_that_diverged_or_did_not_get_there():
    (claim, *_) = claims.CLAIMS
    for plain, normed in (([np.nan] * 2, [0.8] * 2), ([5.0, 6.0], [np.inf, 4.0])):
        assert claims.Effect(claim, plain, normed).says in ("not reached", "unclear")
    assert claims.mean_in_three_digits([np.inf, 3.0]) == "3.00 (in 1 of 2)"
    assert claims.mean_in_three_digits([np.nan]) == "–"


def test_the_curvature_along_the_gradient_of_a_quadratic():
    """On L = c w²/2 it is c, by the fine grid's losses and by those of the edge alike."""
    c, w, lr = 3.0, 2.0, 0.1
    losses = [c * (w - s * lr * c * w) ** 2 / 2 for s in FINE_GRID]
    run = {"run": {"lr": lr}, "losses": np.array([losses, [np.nan] * 11]),
           "probe_loss": np.full(2, c * w * w / 2), "gradient_norm": np.full(2, c * w),
           "probe_steps": np.array([0, 10])}
    steps, values = measures.rate_times_curvature(run)
    assert steps.tolist() == [0] and values == pytest.approx([lr * c])
    run = {"run": {"lr": lr}, "edge_steps": np.array([5]), "edge_curvature": np.full((1, 3), c)}
    assert measures.rate_times_curvature(run)[1] == pytest.approx([lr * c])
    with pytest.raises(measures.NotRun):
        measures.rate_times_curvature({"run": {"lr": lr}})


def test_labels_stand_apart():
    assert apart([1.0, 1.01, 1.02, 3.0], 0.5) == pytest.approx([1.0, 1.5, 2.0, 3.0])
    assert apart([3.0, 1.0, 1.25], 0.5).tolist() == [3.0, 1.0, 1.5]


def test_medians_over_training_are_not_those_of_its_dense_start():
    nan = [float("nan")] * 7
    run = {"run": {"probe_every": 50}, "probe_steps": np.array([0, 10, 200, 210, 250, 300]),
           "losses": np.array([nan + [0, 0, 0, width] for width in (9, 9, 1, 9, 2, 3)])}
    (band,) = (claim for claim in claims.CLAIMS if claim.quantity.startswith("median width"))
    assert band.number_of(run) == 2


def test_the_scale_on_a_pictures_face():
    def run(**changes) -> dict:
        return {"run": dataclasses.asdict(Run("none", 0.1, 10)) | changes}

    assert "seeds" not in what_was_trained([run(), run(warmup=3), run(norm="batch"), run(lr=0.2)])
    assert "10 steps of 128 images out of 45,000; 2 seeds" in what_was_trained([run(), run(seed=1)])
    some = [run(), run(seed=1), run(lr=0.2, steps=2000)]
    mixed = what_was_trained(some, "plain SGD")
    assert "10 to 2,000 steps" in mixed and mixed.endswith("plain SGD; 1 to 2 seeds")
    assert "VGG-A, first 500 steps of" in what_was_trained(some, first=500)
    assert "VGG-A, 10 to 2,000 steps of" in what_was_trained(some, first=2000)


def test_heads_are_drawn_and_told_as_means_over_seeds():
    runs = {}
    for norm, head, warm in HEAD_LOOKS:
        for seed, right in enumerate((0.25, 0.5, 0.75)):
            run = run_of(norm, seed, right=right, head=head, warmup=100 * warm)
            run |= {"watch_steps": np.array([0]), "dead": np.full((1, 10), right)}
            group = "rates" if head == "plain" and not warm else "heads"
            runs[f"{group}/{norm}-{head}-{warm}-{seed}"] = run
            if group == "rates":
                runs[f"pair/{norm}-{seed}"] = run_of(norm, seed, 0.1)
    accuracy, loss, dead, *_ = FIGURES["11_heads"](runs).axes
    at_half = [line.get_ydata()[-1] for line in accuracy.lines if line.get_marker() != "."]
    assert at_half == pytest.approx(len(HEAD_LOOKS) * [50])
    assert all(line.get_ydata() == pytest.approx(50) for line in dead.lines[:2])
    told = report_numbers.heads(runs)
    assert len(told) == len(HEAD_LOOKS)
    assert told["batch-batch"] == {"seeds": 3, "diverged": 0, "accuracy": "50.0 ± 25.0",
                                   "thrown": "1"}


def test_bands_over_unlike_rates_are_not_drawn():
    run = {"run": {"lr": 0.1}}
    draw_paper.same_rates([[run, run], [run, run]])
    with pytest.raises(measures.NotRun):
        draw_paper.same_rates([[run, run], [run]])


def test_bands_leave_out_the_rate_that_is_slowest_without_norm():
    ends = {"none": {0.1: 2.0, 0.2: 1.0, 0.3: 0.5}, "batch": {0.1: 1.0, 0.2: 0.9, 0.3: 3.0}}
    runs = {f"envelope/{norm}-{lr}": {
        "run": {"norm": norm, "lr": lr, "optimizer": "sgd", "precision": "float32", "seed": 0},
        "loss": np.full(60, loss), "test_accuracy": [0.5], "validation_steps": [60]}
        for norm, rates in ends.items() for lr, loss in rates.items()}
    found = report_numbers.bands(runs, "sgd")
    assert [(found[norm]["width"], found[norm]["without_slowest"]) for norm in ends] == [
        ("1.50", "0.50"), ("2.10", "2.10")]


def test_curvature_late_in_training_by_hand():
    run = {"run": {"lr": 0.1}, "edge_steps": np.array([0, 10, 20]),
           "edge_gradient_norm": np.array([9.0, 2.0, 1.0]),
           "edge_curvature": np.array([[99.0, 0, 99.0], [10.0, 0, 3.0], [40.0, 0, 5.0]])}
    assert report_numbers.edge_weighted(run, 10) == pytest.approx(0.1 * (4 * 10 + 40) / 5)
    assert report_numbers.edge_whole(run, 10) == pytest.approx(0.4)


def test_nothing_to_draw_is_one_line(call, tmp_path):
    code, _, err = call(plot_study, tmp_path, "--out", tmp_path)
    assert code == 2 and len(err.splitlines()) == len(FIGURES) + 1  # each, and the line


def test_twins_are_runs_that_differ_in_precision_alone():
    runs = {"pair/a": run_of("batch", right=0.5), "noise/a": run_of("batch", right=0.4,
                                                                    precision="bfloat16"),
            "pair/b": run_of("batch", 1, right=0.3), "noise/b": run_of("batch", 1, right=0.2,
                                                                       precision="bfloat16"),
            "heads/c": run_of("none", head="single", precision="bfloat16"),
            "pair/c": run_of("none")}
    shorter = {name: values[:60] for name, values in runs["noise/a"].items()
               if name in ("loss", "correct")}
    runs["noise/a"] |= shorter  # over 60 steps there, 500 of the other seed: two lines a quantity
    by_steps = {row[1]: row[3:] for row in claims.twins(runs).rows if "accuracy" in row[2]}
    assert by_steps == {"60": ("1", "50.0", "40.0", "−10.0"), "500": ("1", "30.0", "20.0", "−10.0")}
    assert not claims.twins({"pair/a": runs["pair/a"], "heads/c": runs["heads/c"]}).rows
    # a warm-up is another experiment, no other seed; and a twin is no further seed of a group
    warm = {f"rescue/{p}": run_of("batch", 2, warmup=9, precision=p)
            for p in ("float32", "bfloat16")}
    labels = {row[0] for row in claims.twins(runs | warm).rows}
    assert labels == {"batch, LR 0.5", "batch, LR 0.5, warmup 9"}
    assert [run["run"]["precision"] for run in measures.find(warm, "rescue")] == ["float32"]


def test_a_rescue_takes_in_the_runs_of_other_groups_that_were_trained_alike():
    runs = {"rescue/a": run_of("none"), "rates/b": run_of("none", 1),
            "rates/of another length": run_of("none", 2, steps=60),
            "rates/at another rate": run_of("none", 3, lr=0.2),
            "rescue/warm": run_of("none", 4, warmup=9), "heads/warm": run_of("none", 5, warmup=9),
            "heads/another warm-up": run_of("none", 6, warmup=8)}

    def seeds(warm: bool) -> list[int]:
        return [run["run"]["seed"] for run in measures.rescues(
            runs, "none", warm, only_norm=False, head="plain")]

    assert (seeds(False), seeds(True)) == ([0, 1], [4, 5])
    with pytest.raises(measures.NotRun):
        measures.rescues(runs, "group", False, only_norm=False, head="plain")


def test_a_run_that_is_too_short_is_not_judged_at_a_later_step():
    run = run_of("batch", right=0.5)
    assert measures.training_percent(run, 500) == 50
    with pytest.raises(measures.NotRun):
        measures.training_percent(run, 501)


def test_each_claim_has_its_own_quantity():
    """By which the report and the front page name it."""
    assert len({claim.quantity for claim in claims.CLAIMS}) == len(claims.CLAIMS)


def test_the_longer_runs_by_hand():
    runs = {f"long/{path.stem}": read_study_run(path)
            for path in sorted((RESULTS_DIR / "bn" / "full" / "long").glob("*.npz"))}
    found = {effect.claim.quantity: effect for effect in claims.effects(runs)}
    cut = {name: run | {"run": run["run"] | {"steps": 2500}} for name, run in runs.items()}
    for norm, side in (("none", "plain"), ("batch", "normed")):
        mine = [run for name, run in runs.items() if run["run"]["norm"] == norm]
        last = [100 * float(run["test_accuracy"][-1]) for run in mine]
        width = [np.median([max(row[-4:]) - min(row[-4:]) for row, step in zip(
            run["losses"], run["probe_steps"], strict=True) if 1500 <= step < 5000])
            for run in mine]
        assert getattr(found["test accuracy (%) at step 15,000"], side) == pytest.approx(last)
        band = found["the band, ½ to 4 LR, steps 1,500 to 4,999"]
        assert getattr(band, side) == pytest.approx(width, rel=1e-5)
        assert report_numbers.long_pair(runs)[norm]["test"] == mean_and_deviation(last, 1)
    assert band.claim not in [effect.claim for effect in claims.effects(cut)]  # too short for it
