"""The findings of the batch-norm study from made-up runs: claims, verdicts, and their words."""

import dataclasses

import numpy as np
import pytest

from VGG_BatchNorm import draw_paper, findings, plot_study
from VGG_BatchNorm.ground.tables import Strong, markdown
from VGG_BatchNorm.study import Run


def test_steps_to_an_accuracy():
    correct = np.concatenate([np.full(60, 8), np.full(60, 16)])
    run = {"correct": correct, "run": {"batch_size": 16}}
    assert findings.steps_to(run, 0.5) == 50
    assert findings.steps_to(run, 1.0) == 110
    assert findings.steps_to(run | {"correct": correct[:60]}, 0.9) is None
    assert findings.steps_to(run | {"correct": correct[:40]}, 0.1) is None


def test_a_claim_is_judged_seed_by_seed():
    def run(norm: str, accuracy: float, seed: int = 0) -> dict:
        about = {"norm": norm, "lr": 0.5, "seed": seed, "warmup": 0, "only_norm": False}
        return {"run": about, "device": "abacus", "validation_accuracy": np.array([0.1, accuracy])}

    def row(runs: dict) -> str:
        *_, line, _, about = markdown(findings.table(runs)).splitlines()
        assert about.endswith("Computed on abacus.")
        return line.partition("(%), LR 0.5 ")[2]

    runs = {"rates/a": run("none", 0.3), "rates/b": run("batch", 0.6)}
    assert row(runs) == "| 1 | 30 | 60 | yes |"
    runs["rates/b"] = run("batch", 0.2)
    assert row(runs) == "| 1 | 30 | 20 | **no** |"
    # a seed of which one net is missing yet does not count
    runs["rates/c"] = run("none", 0.1, seed=1)
    assert row(runs) == "| 1 | 30 | 20 | **no** |"
    runs["rates/d"] = run("batch", 0.4, seed=1)  # once less, once more
    assert row(runs) == "| 2 | 20 ± 14 | 30 ± 14 | no clear difference |"
    runs |= {f"rates/{net}{seed}": run(net, {"none": 0.2, "batch": 0.5}[net], seed)
             for net in ("none", "batch") for seed in range(2, 6)}
    assert row(runs).endswith("| in 5 of 6 seeds |")
    del runs["rates/b"]
    assert row(runs).startswith("| 5 |") and row(runs).endswith("| yes |")


def test_a_net_that_diverged_or_did_not_get_there_is_not_the_better_one():
    less = findings.Claim("", "", None, findings._less)
    more = findings.Claim("", "", None, findings._more)
    nan, inf, nothing = float("nan"), float("inf"), "no clear difference"
    assert findings._verdict(less, [nan], [0.8]) == findings._verdict(more, [nan], [0.8]) == "yes"
    assert findings._verdict(less, [0.8], [nan]) == findings._verdict(more, [0.8], [nan]) == "no"
    assert findings._verdict(less, [inf], [190.0]) == "yes"
    assert findings._verdict(less, [5.0], [inf]) == "no"
    assert isinstance(findings._verdict(less, [5.0], [inf]), Strong)
    assert findings._verdict(less, [inf], [inf]) == findings._verdict(less, [nan], [nan]) == nothing
    assert findings._spread([inf, 3.0]) == "3 (in 1 of 2)" and findings._spread([nan]) == "–"


def test_medians_over_training_are_not_those_of_its_dense_start():
    nan = [float("nan")] * 7
    run = {"run": {"probe_every": 50}, "probe_steps": np.array([0, 10, 20, 30, 50, 100]),
           "losses": np.array([nan + [0, 0, 0, width] for width in (1, 9, 9, 9, 2, 3)])}
    (band,) = (claim for claim in findings.CLAIMS if claim.quantity.startswith("median width"))
    assert band.measure(run) == 2


def test_beta_is_limited_by_the_grid_where_the_gradient_is_gone_after_the_shortest_step():
    nan = [float("nan")] * 7
    run = {"gradient_norm": np.array([2.0, 2.0, 2.0]),
           "distances": np.array([nan + [2.1, 2, 2, 2], nan + [1, 2, 2, 2], nan + [2.1, 9, 2, 2]]),
           "smoothness": np.array([nan + [4, 2, 1, 0.5], nan + [4, 2, 1, 1], nan + [4, 9, 1, 1]])}
    assert findings.grid_limited(run).tolist() == [True, False, False]


def test_the_scale_on_a_pictures_face():
    def run(**changes) -> dict:
        return {"run": dataclasses.asdict(Run("none", 0.1, 10)) | changes}

    assert "seeds" not in draw_paper.scale([run(), run(warmup=3), run(norm="batch"), run(lr=0.2)])
    assert "10 steps of 128 images out of 45,000; 2 seeds" in draw_paper.scale([run(), run(seed=1)])
    mixed = draw_paper.scale([run(), run(seed=1), run(lr=0.2, steps=2000)], "plain SGD")
    assert "10 to 2,000 steps" in mixed and mixed.endswith("plain SGD; 1 or 2 seeds")


def test_bands_over_unlike_rates_are_not_drawn():
    run = {"run": {"lr": 0.1}}
    draw_paper.same_rates([[run, run], [run, run]])
    with pytest.raises(findings.NotRun):
        draw_paper.same_rates([[run, run], [run]])


def test_nothing_to_draw_is_one_line(call, tmp_path):
    code, _, err = call(plot_study, tmp_path, "--out", tmp_path)
    assert code == 2 and len(err.splitlines()) == 11  # ten pictures, and the line
