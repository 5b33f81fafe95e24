"""Build the report: `make report`, or

    python codes/report.py

Reads the files in reports/results/ and the pictures in reports/figures/; sets reports/report.typ
with Typst into reports/report.pdf. Title, names and links are in reports/report.json; what is empty
there is left out and named. Names may be in any script for which there is a font: Typst's own, Noto
Serif SC for Chinese (a package), or one of the system's. Pictures have as many pixels as are
printed. No number is typed in report.typ: all come from the files, and so do the words that depend
on which way a result fell ("loses", "makes no clear difference"). The same files give the same
bytes. Ten seconds; needs the packages typst and pylopdf-fonts-zh-cn (requirements-dev.txt)."""

import importlib.util
import io
import json
import re
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.documents.report_numbers import collect
from codes.results.words import listed
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, ROOT, atomic_write, read_json
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, run_main, user_path

SOURCE = ROOT / "reports" / "report.typ"
SETTINGS = ("title", "student", "student_id", "code", "dataset", "weights")
FONTS = "pylopdf-fonts-zh-cn"  # Noto Serif SC
PICTURE = re.compile(r'#picture\("([^"]+)"(?:, width: (\d+)%)?')
TEXT_WIDTH, DPI = 17 / 2.54, 150  # inches, pixels an inch
COLOURS, BLOCK = (64, 256), 16
LITTLE, BLOTCH = 2, 16  # largest change of a colour, of 255: means over the picture, over a block


def read_settings(path: Path) -> dict:
    settings = read_json(path)
    if not isinstance(settings, dict) or any(
            not isinstance(settings.get(name), str) for name in SETTINGS):
        raise UserError(f"{path} must give {listed(list(SETTINGS))}, each in quotes")
    return settings


def find_fonts(text: str) -> dict:
    """Return arguments for Typst with which it has a glyph for every character of `text`.

    Fonts of the system, which differ from one to another, are used only where they have to be.
    Raises UserError: some character is in no font."""
    import typst

    package = importlib.util.find_spec(FONTS.replace("-", "_"))
    folders = list(package.submodule_search_locations) if package else []
    for ignored in (True, False):
        fonts = {"font_paths": folders, "ignore_system_fonts": ignored}
        try:  # PDF/A refuses what Typst would otherwise print as an empty box
            typst.compile(b"#sys.inputs.text", sys_inputs={"text": text}, pdf_standards="a-2b",
                          **fonts)
            return fonts
        except typst.TypstError as error:
            missing = error
    character = re.search('`"(.+?)"`', str(missing))
    raise UserError(f"no font here can print {character[1] if character else text}: install one "
                    f"(for Chinese: .venv/bin/python -m pip install {FONTS}), "
                    "or write it in Latin letters")


def looks_alike(picture: Image.Image, few: Image.Image) -> bool:
    """Return whether a picture is little changed in few colours, in none of its BLOCKs much."""
    change = np.asarray(ImageChops.difference(picture, few.convert("RGB"))).max(2)
    blocks = np.pad(change, [(0, -side % BLOCK) for side in change.shape])
    blocks = blocks.reshape(len(blocks) // BLOCK, BLOCK, -1, BLOCK).mean((1, 3))
    return change.mean() <= LITTLE and blocks.max() <= BLOTCH


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True, **options)
    return buffer.getvalue()


def for_print(source: Path, target: Path, share: float) -> Path:
    """Write a picture again, with the pixels that are printed on a share of the text's width.

    In the fewest of COLOURS that change it little, as with lines and text, or with all of them, or
    as a JPEG, whichever takes the least room in a PDF, which packs the pixels of a PNG anew.

    Returns:
        `target`, with the suffix of its format.

    Raises UserError: the source is missing, or no picture."""
    try:
        with Image.open(source) as picture:
            picture = picture.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{source} is missing; `make figures` draws it") from None
    except UnidentifiedImageError:
        raise UserError(f"{source} is no picture; move it away, and `make figures`") from None
    width = round(share * TEXT_WIDTH * DPI)
    if width < picture.width:
        size = width, round(picture.height * width / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    fewer = (picture.quantize(n, dither=Image.Dither.NONE, kmeans=1000) for n in COLOURS)
    few = next((one for one in fewer if looks_alike(picture, one)), picture)
    photo = encoded(picture, "jpeg", quality=78, subsampling=0, progressive=True)
    packed = zlib.compress(few.convert("RGB").tobytes())
    suffix, content = min((".png", packed), (".jpg", photo), key=lambda one: len(one[1]))
    target = target.with_suffix(suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if suffix == ".jpg" else encoded(few, "png"))
    return target


def set_pdf(content: dict, figures: Path) -> bytes:
    """Return report.typ with this content, as a PDF without a date. Raises UserError: no Typst, no
    font, a picture is missing, or the text asks for what is not in the content."""
    try:
        import typst
    except ImportError:
        raise UserError("the report needs the package typst: "
                        ".venv/bin/python -m pip install typst") from None
    fonts = find_fonts(" ".join(content["settings"][name] for name in SETTINGS))
    with tempfile.TemporaryDirectory() as folder:
        asked = PICTURE.findall(SOURCE.read_text(encoding="utf-8"))
        pictures = {name: str(for_print(figures / f"{name}.png", Path(folder, name),
                                        int(share or 100) / 100).resolve())
                    for name, share in asked}
        given = json.dumps(content | {"pictures": pictures})
        try:
            return typst.compile(str(SOURCE), root=SOURCE.anchor, sys_inputs={"content": given},
                                 timestamp=0, **fonts)
        except typst.TypstError as error:
            raise UserError(f"{SOURCE.name} and the results do not fit: "
                            f"{str(error).splitlines()[0]}") from None


def main() -> None:
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("--results", type=user_path, default=RESULTS_DIR, help="folder of the numbers")
    add("--figures", type=user_path, default=FIGURES_DIR, help="folder of the pictures")
    add("--settings", type=user_path, default=SOURCE.with_suffix(".json"),
        help="title, names and links")
    add("--out", type=user_path, default=SOURCE.with_suffix(".pdf"))
    args = parser.parse_args()
    settings = read_settings(args.settings)
    pdf = set_pdf(collect(args.results) | {"settings": settings}, args.figures)
    with atomic_write(args.out) as file:
        file.write(pdf)
    if unset := [name for name in SETTINGS if not settings[name]]:
        print(f"left out   {listed(unset)}: {args.settings} does not give them")
    print(f"report     {args.out}")


if __name__ == "__main__":
    run_main(main)
