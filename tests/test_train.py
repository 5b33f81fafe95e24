"""Training: what a run leaves, kills and full disks that it survives, flags that it refuses."""

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import ROOT, TINY, TINY_RUN, finish, train_command
from torch import nn

from codes import train, trainer
from codes.networks import NETWORKS, CifarNet, network_arguments, said_of_arguments
from codes.open_weights import restore
from codes.settings import PRESETS, Settings, choose_settings, make_parser
from VGG_BatchNorm.batchnorm import BatchNorm2d
from VGG_BatchNorm.ground import machine
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import load_cifar10
from VGG_BatchNorm.ground.files import read_csv, read_json, write_json
from VGG_BatchNorm.ground.script import UserError

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}


def of_tiny_nets(way: str):
    """The fixture of that name in conftest.py, for train.py on tiny nets and data."""

    @pytest.fixture
    def fixture(request, data_dir):
        return lambda folder, *flags, given=TINY: request.getfixturevalue(way)(
            train, "--data-dir", data_dir, "--out", folder, *given, *flags)

    return fixture


tiny, trained, tiny_refused = map(of_tiny_nets, ("call", "succeeds", "refused"))


@pytest.fixture
def data(data_dir) -> tuple:
    """What a Trainer takes beside its settings."""
    return load_cifar10(data_dir)[0], torch.device("cpu")


@pytest.fixture
def old(finished_run, tmp_path) -> Path:
    """A finished run to be changed."""
    return Path(shutil.copytree(finished_run, tmp_path / "old"))


def read_log(folder: Path) -> list[dict]:
    return read_csv(folder / "log.csv", dict.fromkeys(("epoch", "loss", "accuracy"), float))


def same_state(ours, theirs) -> bool:
    """Equal to the last bit, in nested containers."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same_state(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same_state, ours, theirs))
    return ours == theirs


def assert_same_run(folder, other):
    ours, theirs = (load_checkpoint(path / "last.pt") for path in (folder, other))
    for key in ("weights", "optimizers", "epoch", "random"):
        assert same_state(ours[key], theirs[key]), key
    ours, theirs = (read_json(path / "result.json") for path in (folder, other))
    for key in ("test_accuracy", "test_accuracy_views", "flops"):
        assert ours[key] == theirs[key], key
    ours, theirs = ([(row["epoch"], row["loss"], row["accuracy"]) for row in read_log(path)]
                    for path in (folder, other))
    assert ours == theirs


def test_what_a_run_leaves(finished_run):
    assert {path.name for path in finished_run.iterdir()} == {"config.json", "log.csv", "last.pt",
                                                              "result.json", "training_curves.png"}
    config = read_json(finished_run / "config.json")
    assert config["settings"]["widths"] == [8, 8] and len(config["data_md5"]) == 32
    assert {"torch", "device", "commit"} <= config["environment"].keys()
    rows = read_log(finished_run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] < rows[0]["loss"]
    result = read_json(finished_run / "result.json")
    assert result["test_accuracy"] > 0.3  # brightness tells the ten classes apart
    assert result["images"] == 300 and result["flops"] > 0 and result["seconds"] > 0
    assert result["peak_memory_bytes"] > 2**20


def test_without_tensorboard_its_flag_is_one_line(tiny_refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "pip install tensorboard" in tiny_refused(tmp_path / "run", "--tensorboard")
    assert not (tmp_path / "run").exists()


def test_tensorboard_finds_the_curves(tiny, trained, tmp_path, monkeypatch):
    """Of a run that was stopped between the events of its second epoch and its checkpoint."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def save(run, path, save=trainer.Trainer.save):
        if run.epoch == 2:
            raise KeyboardInterrupt
        save(run, path)

    folder = tmp_path / "run"
    flags = folder, "--epochs", 2, "--validation", "--tensorboard"
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "save", save)
        assert tiny(*flags)[0] == 130
    trained(*flags, "--resume")
    found = EventAccumulator(str(folder)).Reload()
    curves = {name: [(one.step, one.value) for one in found.Scalars(name)]
              for name in found.Tags()["scalars"]}
    assert curves.keys() == {"loss", "accuracy", "validation_accuracy", "lr"}
    steps, losses = zip(*curves["loss"], strict=True)
    assert steps == tuple(range(len(steps)))
    half = len(steps) // 2
    for i, row in enumerate(read_log(folder)):
        assert sum(losses[i * half:(i + 1) * half]) / half == pytest.approx(row["loss"], rel=1e-5)
        step, value = curves["accuracy"][i]
        assert step == (i + 1) * half - 1 and value == pytest.approx(row["accuracy"], rel=1e-5)
    assert curves["lr"][1][1] < curves["lr"][0][1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_runs_end_alike_even_if_every_clock_lies(trained, tmp_path, every_clock_lies,
                                                     precision):
    for name in ("true", "lying"):
        trained(tmp_path / name, "--precision", precision)
        every_clock_lies(random.Random(0))
    assert_same_run(tmp_path / "true", tmp_path / "lying")


@pytest.mark.parametrize("flags, expected", [
    (["--amp"], "bfloat16"), (["--precision", "float32"], "float32"), ([], "bfloat16")])
def test_precision_is_settled_and_written_down(trained, tiny_refused, tmp_path, monkeypatch, flags,
                                               expected):
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2", "avx512_bf16"})
    out = trained(tmp_path, "--epochs", 1, *flags)
    first = out.splitlines()[0]  # the plan
    assert "parameters" in first and "FLOP to train" in first and "minutes" in first
    assert f"in {expected}" in out and f"checkpoint {tmp_path / 'last.pt'}" in out
    assert "test error" in out
    written = read_json(tmp_path / "config.json")["settings"]["precision"]
    assert written == read_json(tmp_path / "result.json")["precision"] == expected
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2"})
    again = tmp_path, "--epochs", 1, "--resume"
    if expected == "float32":
        assert "is complete" in trained(*again)
    else:  # a CPU without such units would go on in float32
        assert "with precision bfloat16, not float32" in tiny_refused(*again)


def test_threads_are_as_many_as_asked_for(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", wanted := Mock())
    trained(tmp_path, "--epochs", 0.2, "--threads", 3)
    wanted.assert_called_once_with(3)


def test_a_run_older_than_a_setting_has_its_default(old):
    config = read_json(old / "config.json")
    wanted = config["settings"] | {"data_md5": config["data_md5"]}
    del config["settings"]["l1"]
    write_json(old / "config.json", config)
    assert train.held_settings(old, wanted, resume=True)["l1"] == 0.0
    with pytest.raises(UserError, match="with l1 0.0, not 0.001"):
        train.held_settings(old, wanted | {"l1": 0.001}, resume=True)


def test_a_config_of_another_shape_is_one_line(tiny_refused, old):
    settings = read_json(old / "config.json")["settings"]
    for config, text in (({"settings": settings}, "config.json lacks data_md5"),
                         ({"settings": None, "data_md5": ""}, "holds no settings"),
                         ({"settings": settings | {"winograd": True}, "data_md5": ""},
                          "of another version, with the setting winograd")):
        write_json(old / "config.json", config)
        assert text in tiny_refused(old, "--resume")


def test_one_value_a_channel_is_one_line(tiny_refused, tmp_path):
    said = tiny_refused(tmp_path / "run", "--widths", "8,8,8,8", "--micro-batch", 1)
    assert "one value a channel; choose another --micro-batch" in said
    with pytest.raises(UserError, match="one value a channel"), trainer._one_line_errors(1):
        BatchNorm2d(2)(torch.zeros(1, 2, 1, 1))


def test_a_rank_without_the_rest_is_one_line(tiny_refused, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    said = tiny_refused(tmp_path / "run")
    assert "WORLD_SIZE, MASTER_ADDR, MASTER_PORT" in said and "unset RANK" in said


def test_compiling_without_a_compiler_is_one_line():
    from torch._inductor.exc import InvalidCxxCompiler  # here: slow to import

    with pytest.raises(UserError, match="--compile does not work here; leave it out .*C\\+\\+"):
        with trainer._one_line_errors(1):
            raise InvalidCxxCompiler
    for other in (RuntimeError("mine"), ValueError("mine")):
        with pytest.raises(type(other), match="mine"), trainer._one_line_errors(1):
            raise other


def test_what_is_frozen_when(data):
    """Of four epochs: the whitening's bias after 30 % of the steps, the first group in the last."""
    config = {"widths": (8, 8), "whiten_bias_share": 0.3, "freeze_share": 0.25}
    run = trainer.Trainer(Settings(batch_size=50, epochs=4, config=config), *data)
    expected, trained = run.flops(), []
    for _ in range(4):
        before = {name: p.detach().clone() for name, p in run.net.named_parameters()}
        run.train_epoch(progress=False)
        trained.append({n for n, p in run.net.named_parameters() if not torch.equal(p, before[n])})
    assert ["stem.bias" in names for names in trained] == [True, True, False, False]
    assert ["groups.0.convs.0.weight" in names for names in trained] == [True, True, True, False]
    assert all("groups.1.convs.1.weight" in names for names in trained)
    config = {"widths": (8, 8), "whiten_bias_share": 0.3}
    assert trainer.Trainer(dataclasses.replace(run.settings, config=config),
                           *data).flops() > expected


def test_validation_leaves_the_test_set_alone(trained, tmp_path):
    out = trained(tmp_path / "run", "--validation", "--epochs", 1)
    result = read_json(tmp_path / "run" / "result.json")
    assert result["images"] == 270
    assert "validation_accuracy" in result and "test_accuracy" not in result
    assert "test" not in out.split()


def test_a_complete_run_is_told_not_repeated(trained, old):
    before = (old / "last.pt").stat().st_mtime_ns
    (old / "training_curves.png").unlink()
    out = trained(old, "--resume")
    assert "complete" in out and "test_accuracy" in out
    assert (old / "last.pt").stat().st_mtime_ns == before
    assert (old / "training_curves.png").exists()


@pytest.mark.parametrize("flags, text",
                         [(["--seed", "1", "--resume"], "seed 0, not 1"), ([], "--resume goes on")])
def test_another_run_in_the_folder_is_kept(tiny_refused, finished_run, flags, text):
    assert text in tiny_refused(finished_run, *flags)


def test_kill_9_at_random_moments_then_resume_ends_alike(data_dir, finished_run, tmp_path):
    """Four kills: the first once an epoch is saved, the others anywhere, start-up included."""
    seed = time.time_ns()
    print(f"seed {seed}")  # shown where the test fails
    folder, chance = tmp_path / "killed", random.Random(seed)
    for attempt in range(4):
        process = subprocess.Popen(train_command(folder, data_dir, "--resume"), **QUIET)
        while attempt == 0 and process.poll() is None and not (folder / "log.csv").exists():
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05 if attempt == 0 else 4))
        process.kill()
        assert "Traceback" not in process.communicate()[1]
        assert attempt > 0 or not (folder / "result.json").exists()  # it came before the end
    done = finish(train_command(folder, data_dir, "--resume"))
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, finished_run)


def test_ctrl_c_leaves_a_resumable_run(data_dir, tmp_path):
    folder = tmp_path / "stopped"
    process = subprocess.Popen(  # which heeds Ctrl-C even where background jobs ignore it
        train_command(folder, data_dir, "--epochs", 200), **QUIET,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while process.poll() is None and not (folder / "log.csv").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in err
    assert "with --resume goes on from there" in err.splitlines()[-1]
    assert load_checkpoint(folder / "last.pt")["epoch"] >= 1


def test_a_full_disk_loses_nothing(tiny, trained, finished_run, tmp_path):
    folder, (soft, hard) = tmp_path / "full", resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (finished_run / "last.pt").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        code, _, err = tiny(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2 and "cannot read or write" in err.splitlines()[-1]
    assert os.listdir(folder) == ["config.json"]
    trained(folder, "--resume")
    assert_same_run(folder, finished_run)


@pytest.mark.parametrize("parent", ["file", "locked"])
def test_a_folder_that_cannot_be_written(tiny, tmp_path, parent):
    if parent == "locked" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = tiny(tmp_path / parent / "run")
    assert code == 2 and "cannot read or write" in err.splitlines()[-1]
    assert str(tmp_path / parent) in err


@pytest.mark.parametrize("step, named", [(8, 9), (11, 12)])  # 6 steps an epoch
def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_last_good_epoch(
        tiny, tmp_path, monkeypatch, step, named):
    plain = trainer.schedule
    monkeypatch.setattr(trainer, "schedule", lambda n, *rest: float("inf") if n == step
                        else plain(n, *rest))
    folder = tmp_path / "run"
    code, _, err = tiny(folder)
    assert code == 2 and f"not finite at step {named};" in err.splitlines()[-1]
    kept = load_checkpoint(folder / "last.pt")
    assert kept["epoch"] == 1 and all(w.isfinite().all() for w in kept["weights"].values())


BAD = {flags: f"argument {flags.split()[0]}: " for flags in (
    "--lr nan", "--lr -1", "--epochs 0", "--batch-size ten", "--micro-batch -5", "--widths 8,x",
    "--preset slow", "--threads -1", "--threads 0", "--seed 1e99", "--weight-decay -1",
    "--label-smoothing 2", "--keep-share 0", "--momentum 1")}
BAD |= {"--batch-size 0": "batch size 0 does not fit", "--batch-size 301": "301 does not fit 300",
        "--n-items 0": "a number from 1 up", "--n-items 999": "takes 1 to",
        "--widths 8,8,8,8 --small-size 8": "images of 8×8",
        "--norm batsh": "unknown 'batsh'", "--depth 0": "depth ≥ 1", "--dropout 1": "dropout < 1",
        "--pool-first -1": "pool_first", "--freeze-share 2": "freeze_share",
        "--device abacus": "device 'abacus'", "--no-such-flag": "arguments: --no-such-flag"}


@pytest.mark.parametrize("flags, named", BAD.items())
def test_a_bad_flag_is_one_clear_line(tiny, tmp_path, flags, named):
    code, _, err = tiny(tmp_path / "run", *flags.split())
    last = err.splitlines()[-1]
    assert code == 2 and named in last and len(last) < 300
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags, line", [
    ("--network vgg_a --norm group", "network vgg_a does not take --norm; it takes --init-weights"),
    ("--network vgg --widths 8,8", "vgg does not take --widths; it takes --configuration, --norm"),
    ("--configuration D", "network cifarnet does not take --configuration"),
    ("--network vgg_a_light --freeze-share 0.5",
     "does not take --freeze-share; it takes no arguments"),
    ("--optimizer adam --momentum 0.9",
     "adam does not take --momentum; it takes --lr, --weight-decay"),
    ("--no-whiten --whiten-bias-share 0", "--whiten-bias-share does nothing with --no-whiten"),
    ("--optimizer sgd --momentum 0 --nesterov", "--nesterov does nothing with --momentum 0"),
    ("--optimizer sgd --bias-lr 0.1", "optimizer sgd does not take --bias-lr"),
    ("--network vgg_a --small-share 1", "cannot take images of 16×16"),
    ("--network vgg --configuration F", "unknown 'F'; choose from A, A-LRN, B"),
    ("--proxy-widths 8,8", "--proxy-widths does nothing without --keep-share"),
    ("--small-size 12", "--small-size does nothing without --small-share"),
    ("--middle-size 20", "--middle-size does nothing without --middle-share"),
    ("--small-share 0.5 --middle-share 0.4", "0.4 ends before --small-share 0.5 does"),
    ("--keep-share 0.5 --augment cutmix", "picks whole images, and --augment cutmix mixes them"),
    ("--optimizer muon --weight-decay 1", "would take 100% of the last layer away at each step")])
def test_a_flag_that_would_do_nothing_is_refused(tiny_refused, tmp_path, flags, line):
    flags = ("--small-share", 0, *flags.split())
    assert line in tiny_refused(tmp_path / "run", *flags, given=TINY_RUN)
    assert not (tmp_path / "run").exists()


def chosen(*flags: str, device: str = "cpu") -> Settings:
    args = make_parser("").parse_args(["--precision", "float32", *flags])
    return choose_settings(args, torch.device(device))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_drops_what_does_not_go_with_the_flags(preset):
    vgg = chosen("--preset", preset, "--network", "vgg_a")
    assert (vgg.small_share, vgg.middle_share, vgg.keep_share) == (0, 0, 1)
    assert (vgg.optimizer, vgg.lr) == ("sgd", 0.1)
    mixed, plain = chosen("--preset", preset, "--augment", "cutmix"), chosen("--preset", preset)
    assert mixed == dataclasses.replace(plain, augment="cutmix", keep_share=1.0)
    with pytest.raises(UserError, match="picks whole images"):
        chosen("--preset", preset, "--augment", "mixup", "--keep-share", "0.5")


def test_the_help_says_what_each_argument_of_a_network_is():
    for name in NETWORKS:
        said = said_of_arguments(name)
        assert all(said.get(argument) for argument in network_arguments(name))
    text = " ".join(make_parser("").format_help().split())
    assert "--pool POOL cifarnet: max, average (default: max)" in text
    assert "--configuration CONFIGURATION vgg: A, A-LRN, B, C, D, E (default: A)" in text


@pytest.mark.parametrize("device, preset", [("cpu", "fast"), ("cuda", "best")])
def test_the_preset_is_the_devices(device, preset):
    assert chosen(device=device) == chosen("--preset", preset, device=device)


def test_a_batch_norm_that_does_not_span_processes_is_refused_in_two(data, monkeypatch):
    for name, value in (("is_initialized", True), ("get_rank", 0), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    group, batch = (Settings(network="vgg", batch_size=50, config={"norm": norm, "width": 0.0625})
                    for norm in ("group", "batch"))
    trainer.Trainer(group, *data)
    with pytest.raises(UserError, match="the batch norm of vgg does not span processes"):
        trainer.Trainer(batch, *data)


def test_every_column_of_the_vgg_table_is_a_flag_away(trained, tmp_path):
    flags = ("--network vgg --configuration B --norm group --width 0.0625 --dropout 0.1 "
             "--epochs 0.2 --small-share 0").split()
    trained(tmp_path, *flags, given=TINY_RUN)
    saved = load_checkpoint(tmp_path / "last.pt")
    assert saved["config"] == {"configuration": "B", "norm": "group", "width": 0.0625,
                               "dropout": 0.1, "init_weights": True, "head": "plain",
                               "smooth": False}
    layers = [type(layer).__name__ for layer in restore(saved).modules()]
    assert layers.count("GroupNorm") == 10 and "Dropout" in layers
    written = read_json(tmp_path / "config.json")["settings"]
    assert written["configuration"] == "B" and "widths" not in written and "whiten" not in written


class Louder(CifarNet):
    """A network with an argument of its own."""

    def __init__(self, widths: tuple[int, ...] = (8, 8), loudness: float = 1.0,
                 whiten_bias_share: float = 0.5):
        super().__init__(widths=widths, whiten_bias_share=whiten_bias_share)
        self.logit_factor *= loudness


@pytest.mark.parametrize("name", ["louder", "cifarnet"])
def test_a_new_network_and_a_new_argument_are_flags_recorded_and_restored(
        trained, tiny_refused, tmp_path, monkeypatch, name):
    monkeypatch.setitem(NETWORKS, name, Louder)
    flags = ("--network", name, "--loudness", 3, "--epochs", 0.2, "--preset", "strong")
    trained(tmp_path, *flags, given=TINY_RUN)
    saved = load_checkpoint(tmp_path / "last.pt")
    share = 0.3 if name == "cifarnet" else 0.5  # presets are for CifarNet
    assert saved["config"] == {"widths": (8, 8), "loudness": 3.0, "whiten_bias_share": share}
    assert restore(saved).logit_factor == 3 / 8
    assert read_json(tmp_path / "config.json")["settings"]["loudness"] == 3
    assert "with loudness 3.0, not 2.0" in tiny_refused(tmp_path, *flags, "--loudness", 2,
                                                        "--resume", given=TINY_RUN)


class Unfit(nn.Module):
    """A network for other data, or of another shape."""

    def __init__(self, outputs: int = 10, way: str = "maps"):
        super().__init__()
        self.layer, self.way = nn.Linear(3072, outputs), way

    def forward(self, x: torch.Tensor):
        out = self.layer(x.flatten(1))
        return {"maps": out[..., None, None], "pair": (out, x), "logits": out}[self.way]


@pytest.mark.parametrize("config, said", [
    ({}, "makes of an image .1, 10, 1, 1., not"), ({"way": "pair"}, "makes of an image tuple, not"),
    ({"way": "logits", "outputs": 100}, "tells 100 classes apart")])
def test_a_new_network_that_does_not_fit_is_one_line(data, monkeypatch, config, said):
    monkeypatch.setitem(NETWORKS, "unfit", Unfit)
    with pytest.raises(UserError, match=f"the network unfit {said}"):
        trainer.Trainer(Settings(network="unfit", config=config, batch_size=60), *data)


class Named(Unfit):
    def __init__(self, momentum: float = 0.1):
        super().__init__()


class Placed(Unfit):
    def __init__(self, device: str = "cpu"):
        super().__init__()


class Deep(Unfit):
    def __init__(self, depth: str = "very"):
        super().__init__()


@pytest.mark.parametrize("network, argument", [(Named, "momentum"), (Placed, "device"),
                                               (Deep, "depth")])
def test_an_argument_that_cannot_be_a_flag_is_one_line(refused, monkeypatch, network, argument):
    monkeypatch.setitem(NETWORKS, "unfit", network)
    assert f"the argument {argument} of the network unfit" in refused(train, "--epochs", 1)


def test_settings_are_checked_and_survive_json():
    for wrong in ({"lr": 0}, {"epochs": float("nan")}, {"batch_size": 8.5},
                  {"flip": "up"}, {"nesterov": "yes"}, {"translate": 16}, {"precision": "auto"},
                  {"network": "resnet"}, {"epoch": 4}, {"configuration": "D"}):
        with pytest.raises(UserError):
            Settings.from_dict(wrong)
    settings = Settings.from_dict({"widths": [8, 8], "lr": 1, "n_items": 20, "validation": True})
    assert settings.config["widths"] == (8, 8) and settings.config["depth"] == 2
    assert Settings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


def test_missing_data_and_a_checkpoint_of_weights_alone_or_damaged(tiny, tiny_refused, old,
                                                                   tmp_path):
    (tmp_path / "checksums.txt").write_text("0 0 0 0 0 0")
    code, _, err = tiny(tmp_path / "run", "--data-dir", tmp_path)
    assert code == 2 and "does not match" in err.splitlines()[-1]
    (old / "result.json").unlink()
    whole = load_checkpoint(old / "last.pt")
    torch.save({name: whole[name] for name in whole if name != "optimizers"}, old / "last.pt")
    assert "cannot be resumed: it holds weights alone" in tiny_refused(old, "--resume")
    os.truncate(old / "last.pt", 1000)
    assert "last.pt is damaged" in tiny_refused(old, "--resume")
    assert (old / "last.pt").stat().st_size == 1000


# 64: by Winograd's algorithm
@pytest.mark.parametrize("flags", ["--optimizer sgd --lr 0.02", "--optimizer adamw --lr 0.01",
                                   "--norm none --no-whiten --residual --depth 2 --dropout 0.05",
                                   "--micro-batch 20 --cutout 4 --flip random --warmup 0.2",
                                   "--network vgg_batchnorm --lr 0.01 --epochs 2 --small-share 0",
                                   "--widths 64,64 --n-items 100", "--widths 24,24 --norm group"])
def test_variants_learn(trained, tmp_path, flags):
    trained(tmp_path, *flags.split(), given=TINY_RUN if "--network" in flags else TINY)
    first, *_, last = (row["loss"] for row in read_log(tmp_path))
    assert last < first - 0.01


def test_the_weights_are_the_mean_over_the_last_share_of_the_steps(data):
    """Of twelve steps, over three; the running statistics of batch norm are, too."""
    averaged, plain = (trainer.Trainer(Settings(
        batch_size=50, epochs=2, average=share, config={"widths": (8, 8)}), *data)
        for share in (0.25, 0.0))
    seen = []
    for number, batch in enumerate([*plain.loader.epoch(0), *plain.loader.epoch(1)]):
        for run in (averaged, plain):
            run.step(*batch, number)
        seen.append({name: t.clone() for name, t in plain.net.state_dict().items()})
    assert len(seen) == 12
    for name, t in averaged.net.state_dict().items():
        if t.is_floating_point():
            torch.testing.assert_close(t, sum(state[name] for state in seen[-3:]) / 3, msg=name)


def test_micro_batches_without_batch_norm_are_the_same_update(data):
    def weights(micro_batch: int) -> list[torch.Tensor]:
        config = {"widths": (8, 8), "norm": "none"}
        settings = Settings(batch_size=60, micro_batch=micro_batch, epochs=1, config=config)
        run = trainer.Trainer(settings, *data)
        run.step(*next(run.loader.epoch(0)), 0)
        return [p.detach() for p in run.net.parameters()]

    for whole, parts in zip(weights(0), weights(25), strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-4, rtol=1e-4)


def test_the_net_trains_on_those_of_highest_loss_in_whole_parts(data, monkeypatch):
    """Of 50 images in parts of 20, 40 % are one part; the proxy sees all, and small ones."""
    seen = []
    plain = trainer.Trainer.forward_backward

    def spy(run, x, labels, targets, batch):
        found = plain(run, x, labels, targets, batch)
        seen.append((run, x, targets, found, batch))
        return found

    monkeypatch.setattr(trainer.Trainer, "forward_backward", spy)
    settings = Settings(batch_size=50, micro_batch=20, epochs=2, keep_share=0.4, select_from=0.5,
                        proxy_widths=(8, 8), proxy_size=12,
                        config={"widths": (8, 8), "whiten_bias_share": 1.0})
    run = trainer.Trainer(settings, *data)
    x, y = next(run.loader.epoch(0))
    for number, kept in ((5, 50), (6, 20)):
        seen.clear()
        loss, right = run.step(x, y, number)
        small = [call for call in seen if call[0] is run.proxy]
        large = [call for call in seen if call[0] is run]
        assert [len(call[1]) for call in small] == [20, 20, 10]
        assert all(call[1].shape[-1] == 12 for call in small)
        assert all(call[4] == 50 for call in seen)
        assert sum(len(call[1]) for call in large) == kept == run.images_kept(number)
    targets = torch.cat([call[2] for call in small])
    logits = torch.cat([call[3][1] for call in small])
    losses = -(targets * logits.log_softmax(1)).sum(1)
    hardest = losses.topk(20).indices.sort().values
    assert torch.equal(large[0][1], x[hardest])
    of_kept = -(large[0][2] * large[0][3][1].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, of_kept)
    assert right == (large[0][3][1].argmax(1) == y[hardest]).sum()
    whole = trainer.Trainer(dataclasses.replace(settings, keep_share=1.0, select_from=0.2,
                                                proxy_widths=(32, 64, 64), proxy_size=16), *data)
    assert run.flops() - run.proxy.flops() == whole.flops() * 70 // 100  # of 12 steps, 6 keep 40 %
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(
        trainer.Trainer(settings, *data).net.parameters(), whole.net.parameters(), strict=True))


SELECT = "--keep-share 0.5 --select-from 0.3 --proxy-widths 8,8 --average 0.5".split()


def test_a_run_that_selects_ends_alike_where_it_was_stopped(tiny, trained, tmp_path, monkeypatch):
    def until_three(self, epoch=trainer.Trainer.train_epoch):
        if self.epoch == 3:
            raise KeyboardInterrupt
        return epoch(self)

    trained(tmp_path / "whole", *SELECT)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "train_epoch", until_three)
        assert tiny(tmp_path / "stopped", *SELECT)[0] == 130
    trained(tmp_path / "stopped", *SELECT, "--resume")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    ours, theirs = (load_checkpoint(tmp_path / name / "last.pt")["proxy"]
                    for name in ("stopped", "whole"))
    assert same_state(ours, theirs)


def test_two_processes_give_the_update_of_one(trained, data_dir, tmp_path):
    """torchrun and gloo, batch norm included: the same global batch, the same weights."""
    # Muon would magnify rounding
    flags = "--epochs 1 --dropout 0 --optimizer sgd --lr 0.01 --precision float32".split()
    # where both keep all, each process's choice is the choice of one
    flags += "--keep-share 0.99 --proxy-widths 8,8".split()
    one, two = tmp_path / "one", tmp_path / "two"
    trained(one, *flags)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
              str(ROOT / "codes" / "train.py"), *train_command(two, data_dir, *flags)[2:]]
    done = finish(launch)
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_checkpoint(path / "last.pt")["weights"] for path in (two, one))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, atol=1e-5, rtol=1e-4, msg=name)
    assert len(done.stdout.split("checkpoint ")) == 2  # one process speaks
