"""What `codes/compare.py` compares: the bases, and the variants of each study.

A study is a list of variants; the first is what the others are compared with. To add one, write a
function from the base's settings to such a list and put it into STUDIES."""

import itertools
from typing import NamedTuple

from codes.networks import build
from codes.optimizers import OPTIMIZERS
from codes.results.compare_results import FACTOR
from codes.schedule import image_size, proxy_settings
from codes.settings import DEFAULTS, Settings
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.timing import training_flops

COMMON = DEFAULTS | dict(validation=True, n_items=None, compile=False)
BASES = {
    # half a minute to two minutes a run on two CPU cores, in float32 everywhere
    "quick": COMMON | dict(widths=[16, 64, 64], epochs=4, batch_size=500, lr=0.24, small_share=0.75,
                           whiten_bias_share=0.25),
    # answers near the presets: as `fast`, with half as many epochs again, 0.144 PFLOP a run; 91.9 %
    # on validation (one run), in four minutes on two CPU cores that multiply bfloat16
    "long": COMMON | dict(precision="auto", widths=[64, 256, 256], epochs=6, lr=0.24,
                          micro_batch=200, small_share=0.5, whiten_bias_share=0.25),
    # a GPU
    "full": COMMON | dict(precision="auto", widths=[64, 256, 256], epochs=20, lr=0.2, translate=4,
                          whiten_bias_share=0.15),
}
COMBINED = ("augmentation", "activations", "optimizers")  # `final` takes their best
MORE = 3  # tries beyond those of a variant, where the best is at an edge


class Variant(NamedTuple):
    """A row of a study's table.

    Args:
        changes: settings in place of the base's.
        tries: further changes; the best on validation is kept (see `beyond`).
        like: variants, earlier in the study, whose kept tries are taken over."""

    name: str
    changes: dict = {}
    tries: tuple[dict, ...] = ()
    like: tuple[str, ...] = ()


def series(factor: float, each_way: int, **centres: float) -> tuple[dict, ...]:
    """Return these settings, and as many tries each way in which all are `factor` apart."""
    return tuple({name: float(f"{centre * factor**i:.2g}") for name, centre in centres.items()}
                 for i in range(-each_way, each_way + 1))


def rates(centre: float, factor: float = FACTOR) -> tuple[dict, ...]:
    """Return five learning rates, `factor` apart."""
    return series(factor, 2, lr=centre)


def beyond(tries: list[dict], scores: list[float]) -> list[dict] | None:
    """Return `tries` with one more value beyond the end at which the best one lies.

    None: the best lies inside, or the tries are not a geometric series (three or more, as rounded
    as `series` rounds them)."""
    best = scores.index(max(scores))
    if len(tries) < 3 or 0 < best < len(tries) - 1 or len({tuple(one) for one in tries}) > 1:
        return None
    if not all(isinstance(value, float) and value > 0 for one in tries for value in one.values()):
        return None
    factors = [b[name] / a[name] for a, b in itertools.pairwise(tries) for name in a]
    if max(factors) > 1.1 * min(factors):
        return None
    end, neighbour = (tries[0], tries[1]) if best == 0 else (tries[-1], tries[-2])
    new = {name: float(f"{end[name] ** 2 / neighbour[name]:.2g}") for name in end}
    return [new, *tries] if best == 0 else [*tries, new]


def variants(study: str, base: dict, found: dict[str, dict]) -> list[Variant]:
    """Return the rows of `study`; `final` alone needs what others found: {study: best changes}."""
    if study == "final":
        best = {name: value for each in COMBINED for name, value in found[each].items()}
        both = [Variant("base", {"validation": False}),
                Variant("the best of each study", best | {"validation": False})]
        return both if best else both[:1]
    return STUDIES[study](base)


def scaled(base: dict, factor: float) -> dict:
    """Return the base's widths times `factor`."""
    return {"widths": [max(1, round(factor * width)) for width in base["widths"]]}


def _widths(base: dict) -> list[Variant]:
    return [Variant(f"× {factor:g}: {', '.join(map(str, scaled(base, factor)['widths']))}",
                    scaled(base, factor) if factor != 1 else {})
            for factor in (1, 0.5, 0.75, 1.5, 2)]


def _depth(base: dict) -> list[Variant]:
    return [Variant("2 convolutions a group"), Variant("1 a group", {"depth": 1}),
            Variant("3 a group", {"depth": 3}), Variant("2 a group, residual", {"residual": True}),
            Variant("3 a group, residual", {"depth": 3, "residual": True})]


def _components(base: dict) -> list[Variant]:
    """Under AdamW, at the best rate of each net: Muon rescales filters, which a net with norm does
    not see, and which holds one without it together. Dropout takes over the rate found without it.
    """
    def name(**parts: bool) -> str:
        return " + ".join(part.replace("_", " ") for part in parts if parts[part]) or "none"

    found = []
    for dropout, norm, residual in itertools.product((False, True), (True, False), (False, True)):
        without = "skip_init" if residual else "none"
        changes = whole("adamw", norm="batch" if norm else without, residual=residual,
                        dropout=0.1 if dropout else 0.0)
        found.append(Variant(
            name(batch_norm=norm, dropout=dropout, residual=residual), changes,
            () if dropout else rates(9e-3 if norm else 1e-3),
            (name(batch_norm=norm, residual=residual),) if dropout else ()))
    return found


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

    "On filters" has another in Muon's place, which does not rescale the filters either; what it is
    to be compared with is "Muon, not rescaling". The rest have one optimizer and one rate for all.
    """
    muon = rates(base["lr"])
    return [Variant("Muon", {}, muon),
            Variant("Muon, not rescaling", {"optimizer": "muon_free"}, muon),
            Variant("DampedMuon (ours)", {"optimizer": "damped_muon"}, muon),
            Variant("DampedMuon, constant 1", {"optimizer": "damped_muon_constant"}, muon),
            Variant("SGD, Nesterov, on filters", whole("sgd_filters"), rates(0.9)),
            Variant("Adam on filters", whole("adam_filters"), rates(9e-3)),
            Variant("SGD", whole("sgd", momentum=0.0), rates(9.0)),
            Variant("SGD, momentum", whole("sgd", nesterov=False), rates(0.9)),
            Variant("SGD, Nesterov", whole("sgd"), rates(0.9)),
            Variant("RMSprop", whole("rmsprop"), rates(3e-3)),
            Variant("Adam", whole("adam"), rates(9e-3)),
            Variant("AdamW", whole("adamw"), rates(9e-3))]


def _damped_muon(base: dict) -> list[Variant]:
    """What of DampedMuon does what: how much it damps, whether that is annealed, and the length of
    its steps, each over rates so near to each other that none of these is a rate in disguise.
    Damping 2, annealed, and damping 1, constant, damp as much in the mean."""
    kinds = {"Muon": "muon", "damping 2, annealed": "damped_muon",
             "damping 1, annealed": "damped_muon_half", "damping 2, constant": "damped_muon_flat",
             "damping 1, constant": "damped_muon_constant",
             "damping 2, annealed, full length": "damped_muon_long"}
    return [Variant(name, {"optimizer": optimizer}, rates(base["lr"], 1.5))
            for name, optimizer in kinds.items()]


def _whole_images(base: dict) -> list[Variant]:
    """Optimizers of the filters where no image is small, for as many FLOPs as the base spends; of a
    base without small images there is nothing to compare."""
    if not base["small_share"]:
        return [Variant("Muon")]
    small = 1 - (base["small_size"] / 32) ** 2
    same_cost = {"small_share": 0.0, "epochs": base["epochs"] * (1 - small * base["small_share"])}
    return [Variant("Muon", same_cost, rates(base["lr"])),
            Variant("SGD, Nesterov, on filters", same_cost | whole("sgd_filters"), rates(0.9)),
            Variant("Adam on filters", same_cost | whole("adam_filters"), rates(9e-3)),
            Variant("Muon, small images first")]


def flops_of_an_image(settings: Settings) -> float:
    """Return the FLOPs that training spends on an image drawn, in the mean over a run's steps; as
    if no layer were ever frozen."""
    total, steps, runs = 0.0, 1000, [settings]
    if settings.keep_share < 1:
        runs.append(proxy_settings(settings))
    for run in runs:
        net, by_size = build(run.network, **run.config), {}
        for number in range(steps):
            if (size := image_size(number, steps, run)) not in by_size:
                by_size[size] = training_flops(net, size)
            total += by_size[size] * (run.keep_share if number >= run.select_from * steps else 1)
    return total / steps


def _recipe(base: dict) -> list[Variant]:
    """Ways to spend the base's FLOPs: each has as many epochs as they allow, to 5 %, at the base's
    rates where none is named. The whitening's bias is trained for whole epochs, longer where these
    are few."""
    small = base["small_share"] or 0.4
    graded = {"small_share": small / 2, "middle_share": (1 + small) / 2}
    blocks, average, shifts = {"depth": 3, "residual": True}, {"average": 0.1}, {"translate": 4}
    halves = {"batch_size": base["batch_size"] // 2, "micro_batch": base["batch_size"] // 4}
    narrower = scaled(base, 0.75)
    hardest = {"keep_share": 0.4, "proxy_widths": scaled(base, 0.25)["widths"]}
    found, first = [Variant("base")], flops_of_an_image(Settings.from_dict(base))
    for name, changes in {
            "whole images": {"small_share": 0.0}, "16, then 24, then 32 pixels": graded,
            "narrower": narrower, "wider": scaled(base, 1.5), "half the batch": halves,
            "narrower, 16 to 32 pixels": narrower | graded,
            "pooling first in the last group": {"pool_first": 1},
            "narrower, 16 to 32 pixels, pooling first in the last group":
                narrower | graded | {"pool_first": 1},
            "3 a group, residual": blocks, "the hardest 40 %": hardest,
            "the hardest 20 %": hardest | {"keep_share": 0.2},
            "the hardest 60 %": hardest | {"keep_share": 0.6},
            "the hardest 40 %, from the first step": hardest | {"select_from": 0.0},
            "the hardest 40 %, rate × 0.7": hardest | {"lr": round(0.7 * base["lr"], 3)},
            "the hardest 40 %, wider": hardest | scaled(base, 1.5),
            "the hardest 40 %, pooling first in the last group": hardest | {"pool_first": 1},
            "the hardest 40 %, 16, then 24, then 32 pixels": hardest | graded,
            "average of the last tenth": average, "shifts of up to 4": shifts,
            "label smoothing 0.1": {"label_smoothing": 0.1},
            "rate × 0.7": {"lr": round(0.7 * base["lr"], 3)},
            "rate × 1.4": {"lr": round(1.4 * base["lr"], 3)},
            "five of these": graded | blocks | hardest | average | shifts}.items():
        share = first / flops_of_an_image(Settings.from_dict(base | changes))
        if abs(share - 1) > 1e-9:
            changes = changes | {"epochs": float(f"{share * base['epochs']:.3g}")}
            name += f": {changes['epochs']:g} epochs"
        if any(base[key] != value for key, value in changes.items()):
            found.append(Variant(name, changes))
    return found


LOSSES = {name: {"label_smoothing": 0.0} | changes for name, changes in {
    "cross-entropy": {}, "label smoothing": {"label_smoothing": 0.2}, "focal": {"loss": "focal"},
    "squared error": {"loss": "squared_error"},
    "binary cross-entropy": {"loss": "binary_cross_entropy"}}.items()}


def _losses(base: dict) -> list[Variant]:
    """Under Adam: there, L2 in the loss and decoupled decay differ, and Muon rescales both away."""
    regularisers = {"L2": ("adam", "weight_decay", (1e-5, 1e-4, 1e-3)),
                    "L1": ("adam", "l1", (1e-5, 1e-4, 1e-3)),
                    "decoupled decay": ("adamw", "weight_decay", (1e-2, 1e-1, 1.0))}
    adam = whole("adam")
    found = [Variant(name, adam | changes, rates(9e-3)) for name, changes in LOSSES.items()]
    for (name, changes), (reg, (optimizer, key, factors)) in itertools.product(
            LOSSES.items(), regularisers.items()):
        tried = tuple({key: factor} for factor in factors) if name == "cross-entropy" else ()
        like = (name,) if tried else (name, f"cross-entropy + {reg}")
        changes = adam | changes | {"optimizer": optimizer}
        found.append(Variant(f"{name} + {reg}", changes, tried, like))
    return found


def _losses_muon(base: dict) -> list[Variant]:
    """Under the base's optimizer. Muon's step is as long whatever the scale of a loss, so what is
    tuned for each are the rates of SGD beside it, of biases and head."""
    beside = series(3.0, 1, bias_lr=base["bias_lr"], head_lr=base["head_lr"])
    return [*(Variant(name, changes, beside) for name, changes in LOSSES.items()),
            Variant("label smoothing + dropout", LOSSES["label smoothing"] | {"dropout": 0.1}, (),
                    ("label smoothing",))]


STUDIES = {"optimizers": _optimizers, "damped_muon": _damped_muon, "whole_images": _whole_images,
           "activations": _activations, "components": _components, "augmentation": _augmentation,
           "widths": _widths, "depth": _depth, "recipe": _recipe, "losses": _losses,
           "losses_muon": _losses_muon, "final": None}  # see `variants`


def wanted(names: list[str] | None, rows: list[Variant]) -> list[Variant]:
    """Return the variants named, those they lean on, and the first, with which all are compared.
    Raises UserError: no variant is called so."""
    if not names:
        return rows
    known = {variant.name: variant for variant in rows}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"unknown variant {unknown[0]!r}; "
                        f"choose from {', '.join(map(repr, known))}")
    needed = {rows[0].name, *names, *(other for name in names for other in known[name].like)}
    needed |= {other for name in needed for other in known[name].like}
    return [variant for variant in rows if variant.name in needed]
