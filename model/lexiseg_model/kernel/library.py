"""Load the compiled kernel from this folder and call it through ctypes, which releases the GIL.

Without the library (no C compiler at installation, a pure-Python wheel) callers use numpy.
"""

from __future__ import annotations

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 28  # LEXISEG_KERNEL_VERSION of kernel.h
FOLDER = Path(__file__).parent
CArgument = ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double


def load(folder: Path = FOLDER) -> ctypes.CDLL | None:
    """Load the library of a folder; None where it is absent or built from another version of the sources."""
    for path in (folder / f"_kernel{suffix}" for suffix in EXTENSION_SUFFIXES):
        if not path.is_file():
            continue
        try:
            library = ctypes.CDLL(str(path))
            if library.lexiseg_kernel_version() == VERSION:
                return library
        except (OSError, AttributeError):  # built for another machine; not this kernel
            continue
    return None


LIBRARY = load()


def ready() -> bool:
    """Whether the kernel is loaded."""
    return LIBRARY is not None


def call(name: str, *arguments: NDArray[Any] | int | float | CArgument | None) -> int:
    """Call a function of the kernel.

    Args:
        name: without the prefix `lexiseg_`.
        arguments: contiguous arrays are passed as pointers, None as a null pointer, int as int64, float as double.

    Returns:
        The function's result, at least 0.

    Raises:
        MemoryError: the kernel could not allocate memory.
    """
    function = getattr(LIBRARY, f"lexiseg_{name}")
    function.restype = ctypes.c_int64
    result: int = function(*map(to_c, arguments))
    if result < 0:
        raise MemoryError(f"the kernel's {name} could not allocate memory")
    return result


def to_c(argument: NDArray[Any] | int | float | CArgument | None) -> CArgument:
    """Convert an argument for ctypes; the pointer to an array is valid while the array is held."""
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    if isinstance(argument, float):
        return ctypes.c_double(argument)
    return ctypes.c_void_p() if argument is None else argument


def is_wide(labels: NDArray[np.unsignedinteger[Any]]) -> int:
    """The kernel's flag `wide`: 1 for labels of 2 bytes, 0 for 1 byte."""
    return int(labels.dtype.itemsize == 2)
