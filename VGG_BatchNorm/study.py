"""One training run of the batch-norm study, with probes: what VGG_Loss_Landscape.py runs many of.

A run's result is one .npz file of plain arrays. Along the first axis: `loss` and `correct` go by
training step (batch cross-entropy in nats; right answers of the batch, before its update);
`validation_*` by epoch; every array named in `PROBED` by the steps in `<group>_steps`.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from VGG_BatchNorm import probes
from VGG_BatchNorm.batchnorm import NoisyBatchNorm2d
from VGG_BatchNorm.ground.checkpoint import load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.files import write_npz
from VGG_BatchNorm.ground.machine import PRECISIONS, autocast, environment
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.loaders import BatchLoader
from VGG_BatchNorm.recorded import FINE_GRID, GRID, read_run
from VGG_BatchNorm.VGG import NORMS, VGG

SAVE_SECONDS = 60  # between checkpoints


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run is; its name is its file's.

    lr is constant, but for `warmup` steps in which it rises from 0. `only_norm`: γ and β of the
    normalisation layers are trained, nothing else. `probe_every` steps (0:
    never) losses and gradients along the step are measured, every tenth step up to `dense`; each
    `fine * probe_every` steps on the fine grid, and curvature and covariate shift besides.
    `precision` is that of training; probes and validation are float32.
    """

    norm: str
    lr: float
    steps: int
    optimizer: str = "sgd"
    seed: int = 0
    warmup: int = 0
    only_norm: bool = False
    width: float = 1.0
    n_items: int = 45_000
    batch_size: int = 128
    probe_every: int = 0
    dense: int = 0
    fine: int = 2
    precision: str = "float32"

    def __post_init__(self):
        if self.norm not in NORMS or self.optimizer not in ("sgd", "adam"):
            raise UserError(f"unknown norm or optimizer: {self.norm}, {self.optimizer}")
        if self.precision not in PRECISIONS[1:]:
            raise UserError(f"a run is in {' or '.join(PRECISIONS[1:])}, not {self.precision}")
        if not 0 < self.lr < math.inf or self.steps < 1:
            raise UserError(f"a run takes lr > 0 and steps ≥ 1, not {self.lr} and {self.steps}")
        if self.optimizer != "sgd" and self.probe_every:
            raise UserError("probes follow the gradient, so probed runs take sgd")
        if self.only_norm and self.norm == "none":
            raise UserError("without a normalisation, there is no γ and β to train alone")
        if min(self.warmup, self.probe_every, self.dense) < 0 or self.fine < 1:
            raise UserError("a run takes warmup, probe_every and dense ≥ 0, and fine ≥ 1")
        if not 1 <= self.batch_size <= self.n_items:
            raise UserError(f"{self.n_items} images are fewer than one batch of {self.batch_size}")

    @property
    def name(self) -> str:
        extra = "-warmup" * bool(self.warmup) + "-only-norm" * self.only_norm
        extra += "-bfloat16" * (self.precision == "bfloat16")
        return f"{self.norm}{extra}-{self.optimizer}-{self.lr:g}-s{self.seed}"


def fresh_net(run: Run) -> nn.Module:
    """The run's network: same filters and matrices, bit for bit, whatever the norm."""
    torch.manual_seed(run.seed)
    plain, net = VGG("A", width=run.width), VGG("A", norm=run.norm, width=run.width)
    shared = ([layer for layer in each.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
              for each in (plain, net))
    for source, target in zip(*shared, strict=True):
        target.load_state_dict(source.state_dict())
        target.requires_grad_(not run.only_norm)
    for layer in net.modules():
        if isinstance(layer, NoisyBatchNorm2d):
            layer.seed += 1000 * run.seed
    return net.to(memory_format=torch.channels_last)


class Record:
    """Lists that grow while training; arrays once it ends."""

    def __init__(self, lists: dict[str, list] | None = None):
        self.lists = lists or {}

    def add(self, **values) -> None:
        for name, value in values.items():
            self.lists.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(values, dtype=np.float32) for name, values in self.lists.items()}


class StudyRun:
    """A run in progress."""

    def __init__(self, run: Run, train: Split, device: torch.device):
        if len(train.labels) < run.n_items:
            raise UserError(f"the run wants {run.n_items} of {len(train.labels)} training images")
        self.run, self.device, self.step, self.seconds = run, device, 0, 0.0
        self.loader = BatchLoader(train.take(slice(run.n_items)), run.batch_size, seed=run.seed)
        self.net = fresh_net(run).to(device)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[run.optimizer]
        self.optimizer = kind(trained, lr=run.lr, fused=True)
        self.record = Record()
        self.environment = environment(device)  # as it is when the run begins

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One update; between its gradient and its step, a probe, if it is time to."""
        due = self._probe_is_due()
        own = list(self.net.buffers())
        buffers = [b.clone() for b in own] if due else []
        start = time.perf_counter()
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.lr * min(1.0, (self.step + 1) / max(1, self.run.warmup))
        with autocast(self.device, self.run.precision):
            logits = self.net(x).float()
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if due:
            gradient = {name: p.grad for name, p in self.net.named_parameters() if p.requires_grad}
            at = (loss.item(), gradient) if self.run.precision == "float32" else None
            self.seconds += time.perf_counter() - start
            with _swapped(own, buffers):  # the noise of noisy batch norm hangs on them
                before = self._probe(x, y, at, fine=due == "fine")
            start = time.perf_counter()
        self.optimizer.step()
        loss, correct = torch.stack([loss.detach(), (logits.argmax(1) == y).sum()]).tolist()
        self.record.add(loss=loss, correct=correct)
        self.seconds += time.perf_counter() - start
        if due == "fine":
            with _swapped(own, buffers):
                self._probe_update(x, y, before)
        self.step += 1

    def _probe_is_due(self) -> str:
        run = self.run
        if not run.probe_every or self.step % (10 if self.step < run.dense else run.probe_every):
            return ""
        return "fine" if self.step % (run.fine * run.probe_every) == 0 else "paper"

    def _probe(self, x: torch.Tensor, y: torch.Tensor, at: tuple[float, probes.Tensors] | None,
               fine: bool) -> probes.Tensors:
        """Measures before the update; `at` is as in `probes.probe`. Returns the parameters."""
        grid = FINE_GRID if fine else GRID
        batch = x, y
        found = probes.probe(self.net, F.cross_entropy, batch, self.run.lr, multipliers=grid, at=at)
        missing = [math.nan] * (len(FINE_GRID) - len(grid))  # the paper's points are the last
        self.record.add(probe_steps=self.step, probe_loss=found["loss"],
                        gradient_norm=found["gradient_norm"],
                        **{name: missing + found[name]
                           for name in ("losses", "distances", "cosines", "smoothness")})
        activations = probes.activation_statistics(self.net, F.cross_entropy, batch)
        self.record.add(**{f"activation_{name}": values for name, values in activations.items()})
        return probes.trainable(self.net) if fine else {}

    def _probe_update(self, x: torch.Tensor, y: torch.Tensor, before: probes.Tensors) -> None:
        """Measures around the update that was just made, at the parameters before it."""
        after = probes.trainable(self.net)
        shift = probes.internal_covariate_shift(self.net, F.cross_entropy, (x, y), before, after)
        for key in ("difference", "relative", "cosine"):
            self.record.add(**{f"shift_{key}": [layer[key] for layer in shift.values()]})
        bent = probes.curvature(self.net, F.cross_entropy, (x, y), before)
        names = list(shift)
        norms = [probes.norm({"": before[name]}) for name in names]
        moved = [probes.norm({"": after[name] - before[name]}) for name in names]
        self.record.add(fine_steps=self.step, hessian_norm=bent["hessian_norm"],
                        rayleigh=bent["rayleigh"], weight_norm=norms,
                        relative_update=[m / n for m, n in zip(moved, norms, strict=True)],
                        layer_rayleigh=list(bent["layer_rayleigh"].values()))

    def train_to_end(self, validation: Split, checkpoint: Path, bar: tqdm) -> None:
        """Train to the last step or a loss that is not finite; a kill loses a minute at most."""
        saved = time.perf_counter()
        while self.step < self.run.steps and not self.diverged:
            epoch, skip = divmod(self.step, len(self.loader))
            for i, (x, y) in enumerate(self.loader.epoch(epoch)):
                if i < skip:
                    continue
                self.train_step(x, y)
                bar.update()
                if self.step >= self.run.steps or self.diverged:
                    break
                if time.perf_counter() - saved > SAVE_SECONDS and i + 1 < len(self.loader):
                    self.save(checkpoint)
                    saved = time.perf_counter()
            accuracy, loss = self.validate(validation)
            self.record.add(validation_steps=self.step, validation_accuracy=accuracy,
                            validation_loss=loss)

    @property
    def diverged(self) -> bool:
        losses = self.record.lists.get("loss")
        return bool(losses) and not math.isfinite(losses[-1])

    @torch.no_grad()
    def validate(self, split: Split) -> tuple[float, float]:
        """Accuracy and cross-entropy in evaluation mode."""
        self.net.eval()
        logits = torch.cat([self.net(normalize(images)) for images in split.images.split(500)])
        right = (logits.argmax(1) == split.labels).float().mean().item()
        return right, F.cross_entropy(logits, split.labels).item()

    def save(self, path: Path) -> None:
        config = {"norm": self.run.norm, "width": self.run.width}
        save_checkpoint(path, "vgg", config, self.net.state_dict(), lists=self.record.lists,
                        optimizer=self.optimizer.state_dict(), step=self.step,
                        seconds=self.seconds, run=dataclasses.asdict(self.run))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same run; `UserError` if it is damaged or of another."""
        saved = load_checkpoint(path, self.device)
        if saved.get("run") != dataclasses.asdict(self.run):
            raise UserError(f"{path} is of a run with other settings, or of an older version; "
                            "move it away")
        self.net.load_state_dict(saved["weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.record = Record(saved["lists"])


@contextlib.contextmanager
@torch.no_grad()
def _swapped(tensors: list[torch.Tensor], others: list[torch.Tensor]) -> Iterator[None]:
    """These tensors with the values of others for a while; then with their own again."""
    own = [tensor.clone() for tensor in tensors]
    for tensor, other in zip(tensors, others, strict=True):
        tensor.copy_(other)
    try:
        yield
    finally:
        for tensor, value in zip(tensors, own, strict=True):
            tensor.copy_(value)


SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def rescaled(net: nn.Module, batch: probes.Batch, lr: float) -> dict[str, list[float]]:
    """Filters × c for each c of `SCALES`: loss, largest β on the paper's grid, and gᵀHg/‖g‖².

    Of a net whose loss is not finite, all are NaN.
    """
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


def perform(run: Run, train: Split, validation: Split, device: torch.device, results: Path,
            scratch: Path) -> bool:
    """Run `run` to its end and write its file in `results`, unless it is there already.

    Returns:
        whether there was anything to do.

    Raises:
        UserError: the file there is damaged, or of a run with other settings.
    """
    path = results / f"{run.name}.npz"
    if path.exists():
        if read_run(path)["run"] != dataclasses.asdict(run):
            raise UserError(f"{path} is of a run with other settings; move it away, or choose "
                            "another --out")
        return False
    study, checkpoint = StudyRun(run, train, device), scratch / f"{run.name}.pt"
    if checkpoint.exists():
        study.load(checkpoint)
    with tqdm(total=run.steps, initial=study.step, desc=run.name, leave=False) as bar:
        study.train_to_end(validation, checkpoint, bar)
    arrays = study.record.arrays()
    if run.probe_every:
        scaled = rescaled(study.net, next(study.loader.epoch(0)), run.lr)
        arrays |= {name: np.asarray(values, np.float32) for name, values in scaled.items()}
    about = {"run": dataclasses.asdict(run), "seconds_per_step": study.seconds / study.step,
             **study.environment}
    write_npz(path, about, arrays)
    checkpoint.unlink(missing_ok=True)
    return True
