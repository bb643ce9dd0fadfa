"""`lexiseg segment --window`: one large picture after the other, in memory that does not grow with it.

windows -> engine (a few at a time) -> pieces -> a file -> what belongs together -> GeoJSON, GeoPackage, map of classes
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.loading import load
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.scene.finding import pieces_of
from lexiseg_service.commands.segment.scene.grid import BLOCK, Cell, Grid
from lexiseg_service.commands.segment.scene.joining import Roots, Seams
from lexiseg_service.commands.segment.scene.keeping import Kept
from lexiseg_service.commands.segment.scene.reading import Reading, Scene, open_scene
from lexiseg_service.commands.segment.scene.writing import ClassMap, Outlines
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine

AHEAD = 6  # windows in flight: enough to overlap reading, computing and joining
SUFFIXES = (".geojson", ".gpkg", ".tif")
Ask = Callable[[bytes], Future[WorkerAnswer]]


@dataclass(frozen=True)
class Cut:
    """How pictures are cut and read; an overlap of None is an eighth of the window, `least` is in pixels."""

    window: int
    overlap: int | None
    reading: Reading
    least: int = 1

    def grid(self, size: tuple[int, int]) -> Grid:
        """For a picture of a size.

        Raises:
            OptionError: the windows overlap by so much that no core is left.
        """
        overlap = self.window // 8 if self.overlap is None else self.overlap
        if self.window - overlap < BLOCK:
            raise OptionError(
                f"windows of {self.window} pixels cannot overlap by {overlap}; at most {self.window - 16}"
            )
        return Grid(size, self.window, overlap)


def run(images: list[Path], question: Question, out: Path, settings: Settings, cut: Cut) -> int:
    """Segments every picture; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded, or windows and overlap do not go together.
    """
    cut.grid((1, 1))
    vocabulary = resolved(question.validated(), settings)
    segmenter = load(settings, question.task)
    engine = Engine(segmenter, settings, Metrics())

    def ask(content: bytes) -> Future[WorkerAnswer]:
        return engine.submit(
            WorkerRequest(
                content,
                vocabulary,
                segmenter.card.name,
                task=question.task,
                threshold=question.threshold,
                max_side=question.max_side,
                remember=False,
            )
        )

    failures = 0
    try:
        for path in images:
            try:
                with open_scene(str(path), cut.reading, cut.window) as scene:
                    typer.echo(_segment(path.stem, scene, ask, vocabulary, question.task != "semantic", out, cut))
            except (DatasetError, OptionError) as error:
                failures += 1
                typer.echo(f"lexiseg: {error}", err=True)
    finally:
        engine.close(0)
    return 1 if failures else 0


def _segment(stem: str, scene: Scene, ask: Ask, vocabulary: Vocabulary, apart: bool, out: Path, cut: Cut) -> str:
    grid = cut.grid(scene.size)
    out.mkdir(parents=True, exist_ok=True)
    stem = _free(out, stem)
    roots = Roots()
    seams = Seams(roots)
    kept = Kept(out / f".{stem}.pieces")
    classes = ClassMap(out / f"{stem}.tif", scene, grid, vocabulary.classes)
    whole = False
    try:
        with bar_of(stem) as bar:
            bar.expect(grid.shape[0] * grid.shape[1])
            for cell, there, answer in _answers(scene, grid, ask):
                if answer is not None:
                    answered = pieces_of(cell, answer.segments, there, roots, apart=apart)
                    seams.add(answered.pieces)
                    kept.add(answered.found)
                    classes.write(cell.core.top, cell.core.left, answered.classes)
                else:
                    seams.skip(cell)
                bar.step()
        with Outlines(out, stem, scene, vocabulary.classes) as outlines:
            for found in kept.objects(roots.joined(), cut.least):
                outlines.add(found)
        whole = True
    finally:
        classes.close(whole=whole)
        kept.close()
    places = ", ".join(str(out / f"{stem}{suffix}") for suffix in SUFFIXES)
    height, width = scene.size
    return f"{width:,} x {height:,} pixels, {outlines.count:,} segments: {places}"


def _answers(scene: Scene, grid: Grid, ask: Ask) -> Iterator[tuple[Cell, NDArray[np.bool_], WorkerAnswer | None]]:
    """Every window with its answer, in order; None where no pixel is there."""
    pending: deque[tuple[Cell, NDArray[np.bool_], Future[WorkerAnswer] | None]] = deque()
    for cell in grid.cells():
        if len(pending) == AHEAD:
            yield _settled(*pending.popleft())
        rgb, there = scene.read(cell.window)
        pending.append((cell, there, ask(_bitmap(rgb)) if there.any() else None))
    while pending:
        yield _settled(*pending.popleft())


def _settled(
    cell: Cell, there: NDArray[np.bool_], answer: Future[WorkerAnswer] | None
) -> tuple[Cell, NDArray[np.bool_], WorkerAnswer | None]:
    return cell, there, None if answer is None else answer.result()


def _bitmap(rgb: NDArray[np.uint8]) -> bytes:
    """As the engine takes pictures; of all forms this costs the least, both ways."""
    content = io.BytesIO()
    Image.fromarray(rgb).save(content, "BMP")
    return content.getvalue()


def _free(out: Path, stem: str) -> str:
    """A name under which nothing lies here: what is there is never replaced."""
    name, number = stem, 2
    while any((out / f"{name}{suffix}").exists() for suffix in SUFFIXES):
        name, number = f"{stem}-{number}", number + 1
    return name
