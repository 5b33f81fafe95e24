"""What `codes/compare.py` compares: the bases, and the variants of each study.

A study is a list of variants; the first is what the others are compared with. To add one, write a
function from the base's settings to such a list and put it into STUDIES.
"""

import itertools
from typing import NamedTuple

from codes.optimizers import OPTIMIZERS
from codes.settings import DEFAULTS
from VGG_BatchNorm.ground.script import UserError

COMMON = DEFAULTS | dict(validation=True, n_items=None, compile=False)
BASES = {  # half a minute to two minutes a run on two CPU cores; a GPU
    "quick": COMMON | dict(widths=[16, 64, 64], epochs=4, batch_size=500, lr=0.24, small_share=0.75,
                           whiten_bias_share=0.25),
    "full": COMMON | dict(widths=[64, 256, 256], epochs=20, lr=0.2, translate=4,
                          whiten_bias_share=0.15),
}
COMBINED = ("components", "augmentation", "activations", "optimizers")  # `final` takes their best


class Variant(NamedTuple):
    """A row of a study's table.

    Args:
        changes: settings in place of the base's.
        tries: further changes; the best on validation is kept.
        like: variants, earlier in the study, whose kept tries are taken over.
    """

    name: str
    changes: dict = {}
    tries: tuple[dict, ...] = ()
    like: tuple[str, ...] = ()


def rates(centre: float, factor: float = 3.0) -> tuple[dict, ...]:
    """Return five learning rates, `factor` apart."""
    return tuple({"lr": float(f"{centre * factor ** i:.2g}")} for i in range(-2, 3))


def variants(study: str, base: dict, found: dict[str, dict]) -> list[Variant]:
    """Return the rows of `study`; `final` alone needs what others found: {study: best changes}."""
    if study == "final":
        best = {name: value for each in COMBINED for name, value in found[each].items()}
        both = [Variant("base", {"validation": False}),
                Variant("the best of each study", best | {"validation": False})]
        return both if best else both[:1]
    return STUDIES[study](base)


def _widths(base: dict) -> list[Variant]:
    def scaled(factor: float) -> dict:
        return {"widths": [round(factor * width) for width in base["widths"]]}

    return [Variant(f"× {factor:g}: {', '.join(map(str, scaled(factor)['widths']))}",
                    scaled(factor) if factor != 1 else {}) for factor in (1, 0.5, 0.75, 1.5, 2)]


def _depth(base: dict) -> list[Variant]:
    return [Variant("2 convolutions a group"), Variant("1 a group", {"depth": 1}),
            Variant("3 a group", {"depth": 3}), Variant("2 a group, residual", {"residual": True}),
            Variant("3 a group, residual", {"depth": 3, "residual": True})]


def _components(base: dict) -> list[Variant]:
    """Nets without norm train at rates of their own, tuned without dropout: all three shrink
    together, since biases at the base's rate alone undo such a net. Their filters keep the norm
    that Muon rescales them to, which is a help of another kind.
    """
    slower = tuple({name: float(f"{base[name] / 3**i:.2g}")
                    for name in ("lr", "bias_lr", "head_lr")}
                   for i in range(5))
    parts = {"batch norm": {}, "dropout": {"dropout": 0.1}, "residual": {"residual": True}}
    found = []
    for chosen in itertools.product((True, False), repeat=3):
        names = [name for name, yes in zip(parts, chosen, strict=True) if yes]
        norm, dropout, residual = chosen
        changes = {k: v for name in names for k, v in parts[name].items()}
        changes |= {} if norm else {"norm": "none"}
        tries = slower if not (norm or dropout) else ()
        like = ("residual" if residual else "none",) if dropout and not norm else ()
        found.append(Variant(" + ".join(names) or "none", changes, tries, like))
    order = {"batch norm": 0, "none": 1, "residual": 2}  # what others lean on comes before them
    return sorted(found, key=lambda variant: order.get(variant.name, 3))


def _activations(base: dict) -> list[Variant]:
    return [Variant(name, {"activation": name} if name != base["activation"] else {}) for name in (
        "gelu", "relu", "leaky_relu", "elu", "silu", "mish", "hardswish", "tanh", "none")]


def _augmentation(base: dict) -> list[Variant]:
    nothing = {"flip": "none", "translate": 0}
    return [Variant("alternating flip, shifts"), Variant("none", nothing),
            Variant("shifts alone", {"flip": "none"}), Variant("flip alone", {"translate": 0}),
            Variant("random flip, shifts", {"flip": "random"}),
            *(Variant(f"with {label}", changes) for label, changes in {
                "cutout of 8 pixels": {"cutout": 8}, "TrivialAugment": {"augment": "trivial"},
                "mixup": {"augment": "mixup"}, "CutMix": {"augment": "cutmix"}}.items())]


def whole(optimizer: str, **more) -> dict:
    """Return the changes to an optimizer, from the settings that it starts from."""
    return {"optimizer": optimizer, **OPTIMIZERS[optimizer].start, **more}


def _optimizers(base: dict) -> list[Variant]:
    """Muon is for filters: biases and head have SGD at rates of their own, which the presets' runs
    chose.

    "On filters" exchanges Muon alone; the rest have one optimizer and one rate for everything.
    """
    muon = rates(base["lr"])
    return [Variant("Muon", {}, muon),
            Variant("DampedMuon (ours)", {"optimizer": "damped_muon"}, muon),
            Variant("DampedMuon, not annealed", {"optimizer": "damped_muon_constant"}, muon),
            Variant("SGD, Nesterov, on filters", whole("sgd_filters"), rates(0.9)),
            Variant("Adam on filters", whole("adam_filters"), rates(9e-3)),
            Variant("SGD", whole("sgd", momentum=0.0), rates(9.0)),
            Variant("SGD, momentum", whole("sgd", nesterov=False), rates(0.9)),
            Variant("SGD, Nesterov", whole("sgd"), rates(0.9)),
            Variant("RMSprop", whole("rmsprop"), rates(3e-3)),
            Variant("Adam", whole("adam"), rates(9e-3)),
            Variant("AdamW", whole("adamw"), rates(9e-3))]


def _whole_images(base: dict) -> list[Variant]:
    """Optimizers of the filters where no image is small, for as many FLOPs as the base spends."""
    small = 1 - (base["small_size"] / 32) ** 2
    same_cost = {"small_share": 0.0, "epochs": base["epochs"] * (1 - small * base["small_share"])}
    return [Variant("Muon", same_cost, rates(base["lr"])),
            Variant("SGD, Nesterov, on filters", same_cost | whole("sgd_filters"), rates(0.9)),
            Variant("Adam on filters", same_cost | whole("adam_filters"), rates(9e-3)),
            Variant("Muon, small images first")]


def _losses(base: dict) -> list[Variant]:
    """Under Adam: there, L2 in the loss and decoupled decay differ, and Muon rescales both away."""
    losses = {"cross-entropy": {}, "label smoothing": {}, "focal": {"loss": "focal"},
              "squared error": {"loss": "squared_error"},
              "binary cross-entropy": {"loss": "binary_cross_entropy"}}
    losses = {name: loss | {"label_smoothing": 0.2 if name == "label smoothing" else 0.0}
              for name, loss in losses.items()}
    regularisers = {"L2": ("adam", "weight_decay", (1e-5, 1e-4, 1e-3)),
                    "L1": ("adam", "l1", (1e-5, 1e-4, 1e-3)),
                    "decoupled decay": ("adamw", "weight_decay", (1e-2, 1e-1, 1.0))}
    adam = whole("adam")
    found = [Variant(name, adam | changes, rates(9e-3)) for name, changes in losses.items()]
    for (name, changes), (reg, (optimizer, key, factors)) in itertools.product(
            losses.items(), regularisers.items()):
        tried = tuple({key: factor} for factor in factors) if name == "cross-entropy" else ()
        like = (name,) if tried else (name, f"cross-entropy + {reg}")
        changes = adam | changes | {"optimizer": optimizer}
        found.append(Variant(f"{name} + {reg}", changes, tried, like))
    return found


STUDIES = {"optimizers": _optimizers, "whole_images": _whole_images,
           "activations": _activations, "components": _components, "augmentation": _augmentation,
           "widths": _widths, "depth": _depth, "losses": _losses, "final": None}  # see `variants`


def wanted(names: list[str] | None, rows: list[Variant]) -> list[Variant]:
    """Return the variants named, those they lean on, and the first, with which all are compared.

    Raises:
        UserError: no variant is called so.
    """
    if not names:
        return rows
    known = {variant.name: variant for variant in rows}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"unknown variant {unknown[0]!r}; "
                        f"choose from {', '.join(map(repr, known))}")
    needed = {rows[0].name, *names, *(other for name in names for other in known[name].like)}
    needed |= {other for name in needed for other in known[name].like}
    return [variant for variant in rows if variant.name in needed]
