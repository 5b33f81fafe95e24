"""Build the report: `make report`, or

    python codes/report.py

Reads the files in reports/results/ and the pictures in reports/figures/; sets reports/report.typ
with Typst into reports/report.pdf. Title, names and links are in reports/report.json; what is unset
there is named. Names may be in any script for which there is a font: Typst's own, Noto Serif SC
for Chinese (a package), or one of the system's. No number is typed in report.typ: all come from the
files, and so do the words that depend on which way a result fell ("loses", "makes no clear
difference"). The same files give the same bytes. Ten seconds; needs the packages typst and
pylopdf-fonts-zh-cn (requirements-dev.txt).
"""

import importlib.util
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.documents.report_numbers import collect
from codes.documents.words import listed
from codes.flags import flag_parser
from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, ROOT, atomic_write, read_json
from VGG_BatchNorm.ground.script import UserError, run_main, user_path

SOURCE = ROOT / "reports" / "report.typ"
SETTINGS = ("title", "student", "student_id", "code", "dataset", "weights")
PLACEHOLDER = "YOUR "  # what an unset setting starts with
FONTS = "pylopdf-fonts-zh-cn"  # Noto Serif SC


def read_settings(path: Path) -> dict:
    settings = read_json(path)
    if not isinstance(settings, dict) or any(
            not isinstance(settings.get(name), str) for name in SETTINGS):
        raise UserError(f"{path} must give {listed(list(SETTINGS))}, each in quotes")
    return settings


def find_fonts(text: str) -> dict:
    """Return arguments for Typst with which it has a glyph for every character of `text`.

    Fonts of the system, which differ from one to another, are used only where they have to be.

    Raises:
        UserError: some character is in no font.
    """
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


def set_pdf(content: dict, figures: Path) -> bytes:
    """Return report.typ with this content, as a PDF without a date.

    Raises:
        UserError: no Typst, no font, a picture is missing, or the text asks for what is not in the
            content.
    """
    try:
        import typst
    except ImportError:
        raise UserError("the report needs the package typst: "
                        ".venv/bin/python -m pip install typst") from None
    fonts = find_fonts(" ".join(content["settings"][name] for name in SETTINGS))
    for name in re.findall(r'#picture\("([^"]+)"', SOURCE.read_text(encoding="utf-8")):
        if not (figures / f"{name}.png").exists():
            raise UserError(f"{figures / name}.png is missing; `make figures` draws it")
    given = json.dumps(content | {"figures": str(figures.resolve())})
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
    for name in SETTINGS:
        if settings[name].startswith(PLACEHOLDER):
            print(f"unset      {name}: {args.settings}")
    print(f"report     {args.out}")


if __name__ == "__main__":
    run_main(main)
