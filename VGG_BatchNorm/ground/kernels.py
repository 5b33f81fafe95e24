"""The C functions of kernels.c, compiled for the machine at hand when first used.

    available(x)                       whether they take the images x (N, C, H, W)
    call("max_pool", x, y)             on tensors (N, H, W, C), contiguous, of one dtype

The compiler is the machine's own (CC in the environment, else cc). Where there is none, torch's own
operations do the same work, more slowly, and one line says so.
"""

import ctypes
import functools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

LANES = 16  # channels come in multiples of it
FLAGS = {torch.float32: (), torch.bfloat16: ("-DBFLOAT16",)}
SOURCE = Path(__file__).with_suffix(".c")


def available(x: torch.Tensor) -> bool:
    """Return whether the kernels take images x (N, C, H, W), channels last, of this kind."""
    return (x.device.type == "cpu" and x.dtype in FLAGS and x.shape[1] % LANES == 0
            and not torch.compiler.is_compiling() and library(x.dtype) is not None)


def call(name: str, *tensors: torch.Tensor) -> None:
    """Call a function of kernels.c; the first tensor (N, H, W, C) says sizes, the last the dtype.

    Raises:
        ValueError: a tensor is not contiguous.
    """
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise ValueError(f"{name} takes contiguous tensors")
    getattr(library(tensors[-1].dtype), name)(
        *(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors),
        *map(ctypes.c_long, tensors[0].shape))


def empty_images(n: int, c: int, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    """Return room for images (N, C, H, W), channels last, as a Function may return them.

    It is no view: a layer that follows may write its result in their place.
    """
    return torch.empty((n, c, height, width), dtype=dtype, memory_format=torch.channels_last)


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return kernels.c, compiled for elements of `dtype`; None where that cannot be done."""
    share_threads()
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "kernels.so")
        command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-fopenmp", "-fPIC",
                   "-shared", "-w", *FLAGS[dtype], SOURCE, "-o", built]
        try:
            subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
            return ctypes.CDLL(str(built))
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[0]
            print(f"{SOURCE.name} could not be compiled ({said}): training is slower without it",
                  file=sys.stderr)
            return None


def share_threads() -> None:
    """Let the kernels run on torch's own OpenMP threads; a second pool would fight it for cores."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return
    if found := re.search(r"/\S*lib(gomp|iomp5|omp)\S*\.so\S*", mapped):
        ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)
