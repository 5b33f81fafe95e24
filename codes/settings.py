"""Every setting of `codes/train.py`: its default, what it may be, its presets, and its flag.

    Settings(epochs=4, config={"widths": (32, 64)})
    Settings.from_dict({"epochs": 4, "widths": [32, 64]})  # flat, as JSON, CSV and studies have it

A preset names only what differs from the defaults; a flag overrides both. The network's arguments
and their defaults are those of its constructor, in networks.py."""

import argparse
import dataclasses
import math
import textwrap

import torch

from codes.augment import AUGMENTS, MIXING
from codes.losses import LOSSES
from codes.networks import NETWORKS, network_arguments, said_of_arguments
from codes.optimizers import BESIDE_MOMENTUM, OPTIMIZERS
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import PRECISIONS, pick_precision
from VGG_BatchNorm.ground.script import UserError, count, number, positive, user_path

not_negative = number(float, "a number from 0 up", lambda value: 0 <= value < math.inf)
some = number(int, "a number from 1 up", lambda value: 1 <= value < 2**31)
share = number(float, "between 0 and 1", lambda value: 0 <= value <= 1)
some_share = number(float, "above 0 and at most 1", lambda value: 0 < value <= 1)
below_one = number(float, "from 0 up and below 1", lambda value: 0 <= value < 1)


def widths(text: str) -> tuple[int, ...]:
    return tuple(int(width) for width in text.split(","))


def _setting(default, kind, about: str | None = None):
    """A field of `Settings`.

    Args:
        kind: what reads its flag and raises where that is out of range; or the values to choose
            from; or bool.
        about: the flag's help."""
    return dataclasses.field(default=default, metadata={"kind": kind, "about": about})


def _fits(value, kind) -> bool:
    """Return whether a setting of this kind may have this value."""
    if kind is bool:
        return isinstance(value, bool)
    if not callable(kind):
        return value in kind
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    try:
        return kind(text) == value
    except (ValueError, argparse.ArgumentTypeError):
        return False


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse(what: str, given: dict, takes) -> None:
    """Raise a UserError for the first name in `given` that `what` does not take."""
    for name in given:
        if name not in takes:
            raise UserError(f"{what} does not take {_flag(name)}; "
                            f"it takes {', '.join(map(_flag, takes)) or 'no arguments'}")


NEEDS = {  # a setting, and the one without which it does nothing
    "small_size": "small_share", "middle_size": "middle_share", "select_from": "keep_share",
    "proxy_widths": "keep_share", "proxy_size": "keep_share"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a run depends on, but data and device. Raises UserError: a value out of range, or an
    argument that the network does not take."""

    preset: str | None = None  # that these settings come from
    seed: int = _setting(0, count)
    validation: bool = _setting(False, bool, "hold 5,000 training images out; leave test alone")
    n_items: int | None = _setting(None, some, "only the first so many training images")
    compile: bool = _setting(False, bool, "torch.compile; on the one GPU where it was tried,\n"
                             "preset night, the loss was not finite with it")
    precision: str = "float32"  # of convolutions and matrix products; or bfloat16

    network: str = _setting("cifarnet", NETWORKS, "its arguments are in the next group")
    config: dict = dataclasses.field(default_factory=dict)  # the network's arguments, all of them

    optimizer: str = _setting("muon", OPTIMIZERS, "what it trains, and why:\n" + "\n".join(
        f"  {name:<21}{choice.about}" for name, choice in OPTIMIZERS.items()).replace("%", "%%"))
    lr: float = _setting(0.15, positive, "learning rate of the optimizer")
    momentum: float = _setting(0.6, below_one, "of SGD and the Muons")
    nesterov: bool = _setting(True, bool, "of SGD")
    bias_lr: float = _setting(0.053, positive, "rate of biases and norms, where filters have an "
                              "optimizer\nof their own; times the batch size")
    head_lr: float = _setting(0.67, positive, "likewise, of the last layer, and other\nlinear ones")
    weight_decay: float = _setting(
        2e-6, not_negative, "of all weights, as torch has it; where filters have an optimizer "
        "of\ntheir own, of biases and linear layers alone: times the batch size,\nand, by their "
        "momentum, about seven times that a step")
    warmup: float = _setting(0.0, share, "share of the steps in which the rate rises from 0")
    end_lr: float = _setting(0.0, share, "share of the rate to which it falls, after the last step")
    average: float = _setting(0.0, share, "average the weights over the last share of the steps, "
                             "and\nbatch norm's running statistics with them")
    loss: str = _setting("cross_entropy", LOSSES, "losses.py has their equations")
    label_smoothing: float = _setting(0.2, share, "share of the target that all classes have "
                                      "alike")
    l1: float = _setting(0.0, not_negative, "factor of Σ|w| over filters and matrices in the loss")

    epochs: float = _setting(8, positive, "may be a fraction")
    batch_size: int = _setting(1000, count, "images a step")
    micro_batch: int = _setting(0, count, "images that go through at a time; 0: the whole batch")
    flip: str = _setting("alternate", ("none", "random", "alternate"), "mirror images; alternate: "
                         "each image in every other epoch")
    translate: int = _setting(2, range(16), "largest shift of an image")
    cutout: int = _setting(0, range(32), "side of the square that is cut out; 0: none")
    augment: str = _setting("none", AUGMENTS, "further augmentation, by torchvision")
    small_size: int = _setting(16, range(8, 33), "side of the images in the first steps")
    small_share: float = _setting(0.0, share, "share of the steps after which these end")
    middle_size: int = _setting(24, range(8, 33), "side of the images that follow")
    middle_share: float = _setting(0.0, share, "share of the steps after which these end; then\n"
                                   "images have 32 pixels")
    keep_share: float = _setting(1.0, some_share, "train on this share of each batch, the hardest "
                                 "by the loss of a\nsmall proxy net, which trains on all of it")
    select_from: float = _setting(0.2, share, "share of the steps after which that begins")
    proxy_widths: tuple[int, ...] = _setting((32, 64, 64), widths,
                                             "of the proxy, which is a cifarnet")
    proxy_size: int = _setting(16, range(8, 33), "side of the proxy's images")

    def __post_init__(self):
        if self.precision not in PRECISIONS[1:]:
            raise UserError(f"precision is {' or '.join(PRECISIONS[1:])}, not {self.precision!r}")
        object.__setattr__(self, "proxy_widths", tuple(self.proxy_widths))
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.metadata.get("kind")
            if kind and value != field.default and not _fits(value, kind):
                raise UserError(f"{field.name} cannot be {value!r}")
        changed = {name for name, default in WHOLE.items() if getattr(self, name) != default}
        for name, other in NEEDS.items():
            if name in changed and other not in changed:
                raise UserError(f"{_flag(name)} does nothing without {_flag(other)}")
        if self.keep_share < 1 and self.augment in MIXING:
            raise UserError(f"--keep-share picks whole images, and --augment {self.augment} mixes "
                            "them; choose one of the two")
        shrink = self.weight_decay * self.batch_size / (1 - BESIDE_MOMENTUM)
        if OPTIMIZERS[self.optimizer].filters_only and shrink > 0.5:
            raise UserError(f"--weight-decay {self.weight_decay:g} would take {min(1, shrink):.0%} "
                            f"of the last layer away at each step (it is multiplied by the batch "
                            f"size under {self.optimizer}); the default is 2e-6")
        if 0 < self.middle_share <= self.small_share:
            raise UserError(f"--middle-share {self.middle_share} ends before --small-share "
                            f"{self.small_share} does; no image would be of the middle size")
        takes = network_arguments(self.network)
        _refuse(f"the network {self.network}", self.config, takes)
        config = {name: tuple(value) if isinstance(value, list) else value
                  for name, value in (takes | self.config).items()}
        object.__setattr__(self, "config", config)

    @classmethod
    def from_dict(cls, values: dict) -> "Settings":
        """Return the settings named in `values`; other names are the network's arguments."""
        fields = {name: value for name, value in values.items() if name in FIELDS}
        return cls(config={name: values[name] for name in values if name not in FIELDS}, **fields)

    def as_dict(self) -> dict:
        """Return all settings in one flat dict, with lists for tuples, as JSON gives it back."""
        flat = {}
        for name, value in vars(self).items():
            flat |= value if name == "config" else {name: value}
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in flat.items()}


FIELDS = {field.name: field for field in dataclasses.fields(Settings) if field.name != "config"}
WHOLE = {name: FIELDS[name].default for name in (*NEEDS, *NEEDS.values())}  # all images, at 32×32
OF_A_RUN = ("preset", "seed", "validation", "n_items", "compile")
DEFAULTS = {name: value for name, value in Settings().as_dict().items() if name not in OF_A_RUN}
_LARGE = dict(widths=(128, 384, 512), depth=3, residual=True, epochs=46, micro_batch=250, lr=0.2,
              average=0.1, translate=4, cutout=12, small_share=0.2, middle_share=0.5,
              keep_share=0.5, whiten_bias_share=0.07)
PRESETS = {
    "fast": dict(epochs=4, small_share=0.5, micro_batch=200, lr=0.24, whiten_bias_share=0.25),
    "strong": dict(epochs=11, small_share=0.4, micro_batch=250, lr=0.2, whiten_bias_share=0.3),
    "better": dict(widths=(96, 384, 384), depth=3, residual=True, epochs=21, micro_batch=250,
                   lr=0.2, head_lr=1.0, average=0.1, translate=4, cutout=8, small_share=0.2,
                   middle_share=0.5, keep_share=0.5, whiten_bias_share=0.15),
    "best": _LARGE,
    "night": _LARGE | dict(epochs=100, whiten_bias_share=0.03),
    "small": dict(widths=(48, 64, 64), depth=3, residual=True, epochs=100, micro_batch=250, lr=0.2,
                  average=0.1, translate=4, cutout=4, small_share=0.2, middle_share=0.4,
                  whiten_bias_share=0.05),}


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of `codes/train.py`: its flags, those of `Settings` and of the networks."""
    parser = flag_parser(description, "--data-dir", "--device", "--threads")
    run = parser.add_argument_group("the run")
    run.add_argument("--preset", choices=PRESETS, help="default: fast on a CPU, best on a GPU")
    run.add_argument("--out", type=user_path, help="run folder")
    run.add_argument("--resume", action="store_true",
                     help="go on with the run in --out, if there is one")
    run.add_argument("--tensorboard", action="store_true",
                     help="leave event files for TensorBoard in the run folder, too")
    run.add_argument("--precision", choices=PRECISIONS, default="auto",
                     help="of convolutions and matrix products (default: bfloat16 where the "
                          "hardware has it)")
    run.add_argument("--amp", action="store_const", const="bfloat16", dest="precision",
                     help="the same as --precision bfloat16")
    recipe = parser.add_argument_group("the recipe (defaults: the preset's)")
    for name, field in FIELDS.items():
        if "kind" in field.metadata:
            _add_flag(recipe, name, field.metadata["kind"], help=field.metadata["about"])
    network = parser.add_argument_group("the network's arguments")
    abouts: dict[str, dict[str, list[str]]] = {}
    defaults: dict[str, object] = {}
    for each in NETWORKS:
        said = said_of_arguments(each)
        for name, default in network_arguments(each).items():
            about = f"{said.get(name, '')} (default: {_said(default)})".strip()
            abouts.setdefault(name, {}).setdefault(about, []).append(each)
            first = type(defaults.setdefault(name, default))
            if (_flag(name) in parser._option_string_actions or type(default) is not first
                    or type(default) not in (bool, int, float, str, tuple)):
                raise UserError(
                    f"the argument {name} of the network {each} cannot be a flag: it needs a "
                    "default that is a number, a string, a bool or a tuple of whole numbers, and a "
                    "name that no other flag has, nor a network's argument of another kind")
    for name, default in defaults.items():
        _add_flag(network, name, widths if isinstance(default, tuple) else type(default),
                  help="\n".join(textwrap.fill(f"{', '.join(takers)}: {about}", 66)
                                 for about, takers in abouts[name].items()).replace("%", "%%"))
    return parser


def _said(value) -> str:
    """Return a default as its flag takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _add_flag(group, name: str, kind, **more) -> None:
    """Add the flag of one setting; without it, the parsed value is None."""
    if kind is bool:
        more["action"] = argparse.BooleanOptionalAction
    elif callable(kind):
        more["type"] = kind
    else:
        more |= {"choices": kind, "type": type(next(iter(kind)))}
    if isinstance(kind, range):
        more["metavar"] = "PIXELS"
    group.add_argument(_flag(name), **more)


def choose_settings(args: argparse.Namespace, device: torch.device) -> Settings:
    """Return the defaults, overridden by the preset, the optimizer's own rates, and the flags.

    Presets are for CifarNet, under Muon; other networks start from sgd, on whole images, and on all
    of each batch. Epochs, batch size, label smoothing, augmentation and averaging stay the preset's
    for them, too: VGG nets want flags for these. An --augment that mixes images does not go with
    keep_share: the preset's is left out then. Raises UserError: a flag that the network or the
    optimizer does not take, or a value out of range."""
    preset = args.preset or ("fast" if device.type == "cpu" else "best")
    arguments = {name for each in NETWORKS for name in network_arguments(each)}
    flags = {name: value for name, value in vars(args).items()
             if value is not None and (name in FIELDS or name in arguments)}
    optimizer = Settings.optimizer
    left_out = {"keep_share"} if flags.get("augment") in MIXING else set()
    if flags.get("network", Settings.network) != Settings.network:
        left_out = arguments | set(NEEDS.values())
        optimizer = "sgd"
    start = {name: value for name, value in PRESETS[preset].items() if name not in left_out}
    optimizer = flags.get("optimizer", optimizer)
    choice = OPTIMIZERS[optimizer]
    some_take = {name for each in OPTIMIZERS.values() for name in each.settings} - {"precision"}
    _refuse(f"the optimizer {optimizer}",
            {name: flags[name] for name in flags if name in some_take}, choice.settings)
    if flags.get("whiten") is False and "whiten_bias_share" in flags:
        raise UserError("--whiten-bias-share does nothing with --no-whiten")
    if flags.get("nesterov") and flags.get("momentum") == 0:
        raise UserError("--nesterov does nothing with --momentum 0")
    precision = pick_precision(args.precision, device)
    return Settings.from_dict(start | {"optimizer": optimizer} | choice.start | flags
                              | {"preset": preset, "precision": precision})
