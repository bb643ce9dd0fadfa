"""`lexiseg segment`: files in, overlay pictures and COCO-style annotations out, through the engine in this process."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from model import catalog
from model.types import Vocabulary
from service.errors import ServiceError
from service.gateway.body import validate
from service.gateway.schemas import Question as RestQuestion
from service.gateway.use_case import named_vocabulary
from service.gateway.vocabulary import resolve
from service.messages import WorkerAnswer, WorkerRequest
from service.metrics import Metrics
from service.settings import Settings
from service.state import open_vocabularies
from service.worker.engine import Engine

AHEAD = 8  # files in flight: enough to overlap decoding, computing and writing


@dataclass(frozen=True)
class Question:
    """What to ask of every file: either classes or a vocabulary; a background of None is the vocabulary's own."""

    classes: tuple[str, ...]
    vocabulary: str | None
    background: bool | None
    threshold: float
    max_side: int | None


class _Annotations:
    """COCO-style annotations, and the pictures beside them."""

    def __init__(self, folder: Path, classes: tuple[str, ...], images: list[Path]) -> None:
        self._folder = folder
        # A picture never takes the place of a photograph that it was made from.
        self._names = {path.name for path in images if path.parent.resolve() == folder.resolve()}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]

    def add(self, path: Path, answer: WorkerAnswer) -> None:
        """One file's answer; its picture is written at once."""
        picture = self._free_name(path.stem)
        assert answer.overlay is not None
        (self._folder / picture).write_bytes(answer.overlay)
        image_id = len(self._images) + 1
        height, width = answer.size
        self._images.append(
            {"id": image_id, "file_name": str(path), "height": height, "width": width, "overlay": picture}
        )
        for segment in answer.segments:
            assert segment.class_index is not None
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": segment.class_index + 1,
                    "segmentation": {"size": list(segment.mask.size), "counts": segment.mask.counts},
                    "area": segment.area,
                    "bbox": list(segment.bbox),
                    "iscrowd": 0,
                    "score": round(segment.score, 4),
                }
            )

    def write(self) -> Path:
        """Writes annotations.json."""
        path = self._folder / "annotations.json"
        content = {"images": self._images, "categories": self._categories, "annotations": self._annotations}
        path.write_text(json.dumps(content))
        return path

    def _free_name(self, stem: str) -> str:
        """Two files of one name from two folders get two pictures."""
        name, number = f"{stem}.png", 2
        while name in self._names:
            name, number = f"{stem}-{number}.png", number + 1
        self._names.add(name)
        return name


def _resolve(question: RestQuestion, settings: Settings) -> Vocabulary:
    async def named() -> Vocabulary | None:
        vocabularies = open_vocabularies(settings)
        try:
            return await named_vocabulary(question, vocabularies)
        finally:
            await vocabularies.store.close()

    return resolve(question, settings.limits, asyncio.run(named()) if question.vocabulary else None)


def run(images: list[Path], question: Question, out: Path, settings: Settings) -> int:
    """Segments every file; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    asked = {
        "classes": list(question.classes) or None,
        "vocabulary": question.vocabulary,
        "background": question.background,
        "threshold": question.threshold,
        "max_side": question.max_side,
    }
    vocabulary = _resolve(validate(RestQuestion, asked), settings)
    segmenter = catalog.load(settings.model, models_dir=settings.models_dir, device=settings.device)
    engine = Engine(segmenter, settings, Metrics())
    out.mkdir(parents=True, exist_ok=True)
    annotations = _Annotations(out, tuple(entry.name for entry in vocabulary.classes), images)
    failures: list[str] = []
    pending: deque[tuple[Path, Future[WorkerAnswer]]] = deque()

    def settle() -> None:
        path, future = pending.popleft()
        try:
            annotations.add(path, future.result())
        except ServiceError as error:
            failures.append(f"{path}: {error}")
        progress.advance(task)

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("segmenting", total=len(images))
        for path in images:
            try:
                content = path.read_bytes()
            except OSError as error:
                failures.append(f"{path}: {error.strerror}")
                progress.advance(task)
                continue
            if len(pending) == AHEAD:
                settle()
            request = WorkerRequest(
                content,
                vocabulary,
                settings.model,
                overlay=True,
                threshold=question.threshold,
                max_side=question.max_side,
            )
            pending.append((path, engine.submit(request)))
        while pending:
            settle()
    engine.close(0)
    for failure in failures:
        typer.echo(f"lexiseg: {failure}", err=True)
    done = len(images) - len(failures)
    typer.echo(f"{done} of {len(images)} images: {annotations.write()} and one picture each in {out}/")
    return 1 if failures else 0
