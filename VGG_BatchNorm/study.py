"""One training run of the batch-norm study, with probes: what VGG_Loss_Landscape.py runs many of.

A run's result is one .npz file of plain arrays. Along the first axis: `loss` and `correct` go by
training step (batch cross-entropy in nats; right answers of the batch, before its update);
`validation_*` by epoch; each other array by the steps in `probe_steps`, `fine_steps`, `edge_steps`,
`watch_steps` or `test_steps`; `scale_*` by the factors in `scale`, `theorem_*` by channel;
`validation_anew_accuracy` is one number."""

import contextlib
import dataclasses
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from VGG_BatchNorm import probes
from VGG_BatchNorm.batchnorm import theorem_4_1
from VGG_BatchNorm.ground.checkpoint import load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split
from VGG_BatchNorm.ground.files import write_npz
from VGG_BatchNorm.ground.machine import autocast, environment
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.loaders import BatchLoader
from VGG_BatchNorm.run import TORCH_OPTIMIZERS, Run, fresh_net
from VGG_BatchNorm.run_files import FINE_GRID, GRID, WITH_STATISTICS, read_study_run
from VGG_BatchNorm.VGG import VGG

SAVE_SECONDS = 60  # between checkpoints
EDGE_STEPS = (1 / 16, 1 / 4, 1.0)  # in learning rates, where the curvature is measured
REFIT = 50  # batches, from which running statistics are taken anew
WATCHED = 4  # channels of each ReLU whose first moments are kept
LOOKED_AT = {"grid": [*GRID], "fine_grid": [*FINE_GRID], "edge_steps": [*EDGE_STEPS],
             "watched": WATCHED, "quantiles": [*probes.QUANTILES]}


class StudyRun:
    """A run in progress. Raises UserError: there are fewer training images than the run takes."""

    def __init__(self, run: Run, train: Split, device: torch.device):
        if len(train.labels) < run.n_items:
            raise UserError(f"the run wants {run.n_items} of {len(train.labels)} training images")
        self.run, self.device, self.step, self.seconds = run, device, 0, 0.0
        self.loader = BatchLoader(train.take(slice(run.n_items)), run.batch_size, seed=run.seed)
        self.net = fresh_net(run).to(device)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = TORCH_OPTIMIZERS[run.optimizer](trained, lr=run.lr, fused=True)
        self.record: dict[str, list] = defaultdict(list)
        self.environment = environment(device)  # as it is when the run begins

    def add(self, **values) -> None:
        """Append a value to each of these lists of the record."""
        for name, value in values.items():
            self.record[name].append(value)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Make one update; between its gradient and its step, probe where it is time to."""
        due = self._probe_is_due()
        own = list(self.net.buffers())
        buffers = [b.clone() for b in own] if due or self.run.edge_every else []
        start = time.perf_counter()
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.lr * min(1.0, (self.step + 1) / max(1, self.run.warmup))
        watched = bool(self.run.watch_every) and self.step % self.run.watch_every == 0
        with self._watching() if watched else contextlib.nullcontext(), \
                autocast(self.device, self.run.precision):
            logits = self.net(x).float()
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        edge = bool(self.run.edge_every) and self.step % self.run.edge_every == 0
        if due or edge:
            gradient = {name: p.grad for name, p in self.net.named_parameters() if p.requires_grad}
            at = (loss.item(), gradient) if self.run.precision == "float32" else None
            self.seconds += time.perf_counter() - start
            with _swapped(own, buffers):  # the noise of noisy batch norm hangs on them
                if edge:
                    self._probe_edge(x, y, at)
                if due:
                    before = self._probe(x, y, at, fine=due == "fine")
            start = time.perf_counter()
        self.optimizer.step()
        loss, correct = torch.stack([loss.detach(), (logits.argmax(1) == y).sum()]).tolist()
        self.add(loss=loss, correct=correct)
        self.seconds += time.perf_counter() - start
        if due == "fine":
            with _swapped(own, buffers):
                self._probe_update(x, y, before)
        self.step += 1

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Record, of the forward pass inside, the share of dead units and the first moments.

        Of each activation's input: channels (or units) that are ≤ 0 on the whole batch; mean and
        standard deviation of the first `WATCHED` channels."""
        dead, means, spreads = [], [], []

        def keep(_, args):
            x = args[0].detach().transpose(0, 1).flatten(1)
            dead.append((x.amax(1) <= 0).float().mean().item())
            spread, mean = torch.std_mean(x[:WATCHED].float(), 1)
            means.append(mean.tolist())
            spreads.append(spread.tolist())

        with contextlib.ExitStack() as hooks:
            for layer in self.net.modules():
                if isinstance(layer, (nn.ReLU, nn.Softplus)):
                    hooks.enter_context(layer.register_forward_pre_hook(keep))
            yield
        self.add(watch_steps=self.step, dead=dead, moment_mean=means, moment_std=spreads)

    def _probe_edge(self, x: torch.Tensor, y: torch.Tensor,
                    at: tuple[float, probes.Tensors] | None) -> None:
        """Record ‖g‖ and, from losses, κ(α) along it for α of `EDGE_STEPS` learning rates."""
        found = probes.curvature_from_losses(
            self.net, F.cross_entropy, (x, y), [s * self.run.lr for s in EDGE_STEPS], at=at)
        self.add(edge_steps=self.step, edge_gradient_norm=found["gradient_norm"],
                 edge_curvature=found["curvature"])

    def _probe_is_due(self) -> str:
        run = self.run
        if not run.probe_every or self.step % (10 if self.step < run.dense else run.probe_every):
            return ""
        return "fine" if self.step % (run.fine * run.probe_every) == 0 else "paper"

    def _probe(self, x: torch.Tensor, y: torch.Tensor, at: tuple[float, probes.Tensors] | None,
               fine: bool) -> probes.Tensors:
        """Measure before the update; return the parameters. `at` is as in `probes.probe`."""
        grid = FINE_GRID if fine else GRID
        batch = x, y
        found = probes.probe(self.net, F.cross_entropy, batch, self.run.lr, multipliers=grid, at=at)
        missing = [math.nan] * (len(FINE_GRID) - len(grid))  # the paper's points are the last
        self.add(probe_steps=self.step, probe_loss=found["loss"],
                 gradient_norm=found["gradient_norm"],
                 **{name: missing + found[name]
                    for name in ("losses", "distances", "cosines", "smoothness")})
        activations = probes.activation_statistics(self.net, F.cross_entropy, batch)
        self.add(**{f"activation_{name}": values for name, values in activations.items()})
        return probes.trainable(self.net) if fine else {}

    def _probe_update(self, x: torch.Tensor, y: torch.Tensor, before: probes.Tensors) -> None:
        """Measure around the update that was just made, at the parameters before it."""
        after = probes.trainable(self.net)
        shift = probes.internal_covariate_shift(self.net, F.cross_entropy, (x, y), before, after)
        for key in ("difference", "relative", "cosine"):
            self.add(**{f"shift_{key}": [layer[key] for layer in shift.values()]})
        bent = probes.curvature(self.net, F.cross_entropy, (x, y), before)
        names = list(shift)
        norms = [probes.norm({"": before[name]}) for name in names]
        moved = [probes.norm({"": after[name] - before[name]}) for name in names]
        self.add(fine_steps=self.step, hessian_norm=bent["hessian_norm"],
                 rayleigh=bent["rayleigh"], weight_norm=norms,
                 relative_update=[m / n for m, n in zip(moved, norms, strict=True)],
                 layer_rayleigh=list(bent["layer_rayleigh"].values()))

    def train_to_end(self, validation: Split, checkpoint: Path, bar: tqdm,
                     test: Split | None = None) -> None:
        """Train to the last step or a loss that is not finite; a kill loses a minute at most."""
        saved = time.perf_counter()
        while self.step < self.run.steps and not self.diverged:
            epoch, skip = divmod(self.step, len(self.loader))
            for i, (x, y) in enumerate(self.loader.epoch(epoch)):
                if i < skip:
                    continue
                self.train_step(x, y)
                bar.update()
                ended = self.step >= self.run.steps or self.diverged
                if test and self.run.test_every and (
                        ended or self.step % self.run.test_every == 0):
                    self.add(test_steps=self.step, test_accuracy=validate(self.net, test)[0])
                if ended:
                    break
                if time.perf_counter() - saved > SAVE_SECONDS and i + 1 < len(self.loader):
                    self.save(checkpoint)
                    saved = time.perf_counter()
            share, loss = validate(self.net, validation)
            self.add(validation_steps=self.step, validation_accuracy=share, validation_loss=loss)

    @property
    def diverged(self) -> bool:
        """Whether the last loss is not finite."""
        losses = self.record.get("loss")
        return bool(losses) and not math.isfinite(losses[-1])

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load` goes on from."""
        save_checkpoint(path, "vgg", self.run.network, self.net.state_dict(),
                        lists=dict(self.record), optimizer=self.optimizer.state_dict(),
                        step=self.step, seconds=self.seconds, run=dataclasses.asdict(self.run))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same run. Raises UserError: it is damaged, or of another
        run."""
        saved = load_checkpoint(path, self.device)
        if saved.get("run") != dataclasses.asdict(self.run):
            raise UserError(f"{path} is of a run with other settings, or of an older version; "
                            "move it away")
        self.net.load_state_dict(saved["weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.record = defaultdict(list, saved["lists"])


@contextlib.contextmanager
@torch.no_grad()
def _swapped(tensors: list[torch.Tensor], others: list[torch.Tensor]) -> Iterator[None]:
    """Give these tensors the values of others for a while, then their own again."""
    own = [tensor.clone() for tensor in tensors]
    for tensor, other in zip(tensors, others, strict=True):
        tensor.copy_(other)
    try:
        yield
    finally:
        for tensor, value in zip(tensors, own, strict=True):
            tensor.copy_(value)


def validate(net: nn.Module, split: Split) -> tuple[float, float]:
    """Return the net's accuracy and cross-entropy in nats, in evaluation mode."""
    logits = predict(net, split, batch_size=500)
    return accuracy(logits, split.labels), F.cross_entropy(logits, split.labels).item()


SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def rescaled(net: nn.Module, batch: probes.Batch, lr: float) -> dict[str, list[float]]:
    """Return what becomes of the net when all its filters are multiplied by each c of `SCALES`.

    By name: c itself, the loss, the largest β on the paper's grid, and gᵀHg/‖g‖². Of a net whose
    loss is not finite, all are NaN."""
    net.train()
    filters = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
    result = {"scale": [], "scale_loss": [], "scale_smoothness": [], "scale_rayleigh": []}
    for c in SCALES:
        with _swapped(filters, [c * weight.detach() for weight in filters]):
            found = probes.probe(net, F.cross_entropy, batch, lr)
            bent = probes.curvature(net, F.cross_entropy, batch)
        for name, value in zip(result, (c, found["loss"], max(found["smoothness"]),
                                        bent["rayleigh"]), strict=True):
            result[name].append(value)
    return result


def theorem(net: nn.Module, batch: probes.Batch) -> dict[str, np.ndarray]:
    """Return both sides of `theorem_4_1` by name, for every channel of all batch-norm layers in a
    row, on one batch."""
    given, norms = [], [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]

    def keep(_, args, out):
        out.retain_grad()
        given.append((args[0], out))
        return out.clone()  # the ReLU works in place

    buffers = list(net.buffers())
    with contextlib.ExitStack() as hooks, _swapped(buffers, [b.clone() for b in buffers]):
        hooks.callback(net.zero_grad, set_to_none=True)
        for layer in norms:
            hooks.enter_context(layer.register_forward_hook(keep))
        F.cross_entropy(net.train()(batch[0]), batch[1]).backward()
    sides = [theorem_4_1(y, out.grad, layer) for (y, out), layer in zip(given, norms, strict=True)]
    return {f"theorem_{name}": torch.cat([side[name] for side in sides]).cpu().numpy()
            for name in sides[0]}


def without_noise(study: StudyRun, validation: Split) -> dict[str, list[float]]:
    """Return accuracy and loss (nats) of the net, `validation_anew_*`, on held-out images in
    evaluation mode, where the running statistics are not those of training, but taken anew over
    `REFIT` batches that pass without noise."""
    net = VGG("A", **study.run.network | {"norm": "batch"}).to(study.device)
    net.load_state_dict(study.net.state_dict())
    update_bn((x for x, _ in itertools.islice(study.loader.epoch(0), REFIT)), net)
    share, loss = validate(net, validation)
    return {"validation_anew_accuracy": [share], "validation_anew_loss": [loss]}


def perform(run: Run, train: Split, validation: Split, device: torch.device, results: Path,
            scratch: Path, test: Split | None = None) -> bool:
    """Run `run` to its end and write its file in `results`, unless it is there already.

    Args:
        scratch: folder of the checkpoint.
        test: for runs with `test_every`.

    Returns:
        whether there was anything to do.

    Raises UserError: the file there is damaged, or of a run with other settings."""
    path, checkpoint = results / f"{run.name}.npz", scratch / f"{run.name}.pt"
    if path.exists():
        found = read_study_run(path)
        if (found["run"], found["looked_at"]) != (dataclasses.asdict(run), LOOKED_AT):
            raise UserError(f"{path} is of a run with other settings; move it away, or choose "
                            "another --out")
        return False
    study = StudyRun(run, train, device)
    if checkpoint.exists():
        study.load(checkpoint)
    with tqdm(total=run.steps, initial=study.step, desc=run.name, leave=False) as bar:
        study.train_to_end(validation, checkpoint, bar, test)
    batch = next(study.loader.epoch(0))
    lists = study.record | (rescaled(study.net, batch, run.lr) if run.probe_every else {})
    if run.norm in WITH_STATISTICS:
        lists |= without_noise(study, validation)
    arrays = {name: np.asarray(values, np.float32) for name, values in lists.items()}
    if run.probe_every and run.norm == "batch":
        arrays |= theorem(study.net, batch)
    about = {"run": dataclasses.asdict(run), "looked_at": LOOKED_AT,
             "seconds_per_step": study.seconds / study.step, **study.environment}
    write_npz(path, about, arrays)
    checkpoint.unlink(missing_ok=True)
    return True
