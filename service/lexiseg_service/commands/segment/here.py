"""`lexiseg segment`: files in, overlay pictures and COCO-style annotations out, through the engine in this process."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from lexiseg_model.model_name import ModelName
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.loading import load
from lexiseg_service.commands.segment.annotations import Annotations
from lexiseg_service.commands.segment.files import segment_files
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine


def run(images: list[Path], question: Question, out: Path, settings: Settings) -> int:
    """Segments every file; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes, the prompts or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    validated = question.validated()
    prompts = resolve_prompts(validated, question.task, settings.limits)
    vocabulary = resolved(validated, settings)
    segmenter = load(settings, question.task)
    name = str(ModelName.of(segmenter.card))
    annotations = Annotations(out, question, vocabulary.classes, images, f"{name} {segmenter.digest}")
    engine = Engine(segmenter, settings, Metrics())

    def ask(content: bytes) -> Future[WorkerAnswer]:
        return engine.submit(
            WorkerRequest(
                content,
                vocabulary,
                segmenter.card.name,
                task=question.task,
                prompts=prompts,
                overlay=True,
                threshold=question.threshold,
                max_side=question.max_side,
            )
        )

    try:
        return segment_files(images, ask, annotations)
    finally:
        engine.close(0)
