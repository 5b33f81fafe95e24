"""One training run as an object: network, optimizers, data, and the place in the schedule."""

import contextlib
import copy
import math
import re
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_swa_avg_fn
from tqdm import tqdm

from codes.augment import batch_transform, image_transform
from codes.losses import LOSSES, soft_targets
from codes.networks import BatchNorm, build, check_shapes, freeze
from codes.optimizers import make_optimizers
from codes.schedule import image_size, proxy_settings, schedule
from codes.settings import Settings
from VGG_BatchNorm.batchnorm import with_running_statistics
from VGG_BatchNorm.ground.checkpoint import load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.cifar10 import Split, normalize
from VGG_BatchNorm.ground.machine import autocast
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.timing import training_flops
from VGG_BatchNorm.loaders import BatchLoader, resize


class NotFinite(UserError):
    """The loss, or a weight, is not finite."""


@torch.no_grad()
def add_l1(net: nn.Module, factor: float) -> None:
    """Add the gradient of factor · Σ|w| over filters and matrices, biases left out."""
    for p in net.parameters():
        if p.grad is not None and p.ndim > 1:
            p.grad.add_(p.sign(), alpha=factor)


class Trainer:
    """A network, its optimizers, its data, and where it is in the schedule.

    With `keep_share` below 1 it has a `proxy`, a Trainer of a small net, in step with it.
    Raises UserError: one of several processes, and a batch norm that would see its images alone."""

    def __init__(self, settings: Settings, train: Split, device: torch.device):
        self.settings, self.device = settings, device
        self.proxy = None
        if settings.keep_share < 1:
            self.proxy = Trainer(proxy_settings(settings), train, device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        self.loader = BatchLoader(
            train, settings.batch_size, flip=settings.flip, translate=settings.translate,
            cutout=settings.cutout, transform=image_transform(settings.augment),
            seed=settings.seed, rank=self.rank, world=self.world)
        self.mix = batch_transform(settings.augment)
        self.steps = max(1, round(settings.epochs * len(self.loader)))
        self.epochs = math.ceil(self.steps / len(self.loader))
        torch.manual_seed(settings.seed)
        self.net = build(settings.network, **settings.config).to(device)
        check_shapes(self.net.eval(), f"the network {settings.network}")
        self.net.train()
        if hasattr(self.net, "prepare"):
            self.net.prepare(normalize(train.images[:2000]))
        part = (settings.micro_batch or settings.batch_size) / self.images_kept(self.steps)
        for layer in with_running_statistics(self.net):  # each part of a step renews them: by less
            if self.world > 1 and not isinstance(layer, BatchNorm):
                raise UserError(f"the batch norm of {settings.network} does not span "
                                "processes; train it in one")
            layer.momentum = 1 - (1 - layer.momentum) ** min(1, part)
        self.optimizers = make_optimizers(self.net, settings)
        self.averaged = None
        if settings.average:
            self.averaged = AveragedModel(self.net, avg_fn=get_swa_avg_fn(), use_buffers=True)
        self.base_lr = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.epoch, self.rows, self.step_losses = 0, [], []
        self.model = self.net
        if settings.compile:
            with _one_line_errors():
                self.net.compile()

    def images_kept(self, number: int) -> int:
        """Return how many images of step `number` the net trains on, of this process's share.

        They are whole parts of `micro_batch` images, and at least one part."""
        images, part = self.settings.batch_size // self.world, self.settings.micro_batch or 1
        if not self.proxy or number < self.settings.select_from * self.steps:
            return images
        return min(images, part * max(1, round(self.settings.keep_share * images / part)))

    def flops(self) -> int:
        """Return the FLOPs of the whole run, proxy included, on direct convolutions."""
        net, counted = copy.deepcopy(self.net), {}
        total = self.proxy.flops() if self.proxy else 0
        for number in range(self.steps):
            size = image_size(number, self.steps, self.settings)
            if number % len(self.loader) == 0:
                freeze(net, number / self.steps)
                trained = tuple(p.requires_grad for p in net.parameters())
            if (size, trained) not in counted:
                counted[size, trained] = training_flops(net, size)
            total += self.world * self.images_kept(number) * counted[size, trained]
        return total

    def step(self, x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Make one update; return the mean loss and the count of right answers, on the device.

        Both are of the images that the net trains on."""
        targets = soft_targets(y, 10, self.settings.label_smoothing)
        if self.mix:
            x, targets = self.mix(x, targets)
        batch = len(x)
        if self.proxy:
            hardest = self.select(x, y, targets, number)
            x, y, targets = x[hardest], y[hardest], targets[hardest]
        loss, right = self.learn(x, y, targets, number, batch)[0]
        return loss * (batch / len(x)), right

    def select(self, x: Tensor, y: Tensor, targets: Tensor, number: int) -> Tensor:
        """Train the proxy on the batch; return the indices (kept,) of those it finds hardest.

        They are those of highest cross-entropy before its update, in the batch's order. Each
        process selects from its own images. After "selective backpropagation" (Jiang et al. 2019,
        arXiv 1910.00762), with a small net in place of the large one (Jordan 2024)."""
        logits = self.proxy.learn(x, y, targets, number, len(x))[1]
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        return losses.argsort(descending=True, stable=True)[:self.images_kept(number)].sort().values

    def learn(self, x: Tensor, y: Tensor, targets: Tensor, number: int,
              batch: int) -> tuple[Tensor, Tensor]:
        """Make update `number` from images; return [loss, right answers], and logits (N, classes).

        The images go through in parts of `micro_batch`, and the gradients add up: less memory, and
        batch norm sees a part at a time ("ghost" statistics, Hoffer et al. 2017). `batch`: number
        of images drawn before selection. Losses are divided by it, also where only a part of them
        is trained on, so that a learning rate means the same with and without selection."""
        x = resize(x, image_size(number, self.steps, self.settings))
        totals, logits = torch.zeros((2,), device=self.device), []
        parts = (t.split(self.settings.micro_batch or len(x)) for t in (x, y, targets))
        for part in zip(*parts, strict=True):
            found, of_part = self.forward_backward(*part, batch)
            totals += found
            logits.append(of_part)
        self.update(number)
        return totals, torch.cat(logits)

    def forward_backward(self, x: Tensor, labels: Tensor, targets: Tensor,
                         batch: int) -> tuple[Tensor, Tensor]:
        """Add a part's gradient; return [share of the batch's loss, right answers], and logits."""
        with _one_line_errors(len(x)), autocast(self.device, self.settings.precision):
            logits = self.model(x)
        loss = LOSSES[self.settings.loss](logits.float(), targets) / batch
        loss.backward()
        logits = logits.detach()
        return torch.stack([loss.detach(), (logits.argmax(1) == labels).sum()]), logits

    def update(self, number: int) -> None:
        """Step `number` of all optimizers, at the schedule's rates; the gradients are used up."""
        if self.settings.l1:
            add_l1(self.net, self.settings.l1)
        factor = schedule(number, self.steps, self.settings.warmup, self.settings.end_lr)
        for optimizer, rates in zip(self.optimizers, self.base_lr, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.averaged and number >= (1 - self.settings.average) * self.steps:
            self.averaged.update_parameters(self.net)
            if number == self.steps - 1:
                self.net.load_state_dict(self.averaged.module.state_dict())

    def start_epoch(self) -> None:
        """Fix what is trained no more, in the net and in its proxy."""
        self.net.train()
        freeze(self.net, self.epoch * len(self.loader) / self.steps)
        # wrapped anew: DistributedDataParallel has to know which parameters are trained
        self.model = DistributedDataParallel(self.net) if self.world > 1 else self.net
        if self.proxy:
            self.proxy.epoch = self.epoch
            self.proxy.start_epoch()

    def train_epoch(self, progress: bool = True) -> dict:
        """Run the next epoch; return mean loss and accuracy, in fractions, of what it trained on.
        Raises NotFinite: a loss, or a weight at the end."""
        first = self.epoch * len(self.loader)
        self.start_epoch()
        losses, right, seen = [], [], 0
        batches = tqdm(self.loader.epoch(self.epoch), total=len(self.loader), leave=False,
                       desc=f"epoch {self.epoch + 1}/{self.epochs}",
                       disable=not progress or self.rank > 0)
        for number, (x, y) in enumerate(batches, first):
            if number >= self.steps:
                break
            loss, correct = self.step(x, y, number)
            losses.append(loss)
            right.append(correct)
            seen += self.images_kept(number)
            if self.device.type == "cpu" and self.world == 1 and not math.isfinite(loss.item()):
                break
        losses, right = torch.stack(losses), torch.stack(right)
        if self.world > 1:
            dist.all_reduce(losses.div_(self.world))
            dist.all_reduce(right)
        finite = losses.isfinite().tolist()
        finite.append(all(w.isfinite().all() for run in (self, self.proxy) if run
                          for w in run.net.state_dict().values()))
        if not all(finite):  # the step whose update broke the weights shows in the next loss
            raise NotFinite(f"the loss is not finite at step {first + finite.index(False)}; try a "
                            f"lower --lr" + f" (epoch {self.epoch} is kept)" * (self.epoch > 0))
        self.epoch += 1
        self.step_losses = losses.tolist()
        return dict(loss=losses.mean().item(), accuracy=right.sum().item() / (seen * self.world))

    def state(self) -> dict:
        """Return the states of the net and of its optimizers."""
        return dict(weights=self.net.state_dict(),
                    optimizers=[o.state_dict() for o in self.optimizers])

    def set_state(self, state: dict) -> None:
        self.net.load_state_dict(state["weights"])
        for optimizer, of_it in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(of_it)

    def save(self, path: Path, **extra) -> None:
        """Write all that `load` needs, and `extra`, of plain types."""
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(
            path, self.settings.network, self.settings.config, **self.state(), epoch=self.epoch,
            rows=self.rows, random=random, settings=self.settings.as_dict(),
            proxy=self.proxy.state() if self.proxy else None,
            averaged=self.averaged.state_dict() if self.averaged else None, **extra)

    def load(self, path: Path) -> None:
        """Go on where the checkpoint at `path` left off."""
        saved = load_checkpoint(path)
        try:
            self.set_state(saved)
            if self.proxy:
                self.proxy.set_state(saved["proxy"])
            if self.averaged:
                self.averaged.load_state_dict(saved["averaged"])
            self.epoch, self.rows = saved["epoch"], saved["rows"]
            torch.set_rng_state(saved["random"]["cpu"])
            if self.device.type == "cuda" and "cuda" in saved["random"]:
                torch.cuda.set_rng_state(saved["random"]["cuda"], self.device)
        except (KeyError, RuntimeError, ValueError):
            raise UserError(f"{path} cannot be resumed: it holds weights alone, "
                            "or those of another network") from None


@contextlib.contextmanager
def _one_line_errors(images: int = 0) -> Iterator[None]:
    """Raise a UserError where batch norm has one value a channel, or torch.compile no compiler."""
    try:
        yield
    except ValueError as error:
        if not re.search("more than (1|one) value", str(error)):
            raise
        raise UserError(f"{images} image at a time leaves batch norm one value a channel; choose "
                        "another --micro-batch or --batch-size") from None
    except RuntimeError as error:
        compiling = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
        if not compiling and "torch.compile" not in str(error):
            raise
        said = " ".join(str(error).partition("\n\n")[0].split())
        raise UserError(f"--compile does not work here; leave it out ({said[:200]})") from None
