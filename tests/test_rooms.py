"""The rooms keep their rules: who is run, who is imported, and by whom."""

import ast
import sys
from pathlib import Path

import pytest
from conftest import ROOT, finish

from codes.documents.map import is_script

FILES = sorted(path for room in ("VGG_BatchNorm", "codes") for path in (ROOT / room).rglob("*.py"))
KIT = {"VGG_BatchNorm.loaders"}  # run and imported, by the course kit's own custom


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {name(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Modules of this repository that a file imports, at its top or inside its functions."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys()


def test_nobody_imports_a_script_and_scripts_alone_look_for_the_root():
    for path in FILES:
        assert {other for other in imports(path) if is_script(MODULES[other])} <= KIT, path
        assert ("sys.path.insert(" in path.read_text(encoding="utf-8")) == is_script(path), path


BELOW = {  # the rooms that a room imports from, beside itself and ground; a script of codes: all
    "VGG_BatchNorm.ground": (), "VGG_BatchNorm": (), "codes.results": (),
    "codes": ("codes.results", "VGG_BatchNorm"),
    "codes.insight": ("codes", "codes.results", "VGG_BatchNorm"),
    "codes.figures": ("codes.results", "VGG_BatchNorm"),
    "codes.documents": ("codes", "codes.figures", "codes.results", "VGG_BatchNorm")}


def test_imports_point_downwards():
    for path in FILES:
        room = name(path).rpartition(".")[0]
        rooms = {other.rpartition(".")[0] for other in imports(path)}
        everything = room == "codes" and is_script(path)
        assert everything or rooms <= {room, "VGG_BatchNorm.ground", *BELOW[room]}, path


def test_imports_make_no_circle():
    left = {module: imports(path) for module, path in MODULES.items()}
    while left:
        free = [module for module, needs in left.items() if not needs & left.keys() - {module}]
        assert free, f"a circle among {sorted(left)}"
        for module in free:
            del left[module]


def test_text_is_utf_8_whatever_the_locale_and_paths_know_the_home_folder():
    calls = [(f"{path}:{node.lineno}", node) for path in FILES
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call)]
    for place, call in calls:
        said, named = ast.unparse(call.func), {word.arg: word.value for word in call.keywords}
        modes = [part.value for part in call.args if isinstance(part, ast.Constant)]
        if said.endswith((".read_text", ".write_text")) or (
                said.split(".")[-1] in ("open", "fdopen")
                and not said.startswith(("Image.", "os.open", "tarfile."))
                and not any("b" in str(mode) for mode in modes)):
            assert "encoding" in named, place
        assert "text" not in named or not said.startswith("subprocess."), place
        assert "type" not in named or ast.unparse(named["type"]) != "Path", place


DRAWINGS = "codes.figures.", "codes.draw_figures", "VGG_BatchNorm.draw_"


@pytest.mark.parametrize("rooms, without", [
    (DRAWINGS, {"torch"}), ("codes.results.", {"torch", "matplotlib"})])
def test_a_room_does_without(rooms, without):
    modules = [module for module in MODULES if module.startswith(rooms)]
    assert modules
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({without} & sys.modules.keys()))"
    assert finish([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_insight_does_without_matplotlib():
    for module in MODULES:
        if module.startswith("codes.insight."):
            text = MODULES[module].read_text(encoding="utf-8")
            assert "matplotlib" not in text and "ground.style" not in text, module
