"""The animation of a small net while it learns.

    write_gif(draw_frames(read_npz(results / "learning" / "learning.npz")), path)"""

from pathlib import Path

import numpy as np
from PIL import Image

from codes.figures.filters import as_pictures
from VGG_BatchNorm.ground.files import atomic_write
from VGG_BatchNorm.ground.style import PALETTE, VALIDATION, contact_sheet, plt

COLUMNS = 4  # of filters; a row holds as many
FRAME, LAST_FRAME = 100, 3000  # milliseconds


def draw_curve(axis, data: dict, name: str, unit: str, factor: float, top: float) -> tuple:
    """Set up axes for a quantity over the steps; return the empty line, and what it will show."""
    axis.set(xlim=(0, 1.05 * data["steps"][-1]), ylim=(0, top), xlabel="step",
             title=f"validation {name} ({unit})")
    line, = axis.plot([], [], ".-", color=VALIDATION, markersize=9)
    return line, data["steps"], factor * data[name]


def draw_weights(axis, data: dict) -> tuple:
    """Set up the path's axes; return the dots, the ring around the last, and the line likewise."""
    dots = axis.scatter(*data["path"].T, c=data["loss"], cmap="cividis", s=50, zorder=3)
    first, second = (f"{100 * share:.0f} %" for share in data["shares"])
    axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim(), title="path of the weights",
             xlabel=f"first component ({first} of the variance)", ylabel=f"second ({second})")
    axis.figure.colorbar(dots, ax=axis, label="loss (nats)")
    ring, = axis.plot([], [], "o", markersize=15, fillstyle="none", color=PALETTE[1], zorder=4)
    line, = axis.plot([], [], color="grey", linewidth=1.5)
    return dots, ring, (line, *data["path"].T)


def draw_frames(data: dict) -> list[Image.Image]:
    """A small net while it learns, from the first step to the last; frames are denser at the start.
    Left: the filters of its first layer, each in its own range, grey is 0; the first three start as
    the identity of one colour each, the others from noise. Above: accuracy and loss
    (without label smoothing) on {validation_images} validation images. Below: where the weights
    are, projected on the plane in which their path varies most, from its end; colour is the loss.
    It is the path of all trained parameters as they are: those that move far, whatever that does to
    the net, count most. And a smooth bend is no finding: of a long random walk, too, two components
    explain 61 % and 15 % (Antognini & Sohl-Dickstein 2018, arXiv 1806.08805). One run."""
    sheets = [contact_sheet(as_pictures(filters), COLUMNS, factor=8) for filters in data["filters"]]
    steps, frames = data["steps"], []
    with plt.rc_context({"font.size": 16, "axes.titlesize": 16, "figure.titlesize": 36}):
        figure, axes = plt.subplot_mosaic([["filters", "accuracy", "loss"],
                                           ["filters", "path", "path"]],
                                          figsize=(12, 7), width_ratios=(1.4, 1, 1))
        filters = axes["filters"].imshow(sheets[0], interpolation="nearest")
        axes["filters"].axis("off")
        axes["filters"].set_title("first-layer filters, grey is 0")
        dots, ring, line = draw_weights(axes["path"], data)
        lines = [line, draw_curve(axes["accuracy"], data, "accuracy", "%", 100, 100),
                 draw_curve(axes["loss"], data, "loss", "nats", 1, 1.05 * data["loss"].max())]
        title = figure.suptitle(f"step {steps[-1]} of {steps[-1]}")
        figure.canvas.draw()
        figure.set_layout_engine("none")  # where things are now, they stay
        for i, step in enumerate(steps):
            title.set_text(f"step {step} of {steps[-1]}")
            filters.set_data(sheets[i])
            for line, x, y in lines:
                line.set_data(x[:i + 1], y[:i + 1])
            dots.set_offsets(data["path"][:i + 1])
            dots.set_array(data["loss"][:i + 1])
            ring.set_data(data["path"][i:i + 1].T)
            figure.canvas.draw()
            frames.append(Image.fromarray(np.array(figure.canvas.buffer_rgba())[..., :3].copy()))
        plt.close(figure)
    return frames


def write_gif(frames: list[Image.Image], path: Path, colours: int = 256) -> None:
    """Write an endless animation in one palette, of its first, middle and last frame (it stays)."""
    some = [np.asarray(frames[i]) for i in (0, len(frames) // 2, -1)]
    palette = Image.fromarray(np.concatenate(some)).quantize(colours)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    with atomic_write(path) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, loop=0,
                   duration=[FRAME] * len(rest) + [LAST_FRAME])
    print(f"picture    {path}", flush=True)
