"""The functions of the kernel, with types. The caller checks shapes.

Each has a twin in numpy with equal answers, which its docstring names. Callers use that without a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import Passed, call, is_wide, passed
from lexiseg_model.types import LabelMap, Rle

ROOMY = 8  # runs down a column, for which there is room at first; hardly a picture has as many
MAX_CHARACTERS = 14  # of a run: the zeros before it and its ones, seven each


@dataclass(frozen=True, eq=False)
class Axes:
    """Down and across: for each pixel the cell before it, and the weight of the next: [H], [H], [W], [W]."""

    y_low: NDArray[np.intp]
    y_weight: NDArray[np.float32]
    x_low: NDArray[np.intp]
    x_weight: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        return len(self.y_low), len(self.x_low)

    @property
    def nbytes(self) -> int:
        """Bytes of all four."""
        return sum(part.nbytes for part in (self.y_low, self.y_weight, self.x_low, self.x_weight))

    @cached_property
    def passed(self) -> tuple[Passed, ...]:
        """As arguments: places, weights and number of pixels, down and across."""
        arguments = self.y_low, self.y_weight, self.size[0], self.x_low, self.x_weight, self.size[1]
        return tuple(passed(argument) for argument in arguments)


def winners(
    scores: NDArray[np.float32], axes: Axes, keep_probability: bool
) -> tuple[LabelMap, NDArray[np.float64], NDArray[np.float32] | None]:
    """As `lexiseg_model.masks.upsample.winners`: labels [H, W], votes [K], and on request probabilities [H, W].

    Args:
        scores: [K, h, w].
        axes: where the pixels lie between the cells.
        keep_probability: also give the probability of every pixel's winner.
    """
    scores = np.ascontiguousarray(scores)
    labels: LabelMap = np.empty(axes.size, np.uint8 if len(scores) <= 256 else np.uint16)
    votes = np.zeros(len(scores))
    probability = np.empty(axes.size, np.float32) if keep_probability else None
    call("winners", scores, *scores.shape, *axes.passed, labels, is_wide(labels), probability, votes)
    return labels, votes, probability


def tidy(logits: NDArray[np.float32], n_classes: int, shares: tuple[float, float, float], most: int) -> int:
    """As `lexiseg_model.masks.specks.without_specks`, in place; at how many cells logits were exchanged.

    Args:
        logits: [K, h, w], contiguous.
        n_classes: how many of the rows are classes.
        shares: the rule's `area`, `part` and `least`.
        most: regions, from which on nothing is done.
    """
    return call("tidy", logits, *logits.shape, n_classes, *map(float, shares), most)


Outcome = tuple[LabelMap, NDArray[np.float64], NDArray[np.float32] | None, list[Rle] | None]


def outcome(
    logits: NDArray[np.float32],
    axes: Axes,
    n_classes: int,
    shares: tuple[float, float, float],
    most: int,
    *,
    keep_probability: bool,
    encode: bool,
) -> Outcome:
    """As `lexiseg_model.tasks.outcome.outcome`: labels [H, W], votes [K], and on request probabilities and run lengths.

    Votes are those of the classes; nobody's are all counted only where probabilities are asked for.

    Args:
        logits: [K, h, w], contiguous; changed where there are specks.
        axes: where the pixels lie between the cells.
        n_classes: how many of the rows are classes.
        shares: `area`, `part` and `least` of the rule for specks; nothing is one where the first is 0.
        most: regions, from which on specks stay.
        keep_probability: also give the probability of every pixel's winner.
        encode: also give the run lengths of the classes.
    """
    size = axes.size
    labels: LabelMap = np.empty(size, np.uint8 if len(logits) <= 256 else np.uint16)
    votes = np.zeros(len(logits))
    probability = np.empty(size, np.float32) if keep_probability else None
    room = MAX_CHARACTERS * (ROOMY * size[1] + n_classes) if encode else 0
    summaries, text = (np.empty((n_classes, 6), np.int64), np.empty(room, np.uint8)) if encode else (None, None)
    asked = (*logits.shape, n_classes, *map(float, shares), most, *axes.passed)
    wanted = (labels, is_wide(labels), probability, votes, summaries, text, room)
    needed = call("outcome", logits, *asked, *wanted)
    if summaries is None or text is None:
        return labels, votes, probability, None
    rles = rles_of(summaries, text, size) if needed <= room else encode_label_map(labels, n_classes)
    return labels, votes, probability, rles


def encode_label_map(labels: LabelMap, n_classes: int) -> list[Rle]:
    """As `lexiseg_model.masks.rle.encode_label_map`; labels [H, W] of 1 or 2 bytes, not empty."""
    labels = np.ascontiguousarray(labels)
    size = height, width = labels.shape
    changes = np.empty(width + 1, np.int64), np.empty(labels.size, np.int32), np.empty(height, np.int64)
    n_runs = call("count_runs", labels, height, width, is_wide(labels), *changes)
    summaries, text = _room(n_runs, n_classes)
    call("encode_runs", labels, height, width, is_wide(labels), *changes, n_runs, n_classes, summaries, text)
    return rles_of(summaries, text, size)


def encode_known_runs(
    start: NDArray[np.int64], value: NDArray[np.int32], size: tuple[int, int], n_classes: int
) -> list[Rle]:
    """The same of a map [H, W] whose N runs down its columns are known.

    Args:
        start: [N + 1] places x * H + y at which they begin, ascending from 0, and H * W.
        value: [N] their labels.
        size: of the map.
        n_classes: values from here on are nobody's.
    """
    summaries, text = _room(len(value), n_classes)
    call("encode_known_runs", start, value, len(value), n_classes, size[0], summaries, text)
    return rles_of(summaries, text, size)


def _room(n_runs: int, n_classes: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    return np.empty((n_classes, 6), np.int64), np.empty(MAX_CHARACTERS * (n_runs + n_classes), np.uint8)


def rles_of(summaries: NDArray[np.int64], text: NDArray[np.uint8], size: tuple[int, int]) -> list[Rle]:
    """What the kernel wrote of each class [K, 6], and of all together, as run lengths of a map of that size."""
    characters = text[: summaries[-1, -1] if len(summaries) else 0].tobytes().decode("ascii")
    rles: list[Rle] = []
    start, absent = 0, None
    for area, x, y, width, height, end in summaries.tolist():  # each begins where the one before it ends
        if area:
            rles.append(_rle(size, characters[start:end], area, (x, y, width, height)))
        else:  # one for all: of a long list hardly a class is there
            absent = absent or _rle(size, characters[start:end], 0, (0, 0, 0, 0))
            rles.append(absent)
        start = end
    return rles


def _rle(size: tuple[int, int], counts: str, area: int, bbox: tuple[int, int, int, int]) -> Rle:
    """As `Rle(...)`, in two fifths of the time: what is frozen sets each of its fields by a call."""
    rle: Rle = object.__new__(Rle)
    fields = rle.__dict__
    fields["size"] = size
    fields["counts"] = counts
    fields["area"] = area
    fields["bbox"] = bbox
    return rle


def cut(logits: NDArray[np.float32], axes: Axes) -> NDArray[np.int64]:
    """As `lexiseg_model.masks.bilinear.cut`: logits [h, w] -> spans [N, 2]."""
    logits = np.ascontiguousarray(logits, np.float32)
    height, width = logits.shape
    places = np.empty(axes.size[1] * (height + 2) + 2, np.int64)
    n = call("cut", logits, height, width, *axes.passed, places)
    return places[:n].reshape(-1, 2).copy()  # of all that there might have been, what there is


def encode_spans(spans: NDArray[np.int64], size: tuple[int, int], keep_counts: bool) -> Rle:
    """As `lexiseg_model.masks.rle.encode_spans`, or as `measure_spans` where counts are not kept."""
    spans = np.ascontiguousarray(spans, np.int64)
    summary = np.empty(6, np.int64)
    text = np.empty(MAX_CHARACTERS * (len(spans) + 1), np.uint8) if keep_counts else None
    call("encode_spans", spans, len(spans), size[0], size[0] * size[1], summary, text)
    area, x, y, width, height, end = summary.tolist()
    counts = "" if text is None else text[:end].tobytes().decode("ascii")
    return Rle(size, counts, area, (x, y, width, height))


class Connected(NamedTuple):
    """Regions of a map [H, W], in the order of their first pixels row by row: the class and the pixels of each, [N].

    `ends` and `region` [R] are of the runs along the rows: one past each, and whose it is.
    """

    size: tuple[int, int]
    ends: NDArray[np.int64]
    region: NDArray[np.int32]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]


def connect(labels: LabelMap) -> Connected:
    """Regions of equal labels that are connected by sides; labels [H, W] of 1 or 2 bytes."""
    labels = np.ascontiguousarray(labels)
    size = (labels.shape[0], labels.shape[1])
    n = call("count_row_runs", labels, *size, is_wide(labels))
    ends, region, areas = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64)
    classes = np.empty(n, np.int32)
    n_regions = call("connect", labels, *size, is_wide(labels), n, ends, region, areas, classes)
    return Connected(size, ends, region, classes[:n_regions], areas[:n_regions])


def paint(connected: Connected, of_region: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """[H, W]: every pixel has what its region has, of [N]."""
    painted = np.empty(connected.size, np.uint16)
    call("paint_regions", connected.ends, connected.region, len(connected.ends), of_region, painted)
    return painted


def sum_by_label(labels: LabelMap, values: NDArray[np.float32], n_labels: int) -> NDArray[np.float64]:
    """[n_labels]: the sum of the values [H, W] of each label's pixels; labels [H, W] are below `n_labels`."""
    sums = np.zeros(n_labels)
    labels, values = np.ascontiguousarray(labels), np.ascontiguousarray(values)
    call("sum_by_label", labels, is_wide(labels), values, labels.size, sums)
    return sums


def outlines(spans: NDArray[np.int64], size: tuple[int, int]) -> list[list[NDArray[np.int64]]]:
    """The borders of each part of a mask, the largest part first.

    Args:
        spans: [N, 2], runs of the mask as places x * H + y, in order.
        size: (H, W).

    Returns:
        For each part its exterior and then its holes, each [n, 2] corners as x, y.
    """
    spans = np.ascontiguousarray(spans, np.int64)
    height, width = size
    columns = (spans[:, 1] - 1) // height - spans[:, 0] // height + 1  # of each run
    most = 4 * int(columns.sum()) + 4
    corners = np.empty((most, 2), np.int64)
    loops = np.empty((most // 4, 3), np.int64)
    n = call("outlines", spans, len(spans), height, width, most, corners, loops)
    exteriors: list[tuple[int, int, int, int]] = []  # what they are sorted by, and which loop they are
    holes: dict[int, list[tuple[int, int, int]]] = {}
    starts = [0, *loops[:n, 0].tolist()]
    first = corners[starts[:-1]].tolist()
    for loop, (area, part) in enumerate(loops[:n, 1:].tolist()):
        x, y = first[loop]
        if area > 0:
            exteriors.append((-area, y, x, loop))
        else:
            holes.setdefault(part, []).append((y, x, loop))

    def border(loop: int) -> NDArray[np.int64]:
        return corners[starts[loop] : starts[loop + 1]]

    return [
        [border(loop), *(border(hole) for _, _, hole in sorted(holes.get(int(loops[loop, 2]), ())))]
        for _, _, _, loop in sorted(exteriors)
    ]


def turn_crumbs(masks: NDArray[np.float32], island: float, hole: float) -> int:
    """As `lexiseg_model.masks.crumbs.without_crumbs`, in place; how many cells changed their sign.

    Args:
        masks: logits [N, h, w], contiguous.
        island: of a mask's largest part, below which a part is left out.
        hole: of what a mask holds, below which a hole is filled.
    """
    return call("crumbs", masks, *masks.shape, float(island), float(hole))


def refine_maps(
    maps: NDArray[np.float32],
    image: NDArray[np.float32],
    dilations: Sequence[int],
    iterations: int,
    refined: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As `lexiseg_model.masks.pamr.refine`.

    Args:
        maps: [K, H, W].
        image: [C, H, W].
        dilations: how far away eight neighbours are, each.
        iterations: how often; not at all is nothing to call this for.
        refined: [K, H, W] contiguous, where the refined maps go, `maps` itself if that may be; None: to new memory.

    Returns:
        [K, H, W]
    """
    maps = np.ascontiguousarray(maps, np.float32)
    if refined is None:
        refined = np.empty_like(maps)
    colours = np.ascontiguousarray(image, np.float32)
    away = np.array(dilations, np.int64)
    call("pamr", maps, refined, *maps.shape, colours, len(colours), away, len(away), iterations)
    return refined
