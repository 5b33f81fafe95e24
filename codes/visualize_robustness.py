"""Draw how the network bears corrupted and adversarial images:

    python codes/visualize_robustness.py --ckpt reports/models/cifarnet.pt

Accuracy on test images under seven corruptions of five severities (corruptions.py), and, on a quarter of
them, under two attacks that know the net: FGSM, one step along the sign of the gradient (Goodfellow et al.
2015, arXiv 1412.6572), and PGD, ten smaller ones from a random start (Madry et al. 2018, arXiv 1706.06083).
Then Gaussian noise alone on two small nets (small_nets.py), trained at the first call, which differ in the
first layer. Leaves robustness.png in reports/figures/, and what it is drawn from in reports/results/:
robustness.json, the accuracies, robustness_examples.npz and robustness_noise.npz. Three minutes on two CPU
cores; the same checkpoint and data are drawn from there.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import computed, made_from, picture_parser
from codes.insight.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from codes.insight.small_nets import net_settings, small_net
from codes.networks import restore
from codes.settings import count
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import (
    CLASSES,
    Split,
    data_checksum,
    load_cifar10,
    normalize,
    split_validation,
)
from VGG_BatchNorm.ground.files import FIGURES_DIR, read_json, write_json
from VGG_BatchNorm.ground.machine import environment, keep_freed_memory, pick_device
from VGG_BatchNorm.ground.predictions import accuracy, predict
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import PALETTE, contact_sheet, plt, save_figure

EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # largest change of a pixel, in 1/255
PGD_STEPS = 10
NOISE = "Gaussian noise"
FIRST_LAYERS = {"batch_norm": "a fixed whitening", "trained_stem": "trained"}  # nets of small_nets.py
EXAMPLE = 7  # number of the test image whose versions are shown


# --- compute --------------------------------------------------------------------------------


def loss_gradient(net: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the summed cross-entropy by the pixels x (N, 3, H, W) in [0, 1], unnormalised."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(net(normalize(255 * x)), labels, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def fgsm(net: nn.Module, x: Tensor, labels: Tensor, eps: float, _=None) -> Tensor:
    """x (N, 3, H, W) in [0, 1], each pixel moved by eps the way that raises the loss, and kept in [0, 1]."""
    return (x + eps * loss_gradient(net, x, labels).sign()).clamp(0, 1)


def pgd(net: nn.Module, x: Tensor, labels: Tensor, eps: float, generator: torch.Generator,
        steps: int = PGD_STEPS) -> Tensor:
    """`steps` steps of 2.5 · eps / steps, held within eps of x (N, 3, H, W) and in [0, 1].

    Args:
        generator: on the CPU; draws the start, uniform within eps.
    """
    start = 2 * torch.rand(x.shape, generator=generator).to(x.device) - 1
    moved = (x + eps * start).clamp(0, 1)
    for _ in range(steps if eps else 0):
        moved = moved + 2.5 * eps / steps * loss_gradient(net, moved, labels).sign()
        moved = (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)
    return moved


ATTACKS = {"FGSM": fgsm, "PGD-10": pgd}


def corrupted_accuracies(net: nn.Module, test: Split, device: torch.device) -> dict[str, list[float]]:
    """Accuracy by corruption, for severities 1 to 5; `test` is on the CPU."""
    found = {}
    for name in CORRUPTIONS:
        splits = (Split(corrupt(test.images, name, severity), test.labels).to(device)
                  for severity in SEVERITIES)
        found[name] = [accuracy(predict(net, split), split.labels) for split in splits]
        print(f"{name:<15}" + "".join(f"{100 * share:6.1f}" for share in found[name]), flush=True)
    return found


def attacked_accuracies(net: nn.Module, some: Split, batch_size: int = 250) -> dict[str, list[float]]:
    """Accuracy by attack, for EPSILONS."""
    found = {}
    for name, attack in ATTACKS.items():
        found[name] = []
        for eps in EPSILONS:
            generator, right = torch.Generator().manual_seed(0), 0
            for images, labels in zip(*(part.split(batch_size) for part in some), strict=True):
                x = attack(net, images / 255, labels, eps / 255, generator)
                with torch.no_grad():
                    right += (net(normalize(255 * x)).argmax(1) == labels).sum().item()
            found[name].append(right / len(some.labels))
        print(f"{name:<9}" + "".join(f"{100 * share:6.1f}" for share in found[name]), flush=True)
    return found


def measure(net: nn.Module, test: Split, device: torch.device) -> dict:
    """All accuracies, as fractions."""
    some = test.take(slice(len(test.labels) // 4)).to(device)
    whole = test.to(device)
    return {"clean": accuracy(predict(net, whole), whole.labels),
            "corruptions": corrupted_accuracies(net, test, device),
            "attacked_images": len(some.labels), "epsilons": EPSILONS,
            "attacks": attacked_accuracies(net, some)}


def noise_by_first_layer(settings: dict[str, dict], train: Split, test: Split) -> dict:
    """Accuracy (nets, 6) of small nets on clean and on noisy test images; `test` is on the CPU."""
    found, device = [], train.labels.device
    for name, one in settings.items():
        net = restore(load_checkpoint(small_net(name, one["seed"], train, one["data_md5"]))).to(device)
        versions = [test.images, *(corrupt(test.images, NOISE, severity) for severity in SEVERITIES)]
        found.append([accuracy(predict(net, Split(images, test.labels).to(device)), test.labels.to(device))
                      for images in versions])
    return {"accuracy": found}


def examples(net: nn.Module, one: Split, device: torch.device) -> dict:
    """Pictures (corruptions + 1, 6, 32, 32, 3) of one image: clean and five severities; last, PGD."""
    rows = [torch.cat([one.images, *(corrupt(one.images, name, severity) for severity in SEVERITIES)])
            for name in CORRUPTIONS]
    image, label = one.to(device)
    attacked = [pgd(net, image / 255, label, eps / 255, torch.Generator().manual_seed(0))
                for eps in EPSILONS]
    rows.append((255 * torch.cat(attacked)).round().to("cpu", torch.uint8))
    return {"pictures": torch.stack(rows).permute(0, 1, 3, 4, 2), "label": one.labels[0]}


# --- draw -----------------------------------------------------------------------------------


def spread(values: list[float], gap: float) -> list[float]:
    """Heights for labels of these values: in the same order, `gap` apart or more, none above its value."""
    places, last = {}, math.inf
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        last = places[i] = min(values[i], last - gap)
    return [places[i] for i in range(len(values))]


def draw_examples(axis, shown: dict, colours: dict[str, str]) -> None:
    height, width = (side + 2 for side in shown["pictures"].shape[2:4])
    axis.imshow(contact_sheet(shown["pictures"]), interpolation="nearest")
    axis.set_anchor("N")
    axis.set_xlabel(f"a test image ({CLASSES[int(shown['label'])]}), clean and at severity")
    axis.xaxis.set_label_position("top")
    names = [*colours, "PGD-10, ε of\nthe attacks"]
    axis.set_yticks([height * (row + 0.5) - 1 for row in range(len(names))], names)
    axis.set_xticks([width * (column + 0.5) - 1 for column in range(1 + len(SEVERITIES))],
                    ["clean", *map(str, SEVERITIES)])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    for label, colour in zip(axis.get_yticklabels(), [*colours.values(), PALETTE[7]], strict=True):
        label.set_color(colour)


def draw_corruptions(axis, result: dict, colours: dict[str, str]) -> None:
    curves = {name: [100 * share for share in (result["clean"], *result["corruptions"][name])]
              for name in colours}
    places = spread([curve[-1] for curve in curves.values()], 7.5)
    for (name, curve), place in zip(curves.items(), places, strict=True):
        axis.plot(range(len(curve)), curve, "o-", markersize=4, color=colours[name])
        axis.plot([5.08, 5.25], [curve[-1], place], color=colours[name], linewidth=0.8)
        axis.text(5.3, place, name, color=colours[name], fontsize=10, va="center")
    axis.set(xlim=(-0.2, 7.2), ylim=(0, 102), xlabel="severity of the corruption (0: clean)",
             ylabel="accuracy (%)", title=f"corruptions, {result['about']['images']:,} test images")
    axis.set_xticks(range(6))


def draw_attacks(axis, result: dict) -> None:
    beside = dict(xytext=(7, 5), ha="left", va="bottom"), dict(xytext=(-7, -5), ha="right", va="top")
    for (name, shares), style, place in zip(result["attacks"].items(), ("s--", "o-"), beside, strict=True):
        curve = [100 * share for share in shares]
        axis.plot(result["epsilons"], curve, style, markersize=4, color=PALETTE[7])
        axis.annotate(name, (result["epsilons"][2], curve[2]), textcoords="offset points",
                      color=PALETTE[7], fontsize=10, **place)
    axis.axhline(10, color="grey", linestyle=":", linewidth=1)
    axis.text(result["epsilons"][-1], 11, "chance", color="grey", fontsize=9, ha="right", va="bottom")
    axis.set_xscale("symlog", base=2, linthresh=0.5, linscale=0.5)  # 0, ½, 1, 2, … evenly spaced
    axis.set_xticks(result["epsilons"], [f"{eps:g}" for eps in result["epsilons"]])
    axis.minorticks_off()
    axis.set(ylim=(0, 102), xlabel="ε, largest change of a pixel (1/255)", ylabel="accuracy (%)",
             title=f"attacks, {result['attacked_images']:,} of them")


def draw_noise(axis, noise: dict) -> None:
    for label, shares, style in zip(FIRST_LAYERS.values(), noise["accuracy"], ("o-", "s--"), strict=True):
        axis.plot(range(len(shares)), 100 * shares, style, markersize=4, color=PALETTE[0], label=label)
    axis.set(ylim=(0, 102), xlabel="severity of Gaussian noise (0: clean)", ylabel="accuracy (%)",
             title="two small nets, whose first layer is")
    axis.legend(fontsize=10)


def draw_robustness(result: dict, shown: dict, noise: dict):
    """Left: one test image under seven corruptions (those of CIFAR-10-C, and `shift`, ours, of 1, 2, 4, 6 and
    8 pixels along both axes), in five severities; last row: attacked by PGD, with the ε of the last axis.
    Right: accuracy at each severity, and under attack. Severities are steps of one corruption, not comparable
    between corruptions. The attacks know the net's gradient and change each pixel by at most ε; the accuracy
    that is left is an upper bound, since stronger attacks exist. Below: a likely part of why noise hurts this
    much. The first layer is a fixed whitening, which raises the finest differences between pixels to the size
    of all others, and noise with them; a small net whose first layer is trained instead bears more of it (one
    net each). Standard error: at most 1.1 points on 2,000 images, 2.2 on 500. The shipped net saw flips and
    shifts of 2 pixels in training, and none of the rest."""
    colours = dict(zip(CORRUPTIONS, PALETTE, strict=False))
    figure = plt.figure(figsize=(12, 8))
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    draw_examples(left.subplots(), shown, colours)
    above, middle, below = right.subplots(3, 1)
    draw_corruptions(above, result, colours)
    draw_attacks(middle, result)
    draw_noise(below, noise)
    return figure


def main() -> None:
    parser = picture_parser(__doc__, out=FIGURES_DIR / "robustness.png")
    parser.add_argument("--n-items", type=count, default=2000, help="only the first so many test images")
    args = parser.parse_args()
    if args.n_items <= EXAMPLE:
        raise UserError(f"--n-items takes more than {EXAMPLE}, not {args.n_items}")
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    train, test = load_cifar10(args.data_dir)
    test = test.take(slice(args.n_items))
    about = made_from(path, args.data_dir, images=len(test.labels))
    file = args.results / "robustness.json"
    result = read_json(file) if file.exists() else {}
    if result.get("about") != about:
        result = {"about": about, **measure(net, test, device), **environment(device)}
        write_json(file, result)
    shown = computed(args.results / "robustness_examples.npz", about,
                     lambda: examples(net, test.take(slice(EXAMPLE, EXAMPLE + 1)), device))
    settings = {name: net_settings(name, 0, data_checksum(args.data_dir)) for name in FIRST_LAYERS}
    noise = computed(args.results / "robustness_noise.npz",
                     {"nets": list(settings.values()), "images": len(test.labels)},
                     lambda: noise_by_first_layer(settings, split_validation(train)[0].to(device), test))
    save_figure(draw_robustness(result, shown, noise), args.out)
    print(f"{path}\nnumbers    {file}\npicture    {args.out}")


if __name__ == "__main__":
    run_main(main)
