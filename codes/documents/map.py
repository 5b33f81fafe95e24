"""The maps of codes/ and VGG_BatchNorm/: a line a file, by room: what its docstring begins with."""

import ast
import re
from pathlib import Path

ROOMS = {  # folder: what belongs there
    "VGG_BatchNorm": "the course kit, extended, and the batch-norm study (part 2)",
    "VGG_BatchNorm/ground": "what both parts stand on; imports nothing from above",
    "codes": "scripts, and what a student edits: networks, optimizers, losses, settings, "
             "studies (part 1)",
    "codes/insight": "what is measured of a trained network (torch, no matplotlib)",
    "codes/results": "files of results, read into rows and words (neither torch nor matplotlib)",
    "codes/figures": "how it is drawn (matplotlib, no torch)",
    "codes/documents": "tables, report, page"}


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring. Raises ValueError: it has none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path} has no docstring")
    sentence = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r"[:,] `make [\w-]+`.*", "", sentence).rstrip(":.")


def is_script(path: Path) -> bool:
    return "\nif __name__ ==" in path.read_text(encoding="utf-8")


def room_map(root: Path, top: str) -> str:
    """Return the map of the rooms in the folder `top` as Markdown, links relative to that folder:
    a line a file, scripts in bold."""
    lines = []
    for room, about in ROOMS.items():
        if room.partition("/")[0] != top:
            continue
        files = sorted((root / room).glob("*.py"),
                       key=lambda path: (not is_script(path), path.name.lower()))
        lines.append(f"- `{room}/`: {about}")
        for path in files:
            bold = "**" if is_script(path) else ""
            address = path.relative_to(root / top).as_posix()
            lines.append(f"  - {bold}[{path.name}]({address}){bold}: {first_sentence(path)}")
    return "\n".join(lines)
