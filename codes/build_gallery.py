"""Build the page that shows all pictures and lets you choose test images: `make gallery`, or

    python codes/build_gallery.py --ckpt reports/models/cifarnet.pt

Leaves reports/index.html, which opens from disk in any browser and needs no network: every figure in
reports/figures/ with its caption and the numbers behind it, test images to choose from, and a loss surface to
turn. Figures are linked, not held; one that is missing is left out and named. What is shown of the
test images is computed once for a checkpoint and data, into reports/results/gallery.npz: a minute and a
half on two CPU cores, then a few seconds.
"""

import base64
import io
import json
import os
import re
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image, UnidentifiedImageError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.computed import computed, made_from, picture_parser
from codes.documents.tables import html, marked_up
from codes.draw_landscape import loss_levels, network_title
from codes.figures.caption import caption
from codes.gallery_figures import FIGURES, Figure, claim_tables, run_tables
from codes.gallery_images import RIGHT, WRONG, measure
from codes.insight.loss_landscape import read_plane
from codes.insight.small_nets import NETS
from codes.networks import restore
from codes.visualize_landscape import COMPARED
from VGG_BatchNorm.ground.checkpoint import find_checkpoint, load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, load_cifar10
from VGG_BatchNorm.ground.files import FIGURES_DIR, ROOT, atomic_write, read_npz
from VGG_BatchNorm.ground.machine import keep_freed_memory, pick_device
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import PALETTE, plt
from VGG_BatchNorm.ground.tables import Table

TEMPLATE = Path(__file__).with_name("gallery.html")
METHODS = ("integrated_gradients", "grad_cam", "occlusion")  # in the order of the template's
SHOWN = 5  # probabilities of an image


# --- figures and their numbers ----------------------------------------------------------------


def data_uri(picture: Image.Image | np.ndarray) -> str:
    """A picture, or its uint8 pixels (h, w, 3), as a PNG within the page."""
    picture, buffer = picture if isinstance(picture, Image.Image) else Image.fromarray(picture), io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class Page:
    """Where the page is and what it shows; its methods give parts of it, as HTML."""

    def __init__(self, path: Path, figures: Path, results: Path):
        self.path, self.figures, self.results = path, figures, results

    def link(self, path: Path) -> str:
        return quote(Path(os.path.relpath(path, self.path.parent)).as_posix())

    def tables(self, make: Callable[[Path], list[Table]]) -> str:
        """Raises `UserError` where a file of results has another shape than expected."""
        try:
            return "".join(map(html, make(self.results)))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"a file in {self.results} has another shape than expected: {error!r}") from None

    def numbers(self, figure: Figure) -> str:
        """Links to the files that a figure is drawn from, and the main numbers in them."""
        files = [path for pattern in figure.sources for path in sorted(self.results.glob(pattern))]
        if not files:
            return ""
        links = "".join(f'<li><a href="{self.link(path)}">{escape(path.relative_to(self.results).as_posix())}'
                        "</a></li>\n" for path in files)
        return (f"<details><summary>The numbers behind it</summary>\n<ul>\n{links}</ul>\n"
                f"{self.tables(figure.tables)}</details>\n")

    def figure(self, figure: Figure) -> str:
        """A figure; of an animation its last frame, and a button that plays it.

        Raises:
            UserError: the file is no picture.
        """
        path, title, button = self.figures / figure.file, escape(figure.title), ""
        source = link = self.link(path)
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                if last := getattr(picture, "n_frames", 1) - 1:
                    picture.seek(last)
                    source = data_uri(picture.convert("RGB").quantize(128))
                    button = f'<button type="button" data-animation="{link}">Play</button>\n'
        except UnidentifiedImageError:
            raise UserError(f"{path} is no picture; delete it, and `{figure.verb}`") from None
        text = figure.caption if isinstance(figure.caption, str) else " ".join(figure.caption.__doc__.split())
        if "{" in text:
            numbers = self.results / next(name for name in figure.sources if name.endswith(".npz"))
            text = caption(figure.caption, read_npz(numbers) if numbers.exists() else None)
        image = f'<img src="{source}" alt="{title}" width="{width}" height="{height}" loading="lazy">'
        return (f'<div class="plate">\n<figure>\n<a class="card" href="{link}">{image}</a>\n{button}'
                f"<figcaption><strong>{title}.</strong> {marked_up(text)}</figcaption>\n"
                f"</figure>\n{self.numbers(figure)}</div>\n")

    def section(self, figures: list[Figure]) -> str:
        """The figures that are there; the others are named."""
        there = [figure for figure in figures if (self.figures / figure.file).exists()]
        for figure in figures:
            if figure not in there:
                print(f"missing    {self.figures / figure.file}; `{figure.verb}` makes it")
        return "".join(map(self.figure, there))


# --- what the page's script shows -------------------------------------------------------------


def as_json(content: list) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def thumbs(data: dict) -> str:
    """A button for each of the test images to choose from."""
    buttons = []
    for image, number, label, said in zip(data["images"], data["numbers"], data["labels"],
                                          data["probabilities"].argmax(1), strict=True):
        name, wrong = CLASSES[label], said != label
        text = f"test image {number}, {name}" + (f", taken for {CLASSES[said]}" if wrong else "")
        buttons.append(f'<button type="button" class="thumb" aria-pressed="false" data-class="{name}" '
                       f'data-wrong="{"yes" if wrong else "no"}"><img src="{data_uri(image)}" alt="{text}" '
                       'width="32" height="32"></button>\n')
    return "".join(buttons)


def filters(data: dict) -> str:
    """A button for each choice of test images: all, the mistakes, those of a class."""
    names = ("all", "mistakes", *(CLASSES[label] for label in np.unique(data["labels"])))
    return "".join(f'<button type="button" data-filter="{name}" aria-pressed="false">{name}</button>\n'
                   for name in names)


def records(data: dict) -> list[dict]:
    """What the script shows of each test image, in the order of the buttons."""
    found = []
    for i, shares in enumerate(data["probabilities"]):
        near = zip(data["near_images"][i], data["near"][i], data["near_labels"][i], data["cosines"][i],
                   strict=True)
        found.append({
            "number": int(data["numbers"][i]), "label": CLASSES[data["labels"][i]],
            "shares": [[CLASSES[k], round(float(shares[k]), 4)] for k in (-shares).argsort()[:SHOWN]],
            "maps": [data_uri(data[method][i]) for method in METHODS],
            "near": [[data_uri(image), int(number), CLASSES[label], round(float(cosine), 3)]
                     for image, number, label, cosine in near]})
    return found


def surfaces(results: Path) -> list[dict]:
    """The planes of losses that are there and whole, cut off as in the figures."""
    small, found = {f"compare_{name}": f"small net with {NETS[name][0]}" for name in COMPARED}, []
    for name, title in {"plane": "", **small}.items():
        plane = read_plane(results / "landscape" / f"{name}.npz")
        if not plane or len(plane["loss"]) < len(plane["ys"]):
            continue
        plane["loss"] = np.nan_to_num(plane["loss"], nan=np.inf)
        low, *_, high = loss_levels([plane])
        loss, title = plane["loss"].clip(low, high), title or network_title(plane)
        row, column = np.unravel_index(loss.argmin(), loss.shape)
        xs, ys = plane["xs"].tolist(), plane["ys"].tolist()
        label = (f"Loss surface, {title}: lowest {loss.min():.3g} nats, at {xs[column]:.2g} along direction "
                 f"1 and {ys[row]:.2g} along direction 2; highest {high:.3g}")
        found.append({"title": title, "label": label, "xs": xs, "ys": ys, "low": float(low),
                      "high": float(high),
                      "loss": [[float(f"{value:.4g}") for value in line] for line in loss]})
    return found


def draw_surface(planes: list[dict]) -> str:
    """The canvas on which the script draws, a button for each plane, and their numbers."""
    if not planes:
        return "<p>No surface is there yet to turn: <code>codes/visualize_landscape.py</code> makes it.</p>\n"
    buttons = "".join(f'<button type="button" data-plane="{i}" aria-pressed="false">{escape(plane["title"])}'
                      "</button>\n" for i, plane in enumerate(planes))
    colours = list(map(to_hex, plt.get_cmap("cividis")(np.linspace(0, 1, 64))))
    return (f'<div class="choices" role="group" aria-label="Which surface is shown">\n{buttons}</div>\n'
            '<canvas id="surface" tabindex="0" role="img" '
            f'aria-label="{escape(planes[0]["label"])}"></canvas>\n'
            '<p id="under" class="note"></p>\n'
            f'<script type="application/json" id="planes">{as_json(planes)}</script>\n'
            f'<script type="application/json" id="colours">{as_json(colours)}</script>\n')


def build(page: Page, data: dict) -> str:
    """The whole page: the template, its markers filled."""
    nothing = "<p>These numbers are not there yet.</p>\n"
    parts = {"palette": " ".join(f"--palette-{i}: {colour};" for i, colour in enumerate(PALETTE)),
             "accuracy": page.tables(run_tables) or nothing, "claims": page.tables(claim_tables) or nothing,
             "checkpoint": escape(f"{data['about']['checkpoint']} (SHA-1 {data['about']['sha1']})"),
             "right": str(RIGHT), "wrong": str(WRONG), "filters": filters(data), "thumbs": thumbs(data),
             "images": as_json(records(data)), "surface": draw_surface(surfaces(page.results)),
             **{name: page.section(figures) for name, figures in FIGURES.items()}}
    return re.sub(r"\{\{(\w+)\}\}", lambda marker: parts[marker[1]], TEMPLATE.read_text(encoding="utf-8"))


def main() -> None:
    parser = picture_parser(__doc__, out=ROOT / "reports" / "index.html")
    parser.add_argument("--figures", type=Path, default=FIGURES_DIR, help="folder of the pictures")
    args = parser.parse_args()
    keep_freed_memory()
    path, device = find_checkpoint(args.ckpt), pick_device(args.device)
    net = restore(load_checkpoint(path)).to(device)
    train, test = (split.to(device) for split in load_cifar10(args.data_dir))
    data = computed(args.results / "gallery.npz", made_from(path, args.data_dir),
                    lambda: measure(net, train, test))
    text = build(Page(args.out, args.figures, args.results), data)
    with atomic_write(args.out) as file:
        file.write(text.encode())
    print(f"{path}\npage       {args.out}, {args.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_main(main)
