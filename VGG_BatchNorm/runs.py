"""The small things every script shares: errors, devices, atomic files, checkpoints.

A checkpoint is one `.pt` dict of plain types and tensors, readable with
`torch.load(weights_only=True)`. It carries the network's name and arguments, so that a tool
needs nothing but its path.
"""

import contextlib
import csv
import errno
import io
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
RUNS_DIR = ROOT / "runs"
RESULTS_DIR = ROOT / "reports" / "results"
FIGURES_DIR = ROOT / "reports" / "figures"
SHIPPED_WEIGHTS = ROOT / "reports" / "models" / "cifarnet.pt"
CHECKPOINT_FORMAT = "cifar10-checkpoint-1"
STOPPED = "stopped; the same command (train.py: with --resume) goes on from there"


class UserError(Exception):
    """Something the user can mend. Its text is the one line they see."""


def run_main(main: Callable[[], None]) -> None:
    """Call a script's `main`; what a user can mend ends in one line and exit code 2, Ctrl-C in 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored
        signal.signal(signal.SIGINT, _interrupt)
    try:
        main()
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS,
                               errno.EFBIG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
                               errno.ENAMETOOLONG):
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.exit(_complain(f"cannot read or write: {error.strerror}{place}; nothing saved so far is lost", 2))
    except KeyboardInterrupt:
        sys.exit(_complain(STOPPED, 130))


def _interrupt(*_) -> None:
    """What SIGINT does: KeyboardInterrupt, and silence from the objects that it leaves half made."""
    sys.unraisablehook = _after_interrupt
    raise KeyboardInterrupt


def _after_interrupt(unraisable) -> None:
    """A destructor failed: its object is half made, or it was struck itself and swallows the interrupt."""
    if unraisable.exc_type is KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(_complain(STOPPED, 130))


def _complain(text: str, code: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    return code


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes cuda, then mps, then cpu.

    Raises:
        UserError: the device is not one of torch's, or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not usable here: {str(error).splitlines()[0]}") from None


PRECISIONS = ("auto", "float32", "bfloat16")


def pick_precision(name: str, device: torch.device) -> str:
    """`auto` takes bfloat16 where the device multiplies it in hardware, else float32.

    A CPU without such units computes bfloat16 some ten times slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    flags = cpu_flags() if device.type == "cpu" else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which convolutions and matrix products are computed in `precision`.

    Weights, gradients of weights and the loss stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep freed memory for the next step.

    By default every tensor above 32 MiB is mapped afresh and cleared page by page at each
    step, which costs a CPU training step about a tenth of its time. Does nothing elsewhere.
    """
    if platform.libc_ver()[0] == "glibc":
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt  # constants: malloc.h
        mallopt(-4, 0)  # M_MMAP_MAX: never use mmap
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never give memory back
        mallopt(-8, 1)  # M_ARENA_MAX: the backward pass's thread shares the same heap


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[io.BufferedWriter]:
    """Open a temporary file beside `path`; rename it to `path` once it is whole and on disk.

    Raises:
        OSError: no space, no permission; `path` is then as it was, and the temporary file gone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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


def write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def write_csv(path: Path, rows: list[dict]) -> None:
    """One line a dict, columns from the first; an empty list gives an empty file."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_json(path: Path) -> dict:
    """Raises `UserError` where the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except ValueError:
        raise UserError(f"{path} is damaged: not JSON; delete it and run again") from None


def save_checkpoint(path: Path, network: str, config: dict, weights: dict, **extra) -> None:
    """Write a checkpoint that `load_checkpoint` reads.

    Args:
        network: name and
        config: arguments for `codes.networks.build`.
        weights: the network's `state_dict`.
        extra: anything else of plain types and tensors (optimizer state, epoch, log rows).
    """
    content = dict(format=CHECKPOINT_FORMAT, network=network, config=config, weights=weights, **extra)
    buffer = io.BytesIO()  # torch.save wraps a full disk in a RuntimeError; write() does not
    torch.save(content, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict:
    """Read a checkpoint without running any code it may hold.

    Raises:
        UserError: missing, damaged, or not a checkpoint of this project.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle protocol of foreign files
            content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; `make train` makes one") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the .pt file in it") from None
    except OSError:
        raise
    except Exception:  # torch.load has no one exception for "this is not a whole, safe file"
        raise UserError(
            f"{path} is damaged or not a checkpoint; delete it and train again, or name another"
        ) from None
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise UserError(f"{path} is a checkpoint of another format; this project's come from codes/train.py")
    return content


def find_checkpoint(named: str | None) -> Path:
    """The path named, else the newest run's `last.pt`, else the shipped weights."""
    if named:
        return Path(named)
    runs = sorted(RUNS_DIR.glob("*/last.pt"), key=lambda path: path.stat().st_mtime)
    return runs[-1] if runs else SHIPPED_WEIGHTS


def shown_path(path: Path) -> str:
    """As results name a file: its path in the repository, elsewhere its name alone."""
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)


def cpu_model() -> str:
    """What Linux calls the processor, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def cpu_flags() -> set[str]:
    """What Linux says that the processor can do; elsewhere nothing."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()


def peak_memory(device: torch.device) -> int:
    """Largest memory so far, bytes: of the GPU's tensors, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment(device: torch.device) -> dict:
    """What a reader needs to place a number: versions, device, threads and commit."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}"
    try:
        commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--exclude=*"],
                                capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        commit = ""
    return {"python": platform.python_version(), "torch": torch.__version__, "device": name,
            "threads": torch.get_num_threads(), "commit": commit or "unknown"}
