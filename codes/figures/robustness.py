"""The picture of how a net bears corrupted and adversarial images: codes/insight/robustness.py."""

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import PALETTE, apart, contact_sheet, plt


def draw_examples(axis, data: dict, colours: dict[str, str]) -> None:
    rows, columns, *shape = data["pictures"].shape
    height, width = shape[0] + 2, shape[1] + 2
    axis.imshow(contact_sheet(data["pictures"].reshape(-1, *shape), columns),
                interpolation="nearest")
    axis.set_anchor("N")
    axis.set_xlabel(f"a test image ({CLASSES[int(data['label'])]}), clean and at severity")
    axis.xaxis.set_label_position("top")
    settings = data["about"]["settings"]
    epsilons = ", ".join(f"{eps:g}" for eps in settings["epsilons"][1:])
    names = [*colours, f"PGD-{settings['steps']}, ε =\n{epsilons}"]
    axis.set_yticks([height * (row + 0.5) - 1 for row in range(rows)], names)
    axis.set_xticks([width * (column + 0.5) - 1 for column in range(columns)],
                    ["clean", *map(str, range(1, columns))])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.tick_params("y", length=7, width=7)  # a mark of the colour of the curve
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    for tick, colour in zip(axis.yaxis.get_major_ticks(), [*colours.values(), PALETTE[7]],
                            strict=True):
        tick.tick1line.set_markeredgecolor(colour)


def draw_corruptions(axis, data: dict, colours: dict[str, str]) -> None:
    curves = {name: [100 * share for share in (data["clean"], *shares)]
              for name, shares in zip(colours, data["corruptions"], strict=True)}
    places = -apart([-curve[-1] for curve in curves.values()], 13)
    for (name, curve), place in zip(curves.items(), places, strict=True):
        axis.plot(range(len(curve)), curve, "o-", markersize=4, color=colours[name])
        axis.plot([5.1, 5.4], [curve[-1], place], color=colours[name], linewidth=1.5)
        axis.text(5.5, place, name, va="center")
    axis.set(xlim=(-0.2, 8.6), ylim=(0, 102), xlabel="severity of the corruption (0: clean)",
             ylabel="accuracy (%)",
             title=f"corruptions, {data['about']['settings']['images']:,} test images")
    axis.set_xticks(range(6))


def draw_attacks(axis, data: dict) -> None:
    settings = data["about"]["settings"]
    epsilons = settings["epsilons"]
    looks = (("FGSM", "s--", 2, dict(xytext=(7, 5), ha="left", va="bottom")),
             (f"PGD-{settings['steps']}", "o-", 1, dict(xytext=(-7, -5), ha="right", va="top")))
    for shares, (name, style, at, place) in zip(data["attacks"], looks, strict=True):
        axis.plot(epsilons, 100 * shares, style, markersize=4, color=PALETTE[7], clip_on=False)
        axis.annotate(name, (epsilons[at], 100 * shares[at]), textcoords="offset points",
                      color=PALETTE[7], **place)
    axis.axhline(10, color="grey", linestyle=":", linewidth=1)
    axis.text(epsilons[0], 11, "chance", color="#555555", va="bottom")
    axis.set_xscale("symlog", base=2, linthresh=0.5, linscale=0.5)  # 0, ½, 1, 2, … evenly spaced
    axis.set_xticks(epsilons, [f"{eps:g}" for eps in epsilons])
    axis.minorticks_off()
    axis.set(ylim=(0, 102), xlabel="ε, largest change of a pixel (1/255)", ylabel="accuracy (%)",
             title=f"adversarial attacks, {settings['attacked']:,} test images")


def draw_noise(axis, noise: dict) -> None:
    for net, shares, style in zip(noise["about"]["settings"]["nets"].values(), noise["accuracy"],
                                  ("o-", "s--"), strict=True):
        label = "a fixed whitening" if net["whiten"] else "trained"
        axis.plot(range(len(shares)), 100 * shares, style, markersize=4, color=PALETTE[0],
                  label=label)
    axis.set(ylim=(0, 102), xlabel="severity of Gaussian noise (0: clean)", ylabel="accuracy (%)",
             title="two small nets under noise")
    axis.legend(title="first layer:", alignment="left", labelspacing=0.2, borderaxespad=0)


def caption_words(data: dict, _) -> dict[str, str]:
    """Return those in the caption; `*_points` is a standard error at accuracy ½, the largest."""
    settings = data["about"]["settings"]
    *shifts, last = map(str, settings["corruptions"]["shift"])
    sizes = {name: settings[name] for name in ("images", "attacked")}
    return {"kinds": len(settings["corruptions"]), "severities": data["corruptions"].shape[1],
            "shifts": f"{', '.join(shifts)} and {last}",
            **{name: f"{n:,}" for name, n in sizes.items()},
            **{f"{name}_points": f"{50 / n**0.5:.1f}" for name, n in sizes.items()}}


def draw_robustness(data: dict, noise: dict):
    """Left: one test image under {kinds} corruptions (those of CIFAR-10-C, and `shift`, ours, of
    {shifts} pixels along both axes), in {severities} severities; last row: attacked by PGD, with
    the ε beside it, in 1/255. Right: accuracy at each severity, and under attack. Severities are
    steps of one corruption, not comparable between corruptions. The attacks know the net's gradient
    and change each pixel by at most ε; the accuracy that is left is an upper bound, since stronger
    attacks exist. Below: two small nets that differ in the first layer (one net each). A fixed
    whitening raises the finest differences between pixels to the size of all others, and noise with
    them. Standard error: at most {images_points} points on {images} images, {attacked_points} on
    {attacked}."""
    colours = dict(zip(data["about"]["settings"]["corruptions"], PALETTE, strict=False))
    figure = plt.figure(figsize=(9.4, 6.4))
    figure.get_layout_engine().set(hspace=0.07)
    left, right = figure.subfigures(1, 2, width_ratios=(1.28, 1))
    draw_examples(left.subplots(), data, colours)
    above, middle, below = right.subplots(3, 1)
    draw_corruptions(above, data, colours)
    draw_attacks(middle, data)
    draw_noise(below, noise)
    return figure
