"""The compiled kernel, where it was built: found beside this module, called through ctypes.

ctypes lets go of the interpreter's lock during a call, so that finish threads work side by side. Without the library
(no C compiler at installation, a wheel of another platform) callers take their way in numpy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 25  # of the calls, as in kernel.h
FOLDER = Path(__file__).parent
Passed = ctypes.c_void_p | ctypes.c_int64
NUMBERS: dict[type, Callable[..., Any]] = {int: ctypes.c_int64, float: ctypes.c_double}  # as most arguments are


def load(folder: Path = FOLDER) -> ctypes.CDLL | None:
    """The library of a folder; None where there is none, or one built from another version of the sources."""
    for path in (folder / f"_kernel{suffix}" for suffix in EXTENSION_SUFFIXES):
        if not path.is_file():
            continue
        try:
            library = ctypes.CDLL(str(path))
            if library.lexiseg_kernel_version() == VERSION:
                return library
        except (OSError, AttributeError):  # for another machine; not ours
            continue
    return None


LIBRARY = load()


def ready() -> bool:
    """Whether the kernel is there."""
    return LIBRARY is not None


def call(name: str, *arguments: NDArray[Any] | int | float | Passed | None) -> int:
    """Calls a function of the kernel.

    Args:
        name: without its prefix.
        arguments: arrays, which must be contiguous, go as addresses (None as that of nothing), numbers as int64 and
            double, and what was `passed` before as it is.

    Returns:
        What the function returns, if that is not negative.

    Raises:
        MemoryError: the kernel found no memory to work in.
    """
    function = getattr(LIBRARY, f"lexiseg_{name}")
    function.restype = ctypes.c_int64
    returned: int = function(*_all_passed(arguments))
    if returned < 0:
        raise MemoryError(f"the kernel's {name} found no memory to work in")
    return returned


def _all_passed(arguments: tuple[NDArray[Any] | int | float | Passed | None, ...]) -> list[Any]:
    otherwise: Callable[..., Any] = passed
    return [NUMBERS.get(type(argument), otherwise)(argument) for argument in arguments]


def passed(argument: NDArray[Any] | int | float | Passed | None) -> Any:
    """An argument as the kernel takes it. An array's is good for as long as the array is held."""
    if isinstance(argument, np.ndarray):
        try:
            # A quarter of the time that `.ctypes` takes. That arrays are buffers numpy says from Python 3.12 on.
            return ctypes.byref(ctypes.c_char.from_buffer(argument))  # type: ignore[arg-type]
        except (TypeError, ValueError):  # not to be written to, or empty
            assert argument.flags.c_contiguous
            return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    if isinstance(argument, float):
        return ctypes.c_double(argument)
    return ctypes.c_void_p() if argument is None else argument


def is_wide(labels: NDArray[np.unsignedinteger[Any]]) -> int:
    """How the kernel is told of labels of 2 bytes, in place of 1."""
    return int(labels.dtype.itemsize == 2)
