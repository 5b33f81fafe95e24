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
from VGG_BatchNorm.batchnorm import Noise2d, NoisyBatchNorm2d, theorem_4_1
from VGG_BatchNorm.ground.checkpoint import load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.files import write_npz
from VGG_BatchNorm.ground.machine import PRECISIONS, autocast, environment
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.loaders import BatchLoader
from VGG_BatchNorm.recorded import FINE_GRID, GRID, read_run
from VGG_BatchNorm.VGG import HEADS, NORMS, VGG

SAVE_SECONDS = 60  # between checkpoints
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
EDGE_STEPS = (1 / 16, 1 / 4, 1.0)  # in learning rates, where the curvature is measured
WATCHED = 4  # channels of each ReLU whose first moments are kept


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run is; its name is its file's.

    lr is constant, but for `warmup` steps in which it rises from 0. `only_norm`: γ and β of the
    normalisation layers are trained, nothing else. `probe_every` steps (0:
    never) losses and gradients along the step are measured, every tenth step up to `dense`; each
    `fine * probe_every` steps on the fine grid, and curvature and covariate shift besides.
    `edge_every` steps (0: never) the curvature along the gradient is measured from losses alone;
    `watch_every` steps, dead units and first moments in training's own forward pass; `test_every`
    steps and at the end, test accuracy, on which no choice hangs. `precision` is that of training;
    probes, validation and test are float32. `head` and `smooth` are the network's.
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
    head: str = "plain"
    smooth: bool = False
    edge_every: int = 0
    watch_every: int = 0
    test_every: int = 0

    def __post_init__(self):
        for name, known in ((self.norm, NORMS), (self.head, HEADS), (self.optimizer, OPTIMIZERS)):
            if name not in known:
                raise UserError(f"unknown {name!r}; choose from {', '.join(known)}")
        if self.precision not in PRECISIONS[1:]:
            raise UserError(f"a run is in {' or '.join(PRECISIONS[1:])}, not {self.precision}")
        if not 0 < self.lr < math.inf or self.steps < 1:
            raise UserError(f"a run takes lr > 0 and steps ≥ 1, not {self.lr} and {self.steps}")
        if self.optimizer != "sgd" and self.probe_every + self.edge_every:
            raise UserError("probes follow the gradient, so probed runs take sgd")
        if self.only_norm and self.norm == "none":
            raise UserError("without a normalisation, there is no γ and β to train alone")
        if min(self.warmup, self.probe_every, self.dense, self.edge_every, self.watch_every,
               self.test_every) < 0 or self.fine < 1:
            raise UserError("a run takes warmup, dense and …_every ≥ 0, and fine ≥ 1")
        if not 1 <= self.batch_size <= self.n_items:
            raise UserError(f"{self.n_items} images are fewer than one batch of {self.batch_size}")

    @property
    def name(self) -> str:
        extra = f"-{self.head}-head" * (self.head != "plain") + "-smooth" * self.smooth
        extra += "-warmup" * bool(self.warmup) + "-only-norm" * self.only_norm
        extra += "-bfloat16" * (self.precision == "bfloat16")
        return f"{self.norm}{extra}-{self.optimizer}-{self.lr:g}-s{self.seed}"


def _network(run: Run) -> dict:
    """The arguments of the run's network."""
    return {"norm": run.norm, "width": run.width, "head": run.head, "smooth": run.smooth}


def _goes_on(there: dict, run: Run) -> bool:
    """Whether the run with the settings `there` is the start of `run`, or the whole of it."""
    return (there | {"steps": run.steps} == dataclasses.asdict(run)
            and there["steps"] <= run.steps)


def fresh_net(run: Run) -> nn.Module:
    """The run's network: same filters and matrices, bit for bit, whatever the norm and the head."""
    torch.manual_seed(run.seed)
    plain, net = VGG("A", width=run.width), VGG("A", **_network(run))
    for kind in (nn.Conv2d, nn.Linear):
        shared = ([layer for layer in each.modules() if isinstance(layer, kind)][::-1]
                  for each in (plain, net))
        for source, target in zip(*shared, strict=False):  # a single linear layer is the last
            target.load_state_dict(source.state_dict())
            target.requires_grad_(not run.only_norm)
    for layer in net.modules():
        if isinstance(layer, (NoisyBatchNorm2d, Noise2d)):
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
        self.optimizer = OPTIMIZERS[run.optimizer](trained, lr=run.lr, fused=True)
        self.record = Record()
        self.environment = environment(device)  # as it is when the run begins

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One update; between its gradient and its step, a probe, if it is time to."""
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
        self.record.add(loss=loss, correct=correct)
        self.seconds += time.perf_counter() - start
        if due == "fine":
            with _swapped(own, buffers):
                self._probe_update(x, y, before)
        self.step += 1

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Record, of the forward pass inside, the share of dead units and the first moments.

        Of each activation's input: channels (or units) that are ≤ 0 on the whole batch; mean and
        standard deviation of the first `WATCHED` channels.
        """
        dead, means, spreads = [], [], []

        def keep(_, args):
            x = args[0].detach().transpose(0, 1).flatten(1)
            dead.append((x.amax(1) <= 0).float().mean().item())
            spread, mean = torch.std_mean(x[:WATCHED].float(), 1)
            means.append(mean.tolist())
            spreads.append(spread.tolist())

        hooks = [layer.register_forward_pre_hook(keep) for layer in self.net.modules()
                 if isinstance(layer, (nn.ReLU, nn.Softplus))]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self.record.add(watch_steps=self.step, dead=dead, moment_mean=means, moment_std=spreads)

    def _probe_edge(self, x: torch.Tensor, y: torch.Tensor,
                    at: tuple[float, probes.Tensors] | None) -> None:
        """‖g‖ and κ(α) along the gradient for α of `EDGE_STEPS` learning rates, from losses."""
        found = probes.curvature_from_losses(
            self.net, F.cross_entropy, (x, y), [s * self.run.lr for s in EDGE_STEPS], at=at)
        self.record.add(edge_steps=self.step, edge_gradient_norm=found["gradient_norm"],
                        edge_curvature=found["curvature"])

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
                    self.record.add(test_steps=self.step, test_accuracy=self.validate(test)[0])
                    self.net.train()
                if ended:
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
        save_checkpoint(path, "vgg", _network(self.run), self.net.state_dict(),
                        lists=self.record.lists, optimizer=self.optimizer.state_dict(),
                        step=self.step, seconds=self.seconds, run=dataclasses.asdict(self.run))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same run, or of a shorter one; `UserError` if it is
        damaged or of another."""
        saved = load_checkpoint(path, self.device)
        if not _goes_on(saved.get("run") or {}, self.run):
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


def theorem(net: nn.Module, batch: probes.Batch) -> dict[str, np.ndarray]:
    """`theorem_4_1` on every channel of the net's batch-norm layers, for one batch, in a row."""
    given, norms = [], [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]

    def keep(_, args, out):
        out.retain_grad()
        given.append((args[0], out))
        return out.clone()  # the ReLU works in place

    hooks = [layer.register_forward_hook(keep) for layer in norms]
    buffers = list(net.buffers())
    try:
        with _swapped(buffers, [b.clone() for b in buffers]):
            F.cross_entropy(net.train()(batch[0]), batch[1]).backward()
    finally:
        for hook in hooks:
            hook.remove()
        net.zero_grad(set_to_none=True)
    sides = [theorem_4_1(y, out.grad, layer) for (y, out), layer in zip(given, norms, strict=True)]
    return {f"theorem_{name}": torch.cat([side[name] for side in sides]).cpu().numpy()
            for name in sides[0]}


def perform(run: Run, train: Split, validation: Split, device: torch.device, results: Path,
            scratch: Path, test: Split | None = None, keep: bool = False) -> bool:
    """Run `run` to its end and write its file in `results`, unless it is there already.

    Args:
        scratch: folder of the checkpoint.
        test: for runs with `test_every`.
        keep: leave the last checkpoint there, so that a longer run goes on from it.

    Returns:
        whether there was anything to do.

    Raises:
        UserError: the file there is damaged, or of a run with other settings.
    """
    path, checkpoint = results / f"{run.name}.npz", scratch / f"{run.name}.pt"
    if path.exists():
        there = read_run(path)["run"]
        if not _goes_on(there, run) or (there["steps"] < run.steps and not checkpoint.exists()):
            raise UserError(f"{path} is of a run with other settings; move it away, or choose "
                            "another --out")
        if there["steps"] == run.steps:
            return False
    study = StudyRun(run, train, device)
    if checkpoint.exists():
        study.load(checkpoint)
    with tqdm(total=run.steps, initial=study.step, desc=run.name, leave=False) as bar:
        study.train_to_end(validation, checkpoint, bar, test)
    arrays = study.record.arrays()
    if run.probe_every:
        scaled = rescaled(study.net, next(study.loader.epoch(0)), run.lr)
        arrays |= {name: np.asarray(values, np.float32) for name, values in scaled.items()}
        if run.norm == "batch":
            arrays |= theorem(study.net, next(study.loader.epoch(0)))
    about = {"run": dataclasses.asdict(run), "seconds_per_step": study.seconds / study.step,
             **study.environment}
    if keep:
        study.save(checkpoint)
    write_npz(path, about, arrays)
    if not keep:
        checkpoint.unlink(missing_ok=True)
    return True
