"""The compiled kernel of this folder, called through ctypes, which releases the GIL: its library and typed functions.

Without the library (no C compiler at installation, a pure-Python wheel) callers use numpy: the function that each one
names. They check shapes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import StoppedError
from lexiseg_model.types import LabelMap, Rle

VERSION = 33  # LEXISEG_KERNEL_VERSION of kernel.h
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
    """Call `lexiseg_NAME` with `to_c` of the arguments: its result.

    Raises:
        MemoryError: it found no memory.
        StoppedError: another thread ended it.
    """
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
    """As `winners`, with the RLEs of the first `n_classes` rows.

    Votes of the others, which are background, are complete only with `keep_probability`.
    """
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


def cut(logits: NDArray[np.float32], axes: Axes) -> NDArray[np.int64]:
    """As `lexiseg_model.masks.upsample.cut`: logits [h, w] -> spans [N, 2]."""
    logits = np.ascontiguousarray(logits, np.float32)
    height, width = logits.shape
    bounds = np.empty(axes.size[1] * (height + 2) + 2, np.int64)  # the most that there can be
    n = call("cut", logits, height, width, *axes.arguments, bounds)
    return bounds[:n].reshape(-1, 2).copy()


def encode_spans(spans: NDArray[np.int64], size: tuple[int, int]) -> Rle:
    """The RLE of spans [N, 2], as `masks.rle.encode_spans`."""
    spans = np.ascontiguousarray(spans, np.int64)
    summary = np.empty(6, np.int64)
    text = np.empty(MAX_CHARACTERS * (len(spans) + 1), np.uint8)
    call("encode_spans", spans, len(spans), size[0], size[0] * size[1], summary, text)
    area, x, y, width, height, end = summary.tolist()
    return Rle(size, text[:end].tobytes().decode("ascii"), area, (x, y, width, height))


class Connected(NamedTuple):
    """The N connected regions of a label map, in row-major order of their first pixels.

    `classes` and `areas` (pixels) [N] describe the regions; `ends` (exclusive) and `region` [R] the R row-major runs.
    """

    size: tuple[int, int]
    ends: NDArray[np.int64]
    region: NDArray[np.int32]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]

    def painted(self, values: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Map [H, W] in which every pixel has its region's value, of `values` [N]."""
        return np.repeat(values[self.region], np.diff(self.ends, prepend=0)).reshape(self.size)


def connect(labels: LabelMap) -> Connected:
    """Label the 4-connected regions of equal labels; labels [H, W] uint8 or uint16."""
    labels = np.ascontiguousarray(labels)
    size = (labels.shape[0], labels.shape[1])
    n = call("count_row_runs", labels, *size, is_wide(labels))
    ends, region, areas = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64)
    classes = np.empty(n, np.int32)
    n_regions = call("connect", labels, *size, is_wide(labels), n, ends, region, areas, classes)
    return Connected(size, ends, region, classes[:n_regions], areas[:n_regions])


def outlines(spans: NDArray[np.int64], size: tuple[int, int]) -> list[list[NDArray[np.int64]]]:
    """The contours of each 4-connected part of a mask by its spans, the largest part first.

    Each part has its exterior, then its holes, [n, 2] pixel corners as x, y.
    """
    spans = np.ascontiguousarray(spans, np.int64)
    height, width = size
    columns = (spans[:, 1] - 1) // height - spans[:, 0] // height + 1  # of each run
    max_corners = 4 * int(columns.sum()) + 4
    corners = np.empty((max_corners, 2), np.int64)
    loops = np.empty((max_corners // 4, 3), np.int64)  # end in `corners`, twice the signed area, part
    n = call("outlines", spans, len(spans), height, width, max_corners, corners, loops)
    exteriors: list[tuple[int, int, int, int]] = []  # sort key (-area, y, x), index of the loop
    holes: dict[int, list[tuple[int, int, int]]] = {}
    starts = [0, *loops[:n, 0].tolist()]
    first = corners[starts[:-1]].tolist()
    for loop, (area, part) in enumerate(loops[:n, 1:].tolist()):
        x, y = first[loop]
        if area > 0:
            exteriors.append((-area, y, x, loop))
        else:
            holes.setdefault(part, []).append((y, x, loop))

    def contour(loop: int) -> NDArray[np.int64]:
        return corners[starts[loop] : starts[loop + 1]]

    return [
        [contour(loop), *(contour(hole) for _, _, hole in sorted(holes.get(int(loops[loop, 2]), ())))]
        for _, _, _, loop in sorted(exteriors)
    ]


def remove_crumbs(masks: NDArray[np.float32], island: float, hole: float) -> int:
    """As `masks.crumbs.without_crumbs`, of contiguous logits [N, h, w], in place: how many cells changed their sign."""
    return call("crumbs", masks, *masks.shape, float(island), float(hole))


def refine_maps(
    maps: NDArray[np.float32], image: NDArray[np.float32], dilations: Sequence[int], iterations: int
) -> NDArray[np.float32]:
    """As `masks.pamr.refine`, in at least one iteration, of maps [K, H, W] at the size of the image."""
    maps, colours = (np.ascontiguousarray(part, np.float32) for part in (maps, image))
    refined, distances = np.empty_like(maps), np.array(dilations, np.int64)
    call("pamr", maps, refined, *maps.shape, colours, len(colours), distances, len(distances), iterations)
    return refined


class Sampled(NamedTuple):
    """What a picture teaches: of n cells labels int16 [n], shares float32 [n] of the labelled cells, teaching features
    float32 [n, F], and logits float32 [n, K] by words."""

    labels: NDArray[np.int16]
    shares: NDArray[np.float32]
    cells: NDArray[np.float32]
    text: NDArray[np.float32]


def lesson(
    labels: NDArray[np.int16],
    decoded: NDArray[np.float16],
    middle: NDArray[np.float16],
    scores: NDArray[np.float32],
    most: int,
) -> Sampled:
    """As `methods.tiny.teaching.sampled`: labels [H, W], maps [128, h, w] and [120, h/4, w/4], scores [K + 1, h, w]."""
    k, n_features = len(scores) - 1, len(decoded) + len(middle) + 1
    sample = Sampled(
        np.empty(most, np.int16),
        np.empty(most, np.float32),
        np.empty((most, n_features), np.float32),
        np.empty((most, k), np.float32),
    )
    maps = decoded, *decoded.shape, middle, *middle.shape
    n = call("lesson", labels, *labels.shape, k, *maps, scores, most, *sample)
    return Sampled(sample.labels[:n], sample.shares[:n], sample.cells[:n], sample.text[:n])


class Learnt(NamedTuple):
    """What lessons teach of K classes: `directions` float32 [K, F], factors of their words `text` float32 [K], `iou`
    [2, K] in 0..1 of cells of left-out folds, by words and as learned, and `n_lessons` int32 [K], how many lessons
    show a class."""

    directions: NDArray[np.float32]
    text: NDArray[np.float32]
    iou: NDArray[np.float64]
    n_lessons: NDArray[np.int32]


def head(
    lessons: Sequence[tuple[NDArray[np.float16], NDArray[np.int16], NDArray[np.float32], NDArray[np.float16]]],
    places: Sequence[NDArray[np.int32]],
    k: int,
    numbers: Sequence[float],
    stop: NDArray[np.int32],
) -> Learnt | int:
    """As `vocabulary.solving`: what lessons (cells, labels, shares, text) teach of K classes.

    `places` are the lesson's classes among the K, -1 for others; `numbers` the constants of `solving`, and how many of
    the first numbers of cells do not say which pictures are alike and of the last lessons are never left out. Returns
    the only label instead if all cells have that. Raises StoppedError: another thread set `stop` [1].
    """
    cells, labels, shares, text = zip(*lessons, strict=True)
    f = cells[0].shape[1]
    sizes = np.array([part.shape for part in text], np.int64)
    rows = np.ascontiguousarray(np.concatenate(cells)), np.concatenate(labels), np.concatenate(shares)
    texts = np.concatenate([part.ravel() for part in text])
    learnt = Learnt(np.empty((k, f), np.float32), np.empty(k, np.float32), np.empty((2, k)), np.empty(k, np.int32))
    shapes = len(lessons), f, k
    constants = np.array(numbers, np.float64)
    only = call("head", *rows, texts, sizes, np.concatenate(places), *shapes, constants, *learnt, stop)
    return only - 1 if only else learnt
