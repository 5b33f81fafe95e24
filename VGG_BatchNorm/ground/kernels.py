"""The C functions of kernels.c, compiled for the machine at hand when first used.

    available(x)                       whether they take the images x (N, C, H, W)
    call("max_pool", x, y)             on tensors (N, H, W, C), contiguous, of one dtype

The compiler is the machine's own (CC in the environment, else cc). Where there is none, torch's own
operations do the same work, more slowly, and one line says so."""

import ctypes
import functools
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

LANES = 16  # channels come in multiples of it
FLAGS = {torch.float32: (), torch.bfloat16: ("-DBFLOAT16",)}
SOURCE = Path(__file__).with_suffix(".c")


def available(x: torch.Tensor) -> bool:
    """Return whether the kernels take images x (N, C, H, W) of this kind."""
    return (x.device.type == "cpu" and x.dtype in FLAGS and x.shape[1] % LANES == 0
            and not traced() and library(x.dtype) is not None)


def traced() -> bool:
    """Return whether torch.compile, .jit or .func follows each operation, and so has to know it."""
    transforms = getattr(torch._C, "_are_functorch_transforms_active", bool)
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transforms()


def call(name: str, *tensors: torch.Tensor) -> None:
    """Call a function of kernels.c; the first tensor (N, H, W, C) says sizes, the last the dtype.
    Raises ValueError: a tensor is not contiguous, or of another dtype."""
    dtype, sums = tensors[-1].dtype, name == "transform_filter_adjoint"  # its first is float32
    if (any(tensor.dtype != dtype for tensor in tensors[sums:])
            or not all(tensor.is_contiguous() for tensor in tensors)):
        raise ValueError(f"{name} takes contiguous tensors of one dtype")
    getattr(library(dtype), name)(*(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors),
                                  *map(ctypes.c_long, tensors[0].shape))


def empty_images(n: int, c: int, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    """Return room for images (N, C, H, W), channels last, as a Function may return them.

    It is no view: a layer that follows may write its result in their place."""
    return torch.empty((n, c, height, width), dtype=dtype, device="cpu",
                       memory_format=torch.channels_last)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, H, W) as (N, H, W, C), contiguous: a view where they are channels last.
    """
    return images.permute(0, 2, 3, 1).contiguous()


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return kernels.c, compiled for elements of `dtype`; None where that cannot be done."""
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            built = Path(folder, "kernels.so")
            command = [*shlex.split(os.environ.get("CC", "cc")), "-O3", "-march=native", "-fopenmp",
                       "-fPIC", "-shared", "-w", *FLAGS[dtype], SOURCE, "-o", built]
            subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                           check=True)
            share_threads()
            return ctypes.CDLL(str(built))
    except subprocess.CalledProcessError as error:
        explain(error.stderr.strip().partition("\n")[0] or f"{error.cmd[0]} failed")
    except OSError as error:
        explain(str(error))
    return None


@functools.cache
def explain(said: str) -> None:
    print(f"{SOURCE.name} could not be compiled ({said}): training is slower without it",
          file=sys.stderr)


def share_threads() -> None:
    """Let the kernels run on torch's own OpenMP threads; a second pool would fight it for cores."""
    maps = Path("/proc/self/maps")
    if maps.exists() and (path := openmp(maps.read_text(encoding="utf-8", errors="replace"))):
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def openmp(maps: str) -> str | None:
    """Return the path of the OpenMP library among a process's mapped files: torch's, if it has one.
    `maps`: lines as in /proc/self/maps, with a path from the sixth field on."""
    paths = [line.split(maxsplit=5)[-1] for line in maps.splitlines()]
    known = [path for path in dict.fromkeys(paths)
             if Path(path).name.startswith(("libgomp", "libomp", "libiomp"))]
    return max(known, key=lambda path: "/torch/" in path, default=None)
