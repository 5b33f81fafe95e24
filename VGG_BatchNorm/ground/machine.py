"""The machine at hand: device, precision, memory, and what a reader needs to place a number."""

import contextlib
import platform
import resource
import subprocess
import sys
from pathlib import Path

import torch

from VGG_BatchNorm.ground.files import ROOT
from VGG_BatchNorm.ground.script import UserError


def use_device(name: str = "auto", threads: int | None = None) -> torch.device:
    """Return the device that a script works on, set up for long work on it.

    `auto` takes cuda, then mps, then cpu. On a CPU, freed memory is kept (`keep_freed_memory`), and so
    many threads are used; by default torch's choice.

    Raises:
        UserError: the device is not one of torch's, or not on this machine.
    """
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
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
