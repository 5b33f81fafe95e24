"""Where things are kept; files that are whole at every moment: CSV, JSON, npz with settings."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from VGG_BatchNorm.ground.script import UserError

ROOT = Path(__file__).resolve().parents[2]
DATA_DIR = ROOT / "data"
RUNS_DIR = ROOT / "runs"
RESULTS_DIR = ROOT / "reports" / "results"
FIGURES_DIR = ROOT / "reports" / "figures"
SHIPPED_WEIGHTS = ROOT / "reports" / "models" / "cifarnet.pt"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[io.BufferedWriter]:
    """Open a temporary file beside `path`; rename it to `path` once it is whole and on disk.
    Raises OSError: no space, no permission; `path` is then as it was, the temporary file gone."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: dict) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write a line a dict, columns from the first, None an empty cell; no rows give an empty file.
    """
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: Path, *needed: str) -> dict:
    """Return what the file holds; `UserError` if it is missing, not JSON, or lacks what is needed.
    `needed`: names that the dict must have."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); mend it, or move it away") from None
    lacks = [name for name in needed if not isinstance(content, dict) or name not in content]
    if lacks:
        raise UserError(f"{path} lacks {', '.join(lacks)}; mend it, or move its folder away")
    return content


def newest(folder: Path, pattern: str, missing: str = "") -> Path | None:
    """Return the file in `folder` that matches and was written last; None if there is none.
    Raises UserError: there is none, and `missing` says what to do about it."""
    found = max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)
    if missing and not found:
        raise UserError(missing)
    return found


def digest(path: Path) -> str:
    """Return the first ten digits of a file's SHA-1."""
    return hashlib.sha1(path.read_bytes()).hexdigest()[:10]


def shown_path(path: Path) -> str:
    """Return how results name a file: its path in the repository, elsewhere its name alone."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def read_csv(path: Path, types: dict[str, type]) -> list[dict]:
    """Return the rows of a CSV file, each a dict by column; none where the file is missing.
    `types`: int, float or bool, by column. What is not named is text; an empty cell is None.

    Raises UserError: rows of differing lengths, not text, or a cell that is not of its type."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if any(None in row or None in row.values() for row in rows):
            raise ValueError
        return [{name: _cell(text, types.get(name, str)) for name, text in row.items()}
                for row in rows]
    except (KeyError, ValueError, csv.Error):
        raise UserError(f"{path} is damaged; mend it, or move it away and run again") from None


def _cell(text: str, kind: type):
    if text == "":
        return None
    return {"True": True, "False": False}[text] if kind is bool else kind(text)


def write_npz(path: Path, about: dict, arrays: dict) -> None:
    """Write arrays by name, and `about`: what they are of, and the settings behind them.

    Args:
        about: of what JSON knows.
        arrays: of numpy; tensors of torch, numbers and lists become such."""
    plain = {name: np.asarray(value.cpu() if hasattr(value, "cpu") else value)
             for name, value in arrays.items()}
    with atomic_write(path) as file:
        np.savez_compressed(file, about=json.dumps(about), **plain)


def read_npz(path: Path) -> dict:
    """Return what `write_npz` wrote: the arrays by name, and `about`. Raises UserError: missing,
    damaged, or without `about`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return {**arrays, "about": json.loads(str(arrays["about"]))}
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (AttributeError, KeyError, EOFError, OSError, TypeError, ValueError,
            zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged: no whole npz file of this project; "
                        "move it away and run again") from None
