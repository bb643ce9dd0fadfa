"""`lexiseg segment --window`: one large picture after the other, in memory that does not grow with it.

parts of the file -> windows scored in threads -> blocks of labels -> map of classes, regions -> outlines
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio.windows
import typer
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks.blending import Blend, Window, score_window
from lexiseg_model.types import Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.loading import load
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.scene.reading import Reading, Scene, open_scene
from lexiseg_service.commands.segment.scene.regions import Regions
from lexiseg_service.commands.segment.scene.writing import open_class_map, write_outlines
from lexiseg_service.settings import Settings

SUFFIXES = (".geojson", ".gpkg", ".tif")


@dataclass(frozen=True)
class Cut:
    """How pictures are cut and read: pixels of a window's side, share of it that overlaps, least pixels of a region."""

    window: int
    overlap: float
    reading: Reading
    min_area: int = 1


class SceneSegmenter:
    """A model and what it is asked about every picture."""

    def __init__(self, segmenter: Segmenter, vocabulary: Vocabulary, question: Question) -> None:
        self.segmenter = segmenter
        self.vocabulary = vocabulary
        self._options = InferenceOptions(question.max_side)
        self._rows_of = KnownRows(segmenter)
        # Stuff has no instances.
        kept = [question.task != "instance" or entry.thing is not False for entry in vocabulary.classes]
        self._values = np.array([place * keep for place, keep in enumerate(kept, 1)] + [0], np.uint16)
        self._thresholds = [
            (question.threshold or 0.0) if entry.threshold is None else entry.threshold for entry in vocabulary.classes
        ]

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [entry.name for entry in self.vocabulary.classes]

    def score(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Probabilities in a window [H, W, 3]."""
        plan = self.segmenter.plan(rgb, self._options)
        features = self.segmenter.assemble(plan, self.segmenter.encode_tiles(plan.tiles))
        return score_window(self.segmenter, features, self.vocabulary, self._rows_of)

    def segment(self, scene: Scene, cut: Cut, stem: Path) -> int:
        """Writes STEM.tif, STEM.gpkg and STEM.geojson, and returns how many regions there are."""
        # A window that holds less detail than the model takes would show it blurred pixels.
        window = max(cut.window, scene.pixels_of_detail() * self.segmenter.card.input.short_side)
        n_threads = len(os.sched_getaffinity(0)) if self.segmenter.passes_side_by_side else 1
        regions = Regions(stem.with_name(f"{stem.name}.pieces"))
        with ThreadPoolExecutor(n_threads) as pool:

            def score(window: Window) -> Future[Tensor] | None:
                rgb, there = scene.read(*window)
                return pool.submit(self.score, rgb) if there.any() else None

            blend = Blend(scene.size, window, round(window * cut.overlap), score)
            try:
                self._write_map(stem, scene, blend, regions)
                found = (
                    region
                    for region in regions.merged(cut.min_area)
                    if region.score >= self._thresholds[region.value - 1]
                )
                return write_outlines(stem, scene, found, self.names)
            finally:
                regions.close()

    def _write_map(self, stem: Path, scene: Scene, blend: Blend, regions: Regions) -> None:
        path = stem.with_name(f"{stem.name}.tif")
        with open_class_map(path, scene, blend.side, self.names) as written, bar_of(stem.name) as bar:
            bar.expect(blend.shape[0] * blend.shape[1])
            for box, logits in blend.blocks():
                if logits is not None:
                    won = blend.outcome(box, logits, len(self.names))
                    values = self._values[np.minimum(won.labels, len(self.names))] * scene.read(box)[1]
                    assert won.probability is not None
                    regions.add(box, values, won.probability)
                    place = rasterio.windows.Window(box.left, box.top, *box.size[::-1])
                    written.write(values.astype(written.dtypes[0]), 1, window=place)
                bar.step()


def run(images: list[Path], question: Question, out: Path, settings: Settings, cut: Cut) -> int:
    """Segments every picture; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    vocabulary = resolved(question.validated(), settings)
    segmenter = SceneSegmenter(load(settings, question.task), vocabulary, question)
    failures = 0
    for path in images:
        try:
            with open_scene(str(path), cut.reading, cut.window) as scene:
                typer.echo(_segment(path.stem, scene, segmenter, out, cut))
        except (DatasetError, OptionError) as error:
            failures += 1
            typer.echo(f"lexiseg: {error}", err=True)
    return 1 if failures else 0


def _segment(stem: str, scene: Scene, segmenter: SceneSegmenter, out: Path, cut: Cut) -> str:
    out.mkdir(parents=True, exist_ok=True)
    stem = _free(out, stem)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{stem}.") as unfinished:
        count = segmenter.segment(scene, cut, Path(unfinished) / stem)
        for suffix in SUFFIXES:
            os.replace(Path(unfinished) / f"{stem}{suffix}", out / f"{stem}{suffix}")
    places = ", ".join(str(out / f"{stem}{suffix}") for suffix in SUFFIXES)
    height, width = scene.size
    return f"{width:,} x {height:,} pixels, {count:,} segments: {places}"


def _free(out: Path, stem: str) -> str:
    """A name under which nothing lies here: what is there is never replaced."""
    name, number = stem, 2
    while any((out / f"{name}{suffix}").exists() for suffix in SUFFIXES):
        name, number = f"{stem}-{number}", number + 1
    return name
