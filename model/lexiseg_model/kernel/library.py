"""The compiled kernel of this folder, called through ctypes, which releases the GIL: the way to it, and labels.

Without the library (no C compiler at installation, a pure-Python wheel) callers, which check shapes, use numpy.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import StoppedError
from lexiseg_model.types import LabelMap, Rle

VERSION = 36  # LEXISEG_KERNEL_VERSION of kernel.h
FOLDER = Path(__file__).parent
STOPPED = -2  # of kernel.h
CArgument = ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double
RUNS_PER_COLUMN = 8  # sizes the first text buffer; few images have more
MAX_CHARACTERS = 14  # of one run in COCO text: seven for its zeros, seven for its ones
# Labels [H, W], votes [K], and the probability [H, W] of each pixel's winner if it is kept.
Winners = tuple[LabelMap, NDArray[np.float64], NDArray[np.float32] | None]


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
    """Call `lexiseg_NAME` with `to_c` of the arguments. Raises StoppedError: another thread ended it."""
    function = getattr(LIBRARY, f"lexiseg_{name}")
    function.restype = ctypes.c_int64
    result: int = function(*map(to_c, arguments))
    if result == STOPPED:
        raise StoppedError(f"the kernel's {name} was stopped")
    if result < 0:
        raise MemoryError(f"the kernel's {name} could not allocate memory")
    return result


def to_c(argument: NDArray[Any] | int | float | CArgument | None) -> CArgument:
    """A contiguous array as a pointer, which is valid while the array is held; int as int64, float as double."""
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


@dataclass(frozen=True, eq=False)
class Axes:
    """Bilinear interpolation per axis: each pixel's lower cell, and the weight 0..1 of the next: [H], [H], [W], [W]."""

    y_low: NDArray[np.intp]
    y_weight: NDArray[np.float32]
    x_low: NDArray[np.intp]
    x_weight: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        return len(self.y_low), len(self.x_low)

    @cached_property
    def arguments(self) -> tuple[CArgument, ...]:
        """C arguments: cells, weights and number of pixels, vertical then horizontal."""
        values = self.y_low, self.y_weight, self.size[0], self.x_low, self.x_weight, self.size[1]
        return tuple(to_c(value) for value in values)


def winners(logits: NDArray[np.float32], axes: Axes, keep_probability: bool) -> Winners:
    """As `masks.upsample.winners`, of contiguous logits [K, h, w]."""
    labels, votes, probability = won = _winner_buffers(len(logits), axes.size, keep_probability)
    inputs = (*logits.shape, len(logits), *axes.arguments)
    call("outcome", logits, *inputs, labels, is_wide(labels), probability, votes, None, None, 0)
    return won


def outcome(
    logits: NDArray[np.float32], axes: Axes, n_classes: int, keep_probability: bool
) -> tuple[Winners, list[Rle]]:
    """As `winners`, with the RLEs of the first `n_classes` rows. Votes of the others, which are background, are
    complete only with `keep_probability`."""
    labels, votes, probability = won = _winner_buffers(len(logits), axes.size, keep_probability)
    capacity = MAX_CHARACTERS * (RUNS_PER_COLUMN * axes.size[1] + n_classes)
    summaries, text = np.empty((n_classes, 6), np.int64), np.empty(capacity, np.uint8)
    inputs = (*logits.shape, n_classes, *axes.arguments)
    n_characters = call(
        "outcome", logits, *inputs, labels, is_wide(labels), probability, votes, summaries, text, capacity
    )
    rles = _rles(summaries, text, axes.size) if n_characters <= capacity else encode_label_map(labels, n_classes)
    return won, rles


def _winner_buffers(n_rows: int, size: tuple[int, int], keep_probability: bool) -> Winners:
    labels: LabelMap = np.empty(size, np.uint8 if n_rows <= 256 else np.uint16)
    return labels, np.zeros(n_rows), np.empty(size, np.float32) if keep_probability else None


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """One RLE per class, as `masks.rle.encode_label_map`; labels [H, W] uint8 or uint16, not empty."""
    labels = np.ascontiguousarray(labels)
    size = height, width = labels.shape
    changes = np.empty(width + 1, np.int64), np.empty(labels.size, np.int32), np.empty(height, np.int64)
    n_runs = call("count_runs", labels, height, width, is_wide(labels), *changes)
    summaries, text = np.empty((n_classes, 6), np.int64), np.empty(MAX_CHARACTERS * (n_runs + n_classes), np.uint8)
    call("encode_runs", labels, height, width, is_wide(labels), *changes, n_runs, n_classes, summaries, text)
    return _rles(summaries, text, size)


def _rles(summaries: NDArray[np.int64], text: NDArray[np.uint8], size: tuple[int, int]) -> list[Rle]:
    """RLEs from the kernel's summaries [K, 6] (area, box, end of its counts) and the counts of all classes as text."""
    characters = text[: summaries[-1, -1] if len(summaries) else 0].tobytes().decode("ascii")
    rles: list[Rle] = []
    start, absent = 0, None
    for area, x, y, width, height, end in summaries.tolist():
        if area:
            rles.append(Rle(size, characters[start:end], area, (x, y, width, height)))
        else:  # absent classes share one RLE: most classes of a long list are absent
            absent = absent or Rle(size, characters[start:end], 0, (0, 0, 0, 0))
            rles.append(absent)
        start = end
    return rles


def shrunk(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Planes [3, h, w] of an image [H, W, 3] of neither side smaller, bit for bit as OpenCV's area interpolation unless
    both factors are whole: halves may be rounded otherwise there."""
    planes = np.empty((3, *size), np.uint8)
    call("resize", np.ascontiguousarray(rgb), *rgb.shape[:2], *size, 3, 3, 0, 0, 1, planes)
    return planes
