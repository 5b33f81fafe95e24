"""Train a network on CIFAR-10: `make train`, or

    python codes/train.py --preset strong --seed 1
    torchrun --nproc_per_node=2 codes/train.py --preset best      # two GPUs, one global batch

Prints parameters, FLOPs and the minutes to expect, trains on all 50,000 training images and reads
the test set once, at the end. (With --validation: trains on 45,000 of them, watches the other
5,000, and leaves the test set alone.) Leaves in the run folder, runs/<preset>-s<seed>:

    config.json  every setting, versions, device, commit, checksum of the data
    log.csv      a row an epoch
    training_curves.png
    last.pt      weights, and all that --resume needs to end with the same bits
    result.json  final accuracies, seconds, FLOPs

With --tensorboard it leaves event files too: the loss of each step; accuracies and the filters'
learning rate at the last step of each epoch."""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.estimate import expected_seconds
from codes.settings import Settings, choose_settings, make_parser
from codes.trainer import Trainer
from VGG_BatchNorm.ground.cifar10 import Split, data_checksum, load_cifar10, split_validation
from VGG_BatchNorm.ground.files import RUNS_DIR, read_json, write_csv, write_json
from VGG_BatchNorm.ground.machine import environment, peak_memory, use_device
from VGG_BatchNorm.ground.predictions import accuracy, one_and_six_views, predict
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.VGG import get_number_of_parameters


def start_processes(device: str) -> None:
    """Join the group that `torchrun` started, if it did. Raises UserError: RANK alone is set, or
    there are more processes than GPUs."""
    if "RANK" not in os.environ:
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    needed = ["WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"] + ["LOCAL_RANK"] * cuda
    if lacks := [name for name in needed if name not in os.environ]:
        raise UserError(f"the environment sets RANK, as torchrun does, but not {', '.join(lacks)}; "
                        "unset RANK, or start with torchrun")
    if cuda:
        if int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
            raise UserError(f"this machine has {torch.cuda.device_count()} GPUs; "
                            "ask torchrun for as many processes")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")


def held_settings(folder: Path, wanted: dict, resume: bool) -> dict | None:
    """Return the settings of the run that was begun in `folder`; None if none was.

    They must be those `wanted`, the data's checksum among them. A setting that config.json lacks
    was added to the code later; the run counts as having its default. Raises UserError: it holds
    another run, or this one and --resume was not given."""
    if not (folder / "last.pt").exists():
        return None
    config = read_json(folder / "config.json", "settings", "data_md5")
    defaults = Settings(network=wanted["network"]).as_dict()
    older = config["settings"]
    if not isinstance(older, dict):
        raise UserError(f"{folder / 'config.json'} holds no settings; mend it, or move its folder "
                        "away")
    if older.get("network") == wanted["network"] and (unknown := older.keys() - defaults.keys()):
        raise UserError(f"{folder} holds a run of another version, with the setting "
                        f"{min(unknown)}; name another folder with --out")
    held = defaults | older | {"data_md5": config["data_md5"]}
    for name, value in wanted.items():
        if value != held[name]:
            raise UserError(f"{folder} holds a run with {name} {held[name]}, not {value}; "
                            "name another folder with --out")
    if not resume:
        raise UserError(f"{folder} holds this run already; --resume goes on with it, "
                        "--out names another folder")
    return held


def load_data(settings: Settings, folder: Path, device: torch.device) -> tuple[Split, Split, str]:
    """Return training images, held-out images, and what the latter are called."""
    train, held_out = load_cifar10(folder)
    name = "test"
    if settings.validation:
        (train, held_out), name = split_validation(train), "validation"
    if settings.n_items is not None:
        if settings.n_items > len(train.labels):
            raise UserError(f"--n-items takes 1 to {len(train.labels)}, not {settings.n_items}")
        train = train.take(slice(settings.n_items))
    return train.to(device), held_out.to(device), name


def print_plan(trainer: Trainer, train: Split) -> int:
    """Print size, cost and, before the first epoch, expected minutes; return the run's FLOPs."""
    settings, flops = trainer.settings, trainer.flops()
    line = (f"{settings.network}: {get_number_of_parameters(trainer.net):,} parameters, "
            f"{flops / 1e15:.4f} PFLOP to train in {settings.precision}")
    if trainer.epoch == 0 and not dist.is_initialized():
        gpus = [trainer.device] if trainer.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):  # the run is as if nothing had been timed
            seconds = expected_seconds(settings, train, trainer.device)
        line += f", about {seconds / 60:.1f} minutes on {trainer.device.type}"
    if trainer.rank == 0:
        print(line, flush=True)
    return flops


def event_writer() -> type:
    """Return torch's writer of event files. Raises UserError: the package tensorboard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard needs the package tensorboard: "
                        ".venv/bin/python -m pip install tensorboard") from None
    return SummaryWriter


def write_events(events, trainer: Trainer, row: dict) -> None:
    """Write the curves of the epoch that has just ended to a SummaryWriter."""
    for step, loss in enumerate(trainer.step_losses, (trainer.epoch - 1) * len(trainer.loader)):
        events.add_scalar("loss", loss, step)
    rate = trainer.optimizers[-1].param_groups[0]["lr"]
    for name, value in {**row, "lr": rate}.items():
        if name == "lr" or name.endswith("accuracy"):
            events.add_scalar(name, value, step)
    events.flush()


def train_to_end(trainer: Trainer, folder: Path, held_out: Split, name: str, events=None) -> None:
    """Run the epochs that remain; after each one log.csv and last.pt are whole. `events`: a
    SummaryWriter, or None."""
    while trainer.epoch < trainer.epochs:
        start, start_cpu = time.perf_counter(), time.process_time()
        row = {"epoch": trainer.epoch + 1, **trainer.train_epoch()}
        before = trainer.rows[-1] if trainer.rows else {"seconds": 0.0, "cpu_seconds": 0.0}
        row["seconds"] = before["seconds"] + time.perf_counter() - start
        row["cpu_seconds"] = before["cpu_seconds"] + time.process_time() - start_cpu
        if name == "validation":
            row["validation_accuracy"] = accuracy(predict(trainer.net, held_out), held_out.labels)
        trainer.rows.append(row)
        if events:
            write_events(events, trainer, row)
        if trainer.rank == 0:
            trainer.save(folder / "last.pt")
            write_csv(folder / "log.csv", trainer.rows)
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def write_result(trainer: Trainer, folder: Path, held_out: Split, name: str, images: int,
                 flops: int) -> dict:
    """Measure the trained net on `held_out`, with one view and with six; write result.json, and
    return what it holds."""
    logits = predict(trainer.net, held_out, one_and_six_views, progress=True)
    one, six = (accuracy(view, held_out.labels) for view in logits.unbind(1))
    settings, last = trainer.settings, trainer.rows[-1]
    result = {
        "preset": settings.preset, "seed": settings.seed, "images": images,
        "parameters": get_number_of_parameters(trainer.net), "flops": flops,
        "precision": settings.precision, "seconds": last["seconds"],
        "cpu_seconds": last["cpu_seconds"], f"{name}_accuracy": one,
        f"{name}_accuracy_views": six, "peak_memory_bytes": peak_memory(trainer.device),
        **environment(trainer.device)}
    write_json(folder / "result.json", result)
    return result


def draw_picture(folder: Path) -> None:
    """Draw training_curves.png from the run's files, where it is not there yet."""
    if not (folder / "training_curves.png").exists():
        from codes.figures.curves import draw_curves, read_log  # here: matplotlib is slow to import
        from VGG_BatchNorm.ground.style import save_figure

        save_figure(draw_curves(*read_log(folder)), folder / "training_curves.png")


def main() -> None:
    args = make_parser(__doc__).parse_args()
    writer = event_writer() if args.tensorboard else None
    start_processes(args.device)
    device = use_device(args.device, args.threads)
    settings = choose_settings(args, device)
    folder = args.out or RUNS_DIR / f"{settings.preset}-s{settings.seed}"
    data_md5 = data_checksum(args.data_dir)
    held = held_settings(folder, settings.as_dict() | {"data_md5": data_md5}, args.resume)
    if held and (folder / "result.json").exists():
        draw_picture(folder)
        print(f"{folder} is complete:\n{json.dumps(read_json(folder / 'result.json'), indent=1)}")
        return
    if dist.is_initialized():
        if dist.get_rank() == 0:
            load_cifar10(args.data_dir)  # fetched once, not by each
        dist.barrier()
    train, held_out, name = load_data(settings, args.data_dir, device)
    trainer = Trainer(settings, train, device)
    if held:
        trainer.load(folder / "last.pt")
        if trainer.rank == 0:  # a kill may have come between the two files
            write_csv(folder / "log.csv", trainer.rows)
    flops = print_plan(trainer, train)
    if not held and trainer.rank == 0:
        for stale in ("result.json", "log.csv", "training_curves.png"):
            (folder / stale).unlink(missing_ok=True)
        write_json(folder / "config.json", dict(
            settings=settings.as_dict(), environment=environment(device), data_md5=data_md5))
    events = None
    if writer and trainer.rank == 0:  # events beyond the last saved epoch are dropped
        events = writer(folder, purge_step=trainer.epoch * len(trainer.loader))
    train_to_end(trainer, folder, held_out, name, events)
    if dist.is_initialized():  # if one process ends early, torchrun stops the others: wait
        dist.barrier()
        dist.destroy_process_group()
    if trainer.rank:
        return
    result = write_result(trainer, folder, held_out, name, len(train.labels), flops)
    draw_picture(folder)
    one, six = (100 * (1 - result[f"{name}_accuracy{views}"]) for views in ("", "_views"))
    print(f"{name} error {one:.2f} %, with six views {six:.2f} % "
          f"after {result['seconds'] / 60:.1f} minutes of training\n"
          f"checkpoint {folder / 'last.pt'}\nlog        {folder / 'log.csv'}")


if __name__ == "__main__":
    run_main(main, stopped="stopped; the same command with --resume goes on from there")
