"""What one run of the study is: its settings, its name and its network.

    run = Run("batch", lr=0.1, steps=1500, probe_every=50)
    net = fresh_net(run)"""

import dataclasses
import math

import torch
from torch import nn

from VGG_BatchNorm.batchnorm import Noise2d, NoisyBatchNorm2d
from VGG_BatchNorm.ground.machine import PRECISIONS
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.VGG import HEADS, NORMS, VGG

TORCH_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
INITS = {  # factor on Glorot's normal weights, of variance 2 / (inputs + outputs)
    "glorot": lambda inputs, outputs: 1.0,
    "he": lambda inputs, outputs: math.sqrt(1 + outputs / inputs)}  # to variance 2 / inputs


@dataclasses.dataclass(frozen=True)
class Run:
    """The settings of one run. A period of 0 steps (`…_every`) means never.

    Args:
        norm, width, head, smooth: of the network, as `VGG` takes them.
        init: of its weights; a name in INITS.
        lr: learning rate; constant but for the warm-up.
        steps: of training, in all.
        optimizer: a name in TORCH_OPTIMIZERS.
        seed: of the initial weights, the order of the images and the noise.
        warmup: steps in which the rate rises from 0 to `lr`.
        only_norm: train γ and β of the normalisation layers and nothing else.
        n_items: how many of the training images are used.
        batch_size: images a step.
        probe_every: steps between probes of losses and gradients along the step.
        dense: up to this step, such a probe is made every tenth step.
        fine: each `fine * probe_every` steps the probe takes the fine grid, and the curvature and
            the covariate shift are measured too.
        precision: of training; probes, validation and test are in float32.
        edge_every: steps between measures of the curvature along the gradient, from losses alone.
        watch_every: steps between looks at dead units and first moments in the forward pass.
        test_every: steps between tests; the last step is tested too. No choice hangs on them.

    Raises UserError: an unknown name, a number out of range, or settings that do not fit
    together."""

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
    init: str = "glorot"
    edge_every: int = 0
    watch_every: int = 0
    test_every: int = 0

    def __post_init__(self):
        for name, known in ((self.norm, NORMS), (self.head, HEADS), (self.init, INITS),
                            (self.optimizer, TORCH_OPTIMIZERS), (self.precision, PRECISIONS[1:])):
            if name not in known:
                raise UserError(f"unknown {name!r}; choose from {', '.join(known)}")
        if not 0 < self.lr < math.inf or self.steps < 1:
            raise UserError(f"a run takes lr > 0 and steps ≥ 1, not {self.lr} and {self.steps}")
        if self.optimizer != "sgd" and self.probe_every + self.edge_every:
            raise UserError("probes follow the gradient, so probed runs take sgd")
        if self.only_norm and self.norm == "none":
            raise UserError("without a normalisation, there is no γ and β to train alone")
        if min(self.warmup, self.n_items, self.probe_every, self.dense, self.edge_every,
               self.watch_every, self.test_every) < 0 or self.fine < 1:
            raise UserError("a run takes warmup, n_items, dense and …_every ≥ 0, and fine ≥ 1")

    @property
    def name(self) -> str:
        """The name of the run's file, without its ending."""
        extra = f"-{self.head}-head" * (self.head != "plain") + "-smooth" * self.smooth
        extra += f"-{self.init}" * (self.init != "glorot")
        extra += "-warmup" * bool(self.warmup) + "-only-norm" * self.only_norm
        extra += "-bfloat16" * (self.precision == "bfloat16")
        return f"{self.norm}{extra}-{self.optimizer}-{self.lr:g}-s{self.seed}"

    @property
    def network(self) -> dict:
        """The arguments of `VGG` beside its configuration, which is A."""
        return {name: getattr(self, name) for name in ("norm", "width", "head", "smooth")}


def fresh_net(run: Run) -> nn.Module:
    """Return the run's network at its start.

    Whatever the norm and the head, filters and matrices are the same numbers for the same seed;
    He's are Glorot's, enlarged layer by layer."""
    torch.manual_seed(run.seed)
    plain, net = VGG("A", width=run.width), VGG("A", **run.network)
    for kind in (nn.Conv2d, nn.Linear):
        shared = ([layer for layer in each.modules() if isinstance(layer, kind)][::-1]
                  for each in (plain, net))
        for source, target in zip(*shared, strict=False):  # a single linear layer is the last
            target.load_state_dict(source.state_dict())
            target.requires_grad_(not run.only_norm)
            outputs, inputs = target.weight.shape[:2]
            target.weight.data *= INITS[run.init](inputs, outputs)
    for layer in net.modules():
        if isinstance(layer, (NoisyBatchNorm2d, Noise2d)):
            layer.seed += 1000 * run.seed
    return net.to(memory_format=torch.channels_last)
