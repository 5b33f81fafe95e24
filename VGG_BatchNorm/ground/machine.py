"""The machine at hand: device, precision, memory, and what a reader needs to place a number."""

import contextlib
import functools
import platform
import subprocess
import sys
from pathlib import Path

import torch

from VGG_BatchNorm.ground.files import ROOT
from VGG_BatchNorm.ground.script import UserError


def use_device(name: str = "auto", threads: int | None = None) -> torch.device:
    """Return the device that a script works on, set up for long work on it.

    `auto` takes cuda, then mps, then cpu. A CPU keeps freed memory (`keep_freed_memory`) and uses
    so many threads; by default torch's choice. Raises UserError: the device is not one of torch's,
    or not on this machine."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        found = (torch.cuda.is_available(), "cuda"), (torch.backends.mps.is_available(), "mps")
        name = next((device for available, device in found if available), "cpu")
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"device {name!r} is not usable here: {said}") from None


PRECISIONS = ("auto", "float32", "bfloat16")


def pick_precision(name: str, device: torch.device) -> str:
    """Return the precision to train in: `name`, but for "auto", which takes the faster one.

    That is bfloat16 where the device multiplies it in hardware, else float32: a CPU without such
    units computes bfloat16 some ten times slower."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    flags = cpu_flags() if device.type == "cpu" else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Return a context in which convolutions and matrix products are computed in `precision`.

    Weights and the loss stay float32."""
    if precision == "float32" and not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()  # torch 2.4 has none on mps, not even one that is off
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep freed memory for the next step.

    By default every tensor above 32 MiB is mapped afresh and cleared page by page at each
    step, which costs a CPU training step about a tenth of its time. Does nothing elsewhere."""
    if platform.libc_ver()[0] == "glibc":
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt  # constants: malloc.h
        mallopt(-4, 0)  # M_MMAP_MAX: never use mmap
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never give memory back
        mallopt(-8, 1)  # M_ARENA_MAX: the backward pass's thread shares the same heap


@functools.cache
def cpu_flags() -> set[str]:
    """Return what Linux says that the processor can do; elsewhere nothing."""
    return set(_cpuinfo("flags").split())


def _cpuinfo(field: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return ""


def peak_memory(device: torch.device) -> int:
    """Return the largest memory so far in bytes, of the GPU's tensors or else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    from resource import RUSAGE_SELF, getrusage  # on Unix

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def environment(device: torch.device) -> dict:
    """Return what a reader needs to place a number: versions, device, threads and commit.

    By ", " and the instruction set at the end of its name, a CPU is told from a GPU later."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type != "cpu":
        name = f"{platform.machine()} GPU ({device.type})"
    else:
        model = _cpuinfo("model name") or platform.machine()
        name = f"{model}, {torch.backends.cpu.get_cpu_capability()}"
    try:
        describe = ["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(describe, capture_output=True, encoding="utf-8", check=False)
        commit = done.stdout.strip()
    except OSError:  # no git
        commit = ""
    return {"python": platform.python_version(), "torch": torch.__version__, "device": name,
            "threads": torch.get_num_threads(), "commit": commit or "unknown"}
