"""The study's runs: their measures, resuming, presets and plans, and the pictures of a tiny one."""

import dataclasses
import json
import os
import random

import numpy as np
import pytest
import torch

from VGG_BatchNorm import VGG_Loss_Landscape, claims, plot_study, probes
from VGG_BatchNorm import study as study_module
from VGG_BatchNorm.draw_own import FIGURES
from VGG_BatchNorm.ground import files
from VGG_BatchNorm.ground.cifar10 import load_cifar10, split_validation
from VGG_BatchNorm.ground.files import write_npz
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.run import Run, fresh_net
from VGG_BatchNorm.run_files import read_study_run
from VGG_BatchNorm.study import StudyRun, perform, rescaled, validate, without_noise

CPU = torch.device("cpu")
TINY = dict(width=1 / 16, n_items=96, batch_size=16)
PROBED = Run("batch", 0.1, steps=14, probe_every=3, dense=0, fine=2, **TINY)


@pytest.fixture(scope="module")
def data(data_dir):
    return split_validation(load_cifar10(data_dir)[0])


def same(a: dict, b: dict) -> bool:
    arrays = [name for name, value in a.items() if isinstance(value, np.ndarray)]
    return arrays and all(np.array_equal(a[name], b[name], equal_nan=True) for name in arrays)


def performed(run: Run, data, folder) -> dict:
    """What the run leaves; its checkpoints go to the same folder."""
    assert perform(run, *data, CPU, folder, folder)
    return read_study_run(folder / f"{run.name}.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(data, folder) -> dict:
    """PROBED, which nothing disturbs, in `folder`."""
    return performed(PROBED, data, folder)


def test_a_run_leaves_every_measure(data, folder, whole):
    assert whole["run"] == dataclasses.asdict(PROBED) and whole["seconds_per_step"] > 0
    assert whole["loss"].shape == whole["correct"].shape == (14,)
    assert whole["loss"][-1] < whole["loss"][0]
    assert whole["validation_steps"].tolist() == [6, 12, 14]
    assert whole["probe_steps"].tolist() == [0, 3, 6, 9, 12]
    assert whole["fine_steps"].tolist() == [0, 6, 12]
    np.testing.assert_array_equal(whole["probe_loss"], whole["loss"][[0, 3, 6, 9, 12]])
    for name in ("losses", "distances", "cosines", "smoothness"):
        assert whole[name].shape == (5, 11)
        assert np.isnan(whole[name]).sum() == 2 * 7  # two probes on the paper's four points alone
    for name in ("shift_relative", "shift_cosine", "weight_norm", "relative_update",
                 "layer_rayleigh"):
        assert whole[name].shape == (3, 11) and np.isfinite(whole[name]).all()
    assert whole["shift_difference"][:, 0].tolist() == [0, 0, 0]
    assert whole["activation_quantiles"].shape == (5, 10, 5)
    assert whole["activation_gradient_norms"].shape == whole["activation_dead"].shape == (5, 10)
    assert whole["theorem_measured"].shape == (172,)  # channels of all layers
    np.testing.assert_allclose(whole["theorem_equality"], whole["theorem_measured"], rtol=1e-3)
    assert not perform(PROBED, *data, CPU, folder, folder)  # not again


def test_statistics_taken_anew_are_of_images_without_noise(data, tmp_path):
    anew = []
    for norm in ("batch", "noisy_batch_channel"):
        study = StudyRun(dataclasses.replace(PROBED, norm=norm), data[0], CPU)
        before = [buffer.clone() for buffer in study.net.buffers()]
        anew.append(without_noise(study, data[1]))  # both start with the same weights
        assert all(map(torch.equal, before, study.net.buffers()))
    loss = anew[0]["validation_anew_loss"][0]
    assert anew[0] == anew[1] and loss != validate(study.net, data[1])[1]
    torch.optim.swa_utils.update_bn((x for x, _ in study.loader.epoch(0)), study.net)
    assert abs(validate(study.net, data[1])[1] - loss) > 1e-3  # taken anew with the noise
    left = performed(dataclasses.replace(study.run, steps=2), data, tmp_path)
    assert 0 <= left["validation_anew_accuracy"][0] <= 1


def test_probes_do_not_change_the_run(data, whole, tmp_path):
    plain = performed(dataclasses.replace(PROBED, probe_every=0), data, tmp_path)
    for name in ("loss", "correct", "validation_accuracy"):
        assert np.array_equal(plain[name], whole[name])


def test_interrupted_and_resumed_it_ends_the_same(data, whole, tmp_path, monkeypatch):
    step, calls = StudyRun.train_step, iter(range(100))
    monkeypatch.setattr(study_module, "SAVE_SECONDS", 0)

    def interrupted(self, x, y):
        if next(calls) == 8:
            raise KeyboardInterrupt
        step(self, x, y)

    monkeypatch.setattr(StudyRun, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        performed(PROBED, data, tmp_path)
    assert (tmp_path / f"{PROBED.name}.pt").exists()
    assert same(whole, performed(PROBED, data, tmp_path))
    assert not (tmp_path / f"{PROBED.name}.pt").exists()


def test_a_checkpoint_of_a_run_with_other_settings_is_refused(data, tmp_path):
    StudyRun(PROBED, data[0], CPU).save(tmp_path / "c.pt")
    for change in {"steps": 8}, {"lr": 0.2}, {"head": "single"}:
        other = StudyRun(dataclasses.replace(PROBED, **change), data[0], CPU)
        with pytest.raises(UserError, match="other settings"):
            other.load(tmp_path / "c.pt")


def test_a_run_watches_dead_units_and_the_edge(data, tmp_path):
    run = Run("none", 0.1, 12, watch_every=5, edge_every=4, **TINY)
    found = performed(run, data, tmp_path)
    assert found["watch_steps"].tolist() == [0, 5, 10]
    assert found["dead"].shape == (3, 10) and found["moment_mean"].shape == (3, 10, 4)
    plain = performed(dataclasses.replace(run, watch_every=0, edge_every=0), data, tmp_path / "b")
    assert np.array_equal(found["loss"], plain["loss"])
    study = StudyRun(run, data[0], CPU)
    with torch.no_grad():  # biases that no input overcomes: every unit of the linear layers dies
        study.net.classifier[0].bias.fill_(-1e3)
        study.net.classifier[2].bias.fill_(-1e3)
    study.train_step(*next(study.loader.epoch(0)))
    assert study.record["dead"][0][-2:] == [1.0, 1.0]
    assert max(study.record["dead"][0][:8]) < 1


def test_training_in_bfloat16_is_another_run_and_its_probes_are_float32(data, whole, tmp_path):
    """The probe at step 0 comes before any update: the same bits, but for the step's own loss."""
    half = dataclasses.replace(PROBED, precision="bfloat16")
    assert half.name != PROBED.name
    other = performed(half, data, tmp_path)
    assert other["run"]["precision"] == "bfloat16"
    assert not np.array_equal(whole["loss"], other["loss"])
    np.testing.assert_array_equal(whole["losses"][0], other["losses"][0])
    np.testing.assert_allclose(whole["loss"][:3], other["loss"][:3], rtol=0.02)


@pytest.mark.parametrize("head, linear", [("plain", 3), ("batch", 3), ("single", 1)])
def test_a_head_shares_all_it_can_with_the_plain_one(head, linear):
    plain, net = fresh_net(Run("none", 0.1, 1, **TINY)), fresh_net(
        Run("batch", 0.1, 1, head=head, **TINY))
    for kind, count in ((torch.nn.Conv2d, 8), (torch.nn.Linear, linear)):
        a, b = ([m.weight for m in each.modules() if isinstance(m, kind)] for each in (plain, net))
        assert len(b) == count and all(map(torch.equal, a[-count:], b))
    norms = sum(isinstance(m, torch.nn.BatchNorm1d) for m in net.modules())
    assert norms == (2 if head == "batch" else 0)


def test_he_weights_have_the_variance_that_relus_need():
    glorot, he = (fresh_net(Run("none", 0.1, 1, init=init)) for init in ("glorot", "he"))
    for a, b in zip(glorot.parameters(), he.parameters(), strict=True):
        if a.ndim > 1:
            assert b.var().item() == pytest.approx(2 / b[0].numel(), rel=0.1)
            torch.testing.assert_close(a / a.norm(), b / b.norm())
        else:
            assert not a.any() and not b.any()


def test_only_norm_trains_gamma_and_beta_alone():
    net = fresh_net(Run("batch", 0.1, 1, only_norm=True, **TINY))
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert len(trained) == 16 and all(net.get_parameter(name).ndim == 1 for name in trained)


def test_a_diverged_run_is_kept(data, tmp_path):
    run = Run("none", 1e6, steps=12, **TINY)
    loss = performed(run, data, tmp_path)["loss"]
    assert len(loss) < 12 and np.isfinite(loss[0]) and not np.isfinite(loss[-1])


def test_warm_up_rises_to_the_rate(data):
    study = StudyRun(Run("none", 0.1, 4, warmup=4, **TINY), data[0], CPU)
    rates = []
    for x, y in study.loader.epoch(0):
        study.train_step(x, y)
        rates.append(study.optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


def test_rescaling_leaves_a_normalised_net_its_loss_and_its_weights(data):
    study = StudyRun(Run("batch", 0.1, 1, **TINY), data[0], CPU)
    batch = next(study.loader.epoch(0))
    before = [p.clone() for p in study.net.parameters()]
    found = rescaled(study.net, batch, 0.1)
    assert found["scale_loss"] == pytest.approx([found["scale_loss"][2]] * 5, rel=0.02)
    assert all(torch.equal(a, b) for a, b in zip(study.net.parameters(), before, strict=True))


@pytest.mark.parametrize("change", [{"norm": "batsh"}, {"lr": 0.0}, {"lr": float("nan")},
                                    {"steps": 0}, {"n_items": -1}, {"optimizer": "adam"},
                                    {"optimizer": "lion"}, {"head": "hydra"}, {"fine": 0},
                                    {"probe_every": -1}, {"watch_every": -1},
                                    {"precision": "auto"}])
def test_bad_runs_are_refused(change):
    with pytest.raises(UserError):
        dataclasses.replace(PROBED, **change)


def test_committed_runs_are_all_of_full_and_have_the_names_of_their_settings():
    paths = list(files.RESULTS_DIR.glob("bn/*/*/*.npz"))
    assert all(VGG_Loss_Landscape.done(run, VGG_Loss_Landscape.RESULTS / "full" / group)
               for group, runs in VGG_Loss_Landscape.plan("full").items() for run in runs)
    for path in paths:
        with np.load(path) as file:  # of an old file, settings that came later are the defaults
            assert path.stem == Run(**json.loads(str(file["about"]))["run"]).name


def test_too_few_images(data, tmp_path):
    run = dataclasses.replace(PROBED, n_items=1000)
    with pytest.raises(UserError, match="1000 of 270 training images"):
        perform(run, *data, CPU, tmp_path, tmp_path)


def test_a_damaged_or_foreign_result_is_neither_trusted_nor_overwritten(data, tmp_path,
                                                                        monkeypatch):
    path = tmp_path / f"{PROBED.name}.npz"
    path.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="damaged"):
        perform(PROBED, *data, CPU, tmp_path, tmp_path)
    assert path.read_bytes().startswith(b"PK\x03\x04 half")
    other = dataclasses.replace(PROBED, steps=2, probe_every=0)
    path.unlink()
    perform(other, *data, CPU, tmp_path, tmp_path)
    with pytest.raises(UserError, match="other settings"):
        perform(PROBED, *data, CPU, tmp_path, tmp_path)
    monkeypatch.setitem(study_module.LOOKED_AT, "grid", [1.0])  # probes look elsewhere since
    with pytest.raises(UserError, match="other settings"):
        perform(other, *data, CPU, tmp_path, tmp_path)
    with pytest.raises(UserError, match="with looked_at"):
        VGG_Loss_Landscape.done(other, tmp_path)
    monkeypatch.undo()
    in_bfloat16 = dataclasses.replace(other, precision="bfloat16")
    assert VGG_Loss_Landscape.done(other, tmp_path) and VGG_Loss_Landscape.done(in_bfloat16,
                                                                                tmp_path)
    assert not VGG_Loss_Landscape.done(dataclasses.replace(other, steps=3), tmp_path)
    wider = dataclasses.replace(other, width=2 * other.width)
    with pytest.raises(UserError, match=rf"with width {other.width}, not {wider.width}"):
        VGG_Loss_Landscape.done(wider, tmp_path)
    with pytest.raises(UserError, match="missing"):
        read_study_run(tmp_path / "no.npz")
    write_npz(tmp_path / "old.npz", {"run": {"steps": 2}}, {})
    with pytest.raises(UserError, match="older version"):
        read_study_run(tmp_path / "old.npz")


def test_the_cost_of_probes_is_what_they_compute(data, monkeypatch):
    """Gradients that a run takes, counted, against what the plan says they cost (within a half)."""
    calls = []
    for place, call in (torch.autograd, torch.autograd.grad), (torch.Tensor, torch.Tensor.backward):
        monkeypatch.setattr(place, call.__name__, lambda *args, call=call, **options:
                            calls.append(call) or call(*args, **options))
    study = StudyRun(PROBED, data[0], CPU)
    for x, y in list(study.loader.epoch(0)) * 2:
        study.train_step(x, y)
    run = dataclasses.replace(PROBED, steps=12)
    after = 2 * VGG_Loss_Landscape.VALIDATION_COST + VGG_Loss_Landscape.RESCALED_COST
    assert 0.5 < len(calls) / (VGG_Loss_Landscape.cost(run) - after) < 1.5
    calls.clear()
    rescaled(study.net, next(study.loader.epoch(0)), 0.1)
    assert 0.5 < len(calls) / VGG_Loss_Landscape.RESCALED_COST < 1.5


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Presets of a few steps, and batches that fit the tests' data."""
    monkeypatch.setattr(VGG_Loss_Landscape, "Run", lambda *a, **k: Run(*a, **k, batch_size=16))
    small = dict(width=1 / 16, n_items=96, pair=60, envelope=20, rates=40, rescue=20,
                 heads=20, init=20, edge=30, noise=20, smooth=40, long=120, seeds=1, probe_every=20,
                 dense=0, other_rates=(0.05, 0.2, 0.5), rescue_rates=(0.1,))
    presets = {"quick": small, "evening": small | {"long": 0}, "full": small}
    monkeypatch.setattr(VGG_Loss_Landscape, "PRESETS", presets)
    monkeypatch.setattr(plot_study, "RESULTS_DIR", tmp_path)


def test_the_study_end_to_end(call, succeeds, data_dir, tmp_path, small):
    flags = ["--preset", "quick", "--data-dir", data_dir, "--out", tmp_path / "bn"]
    out = succeeds(VGG_Loss_Landscape, *flags, "--device", "cpu")
    first = out.splitlines()[0]
    assert "preset quick" in first and "minutes" in first
    rows = (tmp_path / "bn" / "quick" / "summary.csv").read_text().splitlines()
    assert len(rows) == 1 + (2 + 6 + 16 + 7) + (20 + 8 + 4 + 5 + 2 + 2)
    out = succeeds(VGG_Loss_Landscape, *flags, "--device", "cpu")
    assert "0 pair, 0 envelope, 0 rates, 0 rescue" in out
    code, _, err = call(plot_study, "--out", tmp_path / "figures")  # of the study that ran last
    gallery = (tmp_path / "figures" / "README.md").read_text()
    assert code == 0 and err == "" and "`quick`" in gallery
    assert len(list((tmp_path / "figures").glob("*.png"))) == len(FIGURES)
    assert gallery.count("![") == len(FIGURES) and "None" not in gallery and "nan" not in gallery
    assert "*Finding:*" not in gallery  # these are of the preset full
    said = sum(map(gallery.count, ("| one seed only |", "| not reached |", "| a check |")))
    accuracies = claims._at_100, claims._at_300, claims._at_500
    later = sum(claim.number_of in accuracies or any(part in claim.quantity for part in (
        "equal loss", "to 99", "to 199", "to 499", "to 2,999", "to 4,999", "step 500 on",
        "step 15,000", "step 10,000", "by Hessian"))
                for claim in claims.CLAIMS)
    assert gallery.count("| 1 |") == said == len(claims.CLAIMS) - later


def test_groups_that_a_preset_lacks_are_one_line(refused, data_dir, tmp_path, small):
    assert "no runs in these groups" in refused(
        VGG_Loss_Landscape, "--preset", "evening", "--groups", "long", "--data-dir", data_dir,
        "--device", "cpu", "--out", tmp_path / "bn")


def test_without_a_folder_the_newest_study_is_drawn(call, refused, tmp_path, small):
    assert "no finished study" in refused(plot_study)
    for age, name in ((100, "old"), (0, "new"), (200, "older")):
        summary = tmp_path / "bn" / name / "summary.csv"
        summary.parent.mkdir(parents=True)
        summary.touch()
        os.utime(summary, (1e9 - age,) * 2)
    code, _, err = call(plot_study, "--out", tmp_path)
    assert code == 2 and f"{tmp_path / 'bn' / 'new'} holds none of the runs" in err


def test_no_clock_has_a_say_in_what_is_run(data, tmp_path, monkeypatch, small):
    device, groups, plans = CPU, list(VGG_Loss_Landscape.GROUPS), []
    for seconds in (1e-9, 0.14, 1e9):
        monkeypatch.setattr(VGG_Loss_Landscape, "step_seconds", lambda *_, s=seconds: s)
        plans.append(VGG_Loss_Landscape.planned_runs(None, groups, data[0], device, tmp_path))
    assert plans[0] == plans[1] == plans[2] and "quick/pair" in plans[0]


def test_two_runs_are_the_same_bits_even_if_every_clock_lies(data, whole, tmp_path,
                                                              every_clock_lies):
    every_clock_lies(random.Random(0))
    assert same(whole, performed(PROBED, data, tmp_path))


def test_a_diverged_pair_is_drawn_and_judged(succeeds, data, tmp_path, small, monkeypatch):
    folder = tmp_path / "mine" / "pair"
    for norm in ("none", "batch"):
        performed(dataclasses.replace(PROBED, norm=norm), data, folder)
    step = StudyRun.train_step

    def explode(self, x, y):
        if self.step == 7:
            with torch.no_grad():
                next(self.net.parameters()).mul_(float("nan"))
        step(self, x, y)

    monkeypatch.setattr(StudyRun, "train_step", explode)
    lost = dataclasses.replace(PROBED, norm="none")
    (folder / f"{lost.name}.npz").unlink()
    assert np.isnan(performed(lost, data, folder)["scale_loss"]).all()
    succeeds(plot_study, folder.parent, "--out", tmp_path / "figures")
    assert (tmp_path / "figures" / "08_rescaled_filters.png").exists()
    assert "Training is faster at the same rate" in (tmp_path / "figures" / "README.md").read_text()


def test_noisy_batch_norm_is_probed_under_the_noise_of_its_update(data, monkeypatch):
    run = dataclasses.replace(PROBED, norm="noisy_batch", fine=1)
    study = StudyRun(run, data[0], CPU)
    losses, loss = [], probes.loss_and_gradient
    monkeypatch.setattr(probes, "loss_and_gradient",
                        lambda *a, **k: losses.append(loss(*a, **k)) or losses[-1])
    x, y = next(study.loader.epoch(0))
    study.train_step(x, y)
    here = study.record["loss"][0]
    fall = run.lr / 256 * study.record["gradient_norm"][0] ** 2
    assert here - losses[0][0] == pytest.approx(fall, rel=0.1)  # of the probe: LR/256 away
    assert losses[11][0] == here  # of the covariate shift, after the update: where it came from
    layers = [m for m in study.net.modules() if hasattr(m, "num_batches_tracked")]
    assert {int(layer.num_batches_tracked) for layer in layers} == {1}
    other = fresh_net(dataclasses.replace(run, seed=1))
    seeds = [{m.seed for m in net.modules() if hasattr(m, "seed")} for net in (study.net, other)]
    assert not seeds[0] & seeds[1]
