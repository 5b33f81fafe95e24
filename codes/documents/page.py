"""The page of `make gallery`: figures with their numbers, test images to choose, a surface to turn.

    html = build(Places(path, figures, results), read_npz(results / "gallery.npz"))

Its template is page.html.j2. What is shown are files in the folders of figures and results."""

import base64
import io
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_hex
from PIL import Image, UnidentifiedImageError

from codes.documents.figure_tables import TABLES, claim_tables, run_tables
from codes.figures import registry
from codes.figures.attribution import explanations
from codes.figures.landscape import COMPARED, loss_levels, network_title
from codes.results.words import marked_up
from VGG_BatchNorm import measures
from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.files import read_npz
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.style import BATCH_NORM, PALETTE, PLAIN, plt
from VGG_BatchNorm.run_files import read_study_run

SHOWN = 5  # probabilities of an image
NETS = (("none", "no norm", PLAIN), ("batch", "batch norm", BATCH_NORM))


class Places(NamedTuple):
    page: Path
    figures: Path  # a folder, as the next
    results: Path

    @property
    def network(self) -> Path:
        """The net that the page runs, as a script that the page loads."""
        return self.page.with_name("network.js")

    def link(self, path: Path) -> str:
        """Return what the page calls a file."""
        return quote(Path(os.path.relpath(path, self.page.parent)).as_posix())


def data_uri(picture: Image.Image | np.ndarray) -> str:
    """Return a picture, or its uint8 pixels (h, w, 3), as a PNG within the page."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# --- figures and their numbers ----------------------------------------------------------------


def plate(figure: registry.Figure, places: Places) -> dict:
    """Return what the page shows of a figure; of an animation its last frame, and how to play it.
    Raises UserError: the file is no picture."""
    path = places.figures / figure.file
    source = link = places.link(path)
    try:
        with Image.open(path) as picture:
            (width, height), last = picture.size, getattr(picture, "n_frames", 1) - 1
            if last:
                picture.seek(last)
                source = data_uri(picture.convert("RGB").quantize(128))
    except UnidentifiedImageError:
        raise UserError(f"{path} is no picture; move it away, and `make figures`") from None
    found = {pattern: sorted(places.results.glob(pattern))
             for pattern in (*figure.sources, *figure.beside)}
    files = [file for some in found.values() if len(some) < 20 for file in some]
    many = [pattern for pattern, some in found.items() if len(some) >= 20]
    tables = TABLES[figure.file](places.results) if files and figure.file in TABLES else []
    return {"title": figure.title, "link": link, "source": source, "width": width, "height": height,
            "animated": bool(last), "caption": registry.text(figure, places.results),
            "tables": tables, "many": many, "files": [(file.relative_to(places.results).as_posix(),
                                         places.link(file)) for file in files]}


def plates(places: Places) -> dict[str, list[dict]]:
    """Return the figures that are there, by section; the others are named."""
    found = {figure.section: [] for figure in registry.FIGURES}
    for figure in registry.FIGURES:
        if (places.figures / figure.file).exists():
            found[figure.section].append(plate(figure, places))
        else:
            print(f"missing    {places.figures / figure.file}; `make figures` draws it, "
                  f"from the numbers of `{figure.verb}`")
    return found


# --- what the page's script shows -------------------------------------------------------------


def chosen(data: dict) -> dict:
    """Return the test images to choose from: each button, in order, and what is shown of each."""
    found = {"thumbs": [], "records": [], **data["about"], **data["about"]["settings"],
             "filters": ["all", "mistakes",
                         *(CLASSES[label] for label in np.unique(data["labels"]))]}
    maps = explanations(data)
    for i, (image, number, shares) in enumerate(
            zip(data["images"], data["numbers"].tolist(), data["probabilities"], strict=True)):
        label, said = CLASSES[data["labels"][i]], CLASSES[shares.argmax()]
        text = f"test image {number}, {label}" + (f", taken for {said}" if said != label else "")
        found["thumbs"].append({"source": data_uri(image), "text": text, "label": label,
                                "wrong": "no" if said == label else "yes"})
        near = zip(data["near_images"][i], data["near"][i], data["near_labels"][i],
                   data["cosines"][i], strict=True)
        found["records"].append({
            "number": number, "label": label,
            "shares": [[CLASSES[k], round(float(shares[k]), 4)]
                       for k in (-shares).argsort()[:SHOWN]],
            "maps": [data_uri(pictures[i]) for pictures in maps],
            "near": [[data_uri(picture), int(place), CLASSES[name], round(float(cosine), 3)]
                     for picture, place, name, cosine in near]})
    return found


def surfaces(results: Path) -> list[dict]:
    """Return the planes of losses that are there and whole, cut off as in the figures."""
    small = {f"compare_{name}": f"small net with {label}" for name, label in COMPARED.items()}
    found = []
    for name, title in {"plane": "", **small}.items():
        path = results / "landscape" / f"{name}.npz"
        plane = read_npz(path) if path.exists() else None
        if not plane or len(plane["loss"]) < len(plane["ys"]):
            continue
        plane["loss"] = np.nan_to_num(plane["loss"], nan=np.inf)
        low, *_, high = loss_levels([plane])
        loss, title = plane["loss"].clip(low, high), title or network_title(plane)
        row, column = np.unravel_index(loss.argmin(), loss.shape)
        xs, ys = plane["xs"].tolist(), plane["ys"].tolist()
        label = (f"Loss surface, {title}: lowest {loss.min():.3g} nats, at {xs[column]:.2g} along "
                 f"direction 1 and {ys[row]:.2g} along direction 2; highest {high:.3g}")
        found.append({"title": title, "label": label, "xs": xs, "ys": ys, "low": float(low),
                      "high": float(high),
                      "loss": [[float(f"{value:.4g}") for value in line] for line in loss]})
    return found


def rounded(values: np.ndarray) -> list:
    """Return values of any shape with four digits, as JSON has them: what is not finite is null."""
    if values.ndim:
        return [rounded(value) for value in values]
    return float(f"{values:.4g}") if np.isfinite(values) else None


def live(results: Path) -> dict | None:
    """Return the study's pair of nets over its steps, medians over seeds; None: not run yet."""
    runs = {f"pair/{path.stem}": read_study_run(path)
            for path in sorted((results / "bn/full/pair").glob("*.npz"))}
    nets = []
    for norm, name, colour in NETS:
        try:
            mine = measures.find(runs, "pair", norm=norm)
        except measures.NotRun:
            return None
        bands = [run["losses"][:, measures.PAPER] for run in mine]
        edges = [measures.rate_times_curvature(run)[1] for run in mine]
        dead = [measures.dead_units(run)[1] for run in mine]
        nets.append({
            "name": name, "colour": colour,
            "edge_steps": rounded(measures.rate_times_curvature(mine[0])[0]),
            "low": rounded(np.median([band.min(1) for band in bands], 0)),
            "high": rounded(np.median([band.max(1) for band in bands], 0)),
            "edge": rounded(np.median(edges, 0)),
            "dead": rounded(np.median(dead, 0))})
    first = range(1, measures.CONVOLUTIONS + 1)
    layers = [*map(str, first), *(f"L{k + 1}" for k in range(dead[0].shape[1] - len(first)))]
    return {"steps": mine[0]["probe_steps"].astype(int).tolist(), "layers": layers,
            "seeds": len(mine), "nets": nets}


def template(name: str) -> jinja2.Template:
    """Return the template of this name, which lies beside this file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["marked_up"] = lambda text: Markup(marked_up(text))
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment.get_template(name)


def build(places: Places, data: dict) -> str:
    """Return the whole page. `data`: what `codes.insight.gallery.measure` found.

    Raises UserError: a file of results has another shape than expected, or a figure is no
    picture."""
    try:
        parts = {"accuracy": run_tables(places.results), "claims": claim_tables(places.results),
                 "figures": plates(places), "planes": surfaces(places.results),
                 "chosen": chosen(data), "live": live(places.results),
                 "network": places.link(places.network) if places.network.exists() else None}
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"a file in {places.results} has another shape than expected: "
                        f"{error!r}") from None
    colours = list(map(to_hex, plt.get_cmap("cividis")(np.linspace(0, 1, 64))))
    return template("page.html.j2").render(palette=PALETTE, colours=colours, **parts)
