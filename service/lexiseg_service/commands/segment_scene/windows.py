"""`lexiseg segment-scene`: images of any size, in memory that does not grow with their pixels.

parts of the file -> windows scored in threads -> blocks of labels -> map of classes -> outlines of its regions

At its border a window sees only parts of objects, so its weight falls to 0 there. Objects larger than a window are seen
at coarser levels: windows of twice the side, shrunk to the same number of pixels, are blended in, and so is the whole
picture where it is at most four windows long. A picture of less area than four windows is looked at whole only: windows
would show less than twice the detail, and other areas. The picture is answered in blocks, row by row; only the
probabilities of the windows that this row and the next need are kept in memory.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_labels.names import fitting, numbered
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.files.names import on_one_line
from lexiseg_model.masks.upsample import Winners, winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_service.commands.segment_scene.scene import (
    OF_GDAL,
    Box,
    ClassMap,
    Reading,
    Scene,
    open_scene,
    write_outlines,
)
from lexiseg_service.in_process import load
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Settings

OVERLAP = 0.25  # of a window's side
MAX_PIXELS_OF_DETAIL = 8  # more are shrunk when they are read, which bounds the memory of a window
SUFFIXES = (".geojson", ".gpkg", ".tif")
ROOM = len(".tif.probability")  # bytes that follow the stem in the longest name
CELLS = 96  # of a block's side (sides of a GeoTIFF's tiles are multiples of 16), and of a window's where windows blend
WHOLE_CELLS = 3 * CELLS  # of a window's side where only the whole picture is looked at, to keep its outlines
MARGIN = 2  # cells around a block, so that interpolation does not see its border
LEVELS = 3  # a window's side, twice and four times that; the last only where it is the whole picture
MIN_WINDOWS = 4  # of a picture's area in windows; a smaller picture is looked at whole only
MAX_WHOLE = 2**24  # pixels of the whole picture, before the model shrinks it
FAINT = 1e-6  # stands for a probability of 0


class Window(NamedTuple):
    """A part of a picture, to be shrunk by the factor `shrink` along each side."""

    box: Box
    shrink: float


class _Level(NamedTuple):
    """Windows of one size: their shrink factor, and spans (start, end) down and across."""

    shrink: float
    down: list[tuple[int, int]]
    across: list[tuple[int, int]]


Score = Callable[[Window], "Future[Tensor] | None"]  # log probabilities [K, h, w]; None where there is no picture


class Blend:
    """The answer for one picture of (H, W), in blocks; neighbours share `overlap` pixels, 1 to half a window."""

    def __init__(self, size: tuple[int, int], window: int, overlap: int, score: Score) -> None:
        self.size = size
        self._levels = list(_levels(size, window, overlap))
        self.step = max(1, window // (CELLS if len(self._levels) > 1 else WHOLE_CELLS))  # pixels of a cell
        self.side = CELLS * self.step  # of a block
        self._score = score
        self._scored: dict[Window, Future[Tensor] | None] = {}

    @property
    def shape(self) -> tuple[int, int]:
        return -(-self.size[0] // self.side), -(-self.size[1] // self.side)

    def blocks(self) -> Iterator[tuple[Box, Tensor | None]]:
        """Every block with logits [K, n, m] of its cells and `MARGIN` more on each side; None: no picture there."""
        ahead: deque[Box] = deque()
        for box in self._boxes():
            for windows in self._around(box):
                for window in windows:  # of the next block as well: it is scored while this one is finished
                    if window not in self._scored:
                        self._scored[window] = self._score(window)
            ahead.append(box)
            if len(ahead) > 1:
                yield ahead[0], self._blended(ahead.popleft())
        while ahead:
            yield ahead[0], self._blended(ahead.popleft())

    def winners(self, box: Box, logits: Tensor) -> Winners:
        rows, columns = logits.shape[1:]
        won = winners(logits, (rows * self.step, columns * self.step), keep_probability=True)
        assert won.probability is not None
        first = MARGIN * self.step
        inside = tuple(slice(first, first + side) for side in box.size)
        return Winners(won.labels[inside], won.votes, won.probability[inside])

    def _boxes(self) -> Iterator[Box]:
        height, width = self.size
        for top in range(0, height, self.side):
            for left in range(0, width, self.side):
                yield Box(top, left, min(top + self.side, height), min(left + self.side, width))

    def _around(self, box: Box) -> Iterator[list[Window]]:
        """The windows of each level that meet a block and its margin."""
        reach = MARGIN * self.step
        for level in self._levels:
            rows = [span for span in level.down if span[0] < box.bottom + reach and span[1] > box.top - reach]
            columns = [span for span in level.across if span[0] < box.right + reach and span[1] > box.left - reach]
            yield [
                Window(Box(top, left, bottom, right), level.shrink) for top, bottom in rows for left, right in columns
            ]

    def _blended(self, box: Box) -> Tensor | None:
        """Logits [K, n, m] of a block and its margin, from all levels; None: no window shows anything."""
        if box.left == 0:  # windows above this row are not needed again
            above = box.top - MARGIN * self.step
            self._scored = {window: scores for window, scores in self._scored.items() if window.box.bottom > above}
        down = self._centres(box.top, box.bottom, self.size[0])
        across = self._centres(box.left, box.right, self.size[1])
        total: Tensor | None = None
        for windows in self._around(box):
            blended = self._level(windows, down, across)
            if blended is not None:
                total = blended if total is None else total + blended
        return None if total is None else (total / total.sum(0).clamp_min(FAINT)).clamp_min(FAINT).log()

    def _level(self, windows: list[Window], down: Tensor, across: Tensor) -> Tensor | None:
        """[K, n, m]: the mean of the windows of one level, weighted by the distance to their borders."""
        total: Tensor | None = None
        weight = torch.zeros(len(down), len(across))
        for window in windows:
            scored = self._scored[window]
            if scored is None:
                continue
            box = window.box
            share = _ramp(down, box.top, box.bottom)[:, None] * _ramp(across, box.left, box.right)  # [n, m]
            x, y = _place(across, box.left, box.right), _place(down, box.top, box.bottom)
            places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]  # [1, n, m, 2]
            logits = scored.result()[None].float()
            # Logits are interpolated and then made probabilities, as in a picture that is scored at once.
            sampled = F.grid_sample(logits, places, padding_mode="border", align_corners=False)[0].exp_()
            total = sampled * share if total is None else total.add_(sampled * share)
            weight += share
        return None if total is None else total / weight.clamp_min(torch.finfo(weight.dtype).tiny)

    def _centres(self, start: int, end: int, length: int) -> Tensor:
        """Coordinates of the centres of a block's cells along one side, with margins, clipped to the picture."""
        count = -(-(end - start) // self.step) + 2 * MARGIN
        middles = start + (torch.arange(count, dtype=torch.float32) - MARGIN + 0.5) * self.step
        return middles.clamp(0.5, length - 0.5)


def _levels(size: tuple[int, int], window: int, overlap: int) -> Iterator[_Level]:
    area, has_whole = size[0] * size[1], window << LEVELS - 1 >= max(size)
    if not has_whole or area >= MIN_WINDOWS * window**2:
        for number in range(LEVELS - 1):
            if (side := window << number) < max(size):
                down, across = (_spans(length, side, overlap << number) for length in size)
                yield _Level(float(1 << number), down, across)
    if has_whole:  # not shrunk twice if possible: areas would differ from the picture's asked at once
        yield _Level(max(1.0, (area / MAX_WHOLE) ** 0.5), [(0, size[0])], [(0, size[1])])


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """Start and end of each window along one side of a picture; the last ends with it."""
    if side >= length:
        return [(0, length)]
    starts = [*range(0, length - side, side - overlap), length - side]
    return [(start, start + side) for start in starts]


def _ramp(centres: Tensor, start: int, end: int) -> Tensor:
    """The weight of a window along one side: 0 outside, rising from its border to its middle."""
    return torch.minimum(centres - start, end - centres).clamp_min(0) / (end - start)


def _place(centres: Tensor, start: int, end: int) -> Tensor:
    """Coordinates along one side as grid_sample takes them: -1 at the start of a window, 1 at its end."""
    return 2 * (centres - start) / (end - start) - 1


def run(
    images: list[str], vocabulary: Vocabulary, question: Question, out: Path, settings: Settings, reading: Reading
) -> int:
    """Segment every image; one that fails is reported and the others go on. Returns 1 if any failed."""
    segmenter = _WindowSegmenter(load(settings, question.task), vocabulary, question)
    failures = 0
    for name in images:
        try:
            with open_scene(name, reading) as scene:
                typer.echo(_segment(_stem(name), scene, segmenter, out))
        except (DatasetError, OptionError) as error:
            failures += 1
            typer.echo(f"lexiseg: {error}", err=True)
    return 1 if failures else 0


def _stem(name: str) -> str:
    """The name of results without a suffix: of NETCDF:"a.nc":red it is a-red."""
    if not OF_GDAL.match(name) or Path(name).exists():
        return Path(name).stem
    return "-".join(Path(part).stem for part in re.findall(r'[^:"]+', name)[1:])


def _segment(stem: str, scene: Scene, segmenter: _WindowSegmenter, out: Path) -> str:
    """Write the files of one image, all or none; returns a line about them."""
    out.mkdir(parents=True, exist_ok=True)
    stems = (fitting(name, ROOM) for name in numbered(on_one_line(stem)))
    name = next(name for name in stems if not any((out / f"{name}{suffix}").exists() for suffix in SUFFIXES))
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished.") as unfinished:
        count = segmenter.segment(scene, Path(unfinished), name)
        for suffix in SUFFIXES:
            os.replace(Path(unfinished) / f"{name}{suffix}", out / f"{name}{suffix}")
    places = ", ".join(str(out / f"{name}{suffix}") for suffix in SUFFIXES)
    height, width = scene.size
    return f"{width:,} x {height:,} pixels, {count:,} segments: {places}"


class _WindowSegmenter:
    """Segments scenes window by window, all with one model and question."""

    def __init__(self, segmenter: Segmenter, vocabulary: Vocabulary, question: Question) -> None:
        self._segmenter, self._vocabulary = segmenter, vocabulary
        self._options = InferenceOptions(question.max_side)
        self._rows_of = KnownRows(segmenter)
        # Stuff has no instances.
        has_instances = [question.task != "instance" or entry.thing is not False for entry in vocabulary.classes]
        self._values = np.array([place * keep for place, keep in enumerate(has_instances, 1)] + [0], np.uint16)
        self._thresholds = [
            (question.threshold or 0.0) if entry.threshold is None else entry.threshold for entry in vocabulary.classes
        ]

    def segment(self, scene: Scene, folder: Path, name: str) -> int:
        """Write NAME.tif, NAME.gpkg and NAME.geojson, and return how many regions there are."""
        # A window with less detail than the model takes would show it blurred pixels.
        detail = scene.pixels_of_detail()
        window = max(scene.reading.window, detail * self._segmenter.card.input.short_side)
        blur = max(1, detail // MAX_PIXELS_OF_DETAIL)
        names = [entry.name for entry in self._vocabulary.classes]
        with ThreadPoolExecutor(1) as pool:

            def score(part: Window) -> Future[Tensor] | None:
                rgb, valid = scene.read(part.box, part.shrink * blur)
                return pool.submit(self._score, rgb) if valid.any() else None

            blend = Blend(scene.size, window, round(window * OVERLAP), score)
            with ClassMap(folder / f"{name}.tif", scene, blend.side, names) as class_map, bar_of(name) as bar:
                bar.expect(blend.shape[0] * blend.shape[1])
                for box, logits in blend.blocks():
                    if logits is not None:
                        won = blend.winners(box, logits)
                        values = self._values[won.labels.clip(0, len(names))] * scene.read(box)[1]
                        assert won.probability is not None
                        class_map.write(box, values, won.probability)
                    bar.step()
                regions = [
                    region for region in class_map.regions() if region.score >= self._thresholds[region.value - 1]
                ]
        return write_outlines(folder / name, scene, regions, names)

    def _score(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Log probabilities [K, h, w] of classes in a window [H, W, 3]; with a background one row more, its own."""
        plan = self._segmenter.plan(rgb, self._options)
        features = self._segmenter.assemble(plan, self._segmenter.encode_tiles(plan.tiles))
        refine = self._segmenter.card.refine
        with torch.inference_mode():
            logits = score_vocabulary(self._segmenter, features, self._vocabulary, self._rows_of, refine)
            return logits.log_softmax(0).cpu().half()
