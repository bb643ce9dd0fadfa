"""`lexiseg segment-scene`: images of any size, in memory that does not grow with their pixels.

parts of the file -> windows scored in threads -> blocks of labels -> map of classes -> outlines of its regions
"""

from __future__ import annotations

import os
import re
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lexiseg_labels.names import fitting, numbered
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.files.names import on_one_line
from lexiseg_service.batch.sources.source import Unreadable
from lexiseg_service.commands.options import check_installed
from lexiseg_service.in_process import load, resolved
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Limits, Settings

if TYPE_CHECKING:  # optional libraries, and torch
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lexiseg_model.segmenter import Segmenter
    from lexiseg_model.types import Vocabulary
    from lexiseg_service.commands.segment_scene.scene import Reading, Scene

OVERLAP = 0.25  # of a window's side
MAX_PIXELS_OF_DETAIL = 8  # more are shrunk when they are read, which bounds the memory of a window
SUFFIXES = (".geojson", ".gpkg", ".tif")
OF_GDAL = re.compile(r"/vsi|\w+:")  # names that GDAL takes for files, as NETCDF:"a.nc":red
ROOM = len(".tif.probability")  # bytes that follow the stem in the longest name


def reading_of(window: int, bands: str | None, stretch: str | None, limits: Limits) -> Reading:
    """Check the options of the command line before a model is loaded."""
    check_installed("SCENE", "scene", "rasterio", "pyogrio", "shapely")
    from lexiseg_service.commands.segment_scene.scene import Reading

    if window**2 > limits.max_pixels:
        longest = int(limits.max_pixels**0.5)
        raise typer.BadParameter(
            f"expected at most {longest} pixels, by --max-pixels; got {window}", param_hint="'--window'"
        )
    return Reading(window, None if bands is None else _bands(bands), None if stretch is None else _range(stretch))


def _bands(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) if part.strip().isdigit() else 0 for part in text.split(","))
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        raise typer.BadParameter(f"expected one band or three, from 1, as 4,3,2; got {text!r}", param_hint="'--bands'")
    return numbers


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    with suppress(ValueError):
        if float(low) < float(high):
            return float(low), float(high)
    raise typer.BadParameter(f"expected LOW,HIGH with LOW < HIGH, as 0,3000; got {text!r}", param_hint="'--range'")


def run(images: list[str], question: Question, out: Path, settings: Settings, reading: Reading) -> int:
    """Segment every image; one that fails is reported and the others go on. Returns 1 if any failed."""
    vocabulary = resolved(question, settings, words_alone=True)
    missing = [name for name in images if not OF_GDAL.match(name) and not Path(name).exists()]
    if len(missing) == len(images):
        raise Unreadable("\n".join(f"{name}: No such file" for name in missing))
    segmenter = _WindowSegmenter(load(settings, question.task), vocabulary, question)
    from lexiseg_service.commands.segment_scene.scene import open_scene  # imports torch: after all checks

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
        import numpy as np

        from lexiseg_model.features import InferenceOptions
        from lexiseg_model.vocabulary.bank import KnownRows

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
        from lexiseg_service.commands.segment_scene.blending import Blend, Window
        from lexiseg_service.commands.segment_scene.scene import ClassMap, write_outlines

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
        """Probabilities [K, h, w] in a window [H, W, 3]."""
        from lexiseg_service.commands.segment_scene.blending import score_window

        plan = self._segmenter.plan(rgb, self._options)
        features = self._segmenter.assemble(plan, self._segmenter.encode_tiles(plan.tiles))
        return score_window(self._segmenter, features, self._vocabulary, self._rows_of)
