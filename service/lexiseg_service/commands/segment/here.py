"""`lexiseg segment`: files in, overlay pictures and COCO-style annotations out, through the engine in this process."""

from __future__ import annotations

from concurrent.futures import Future

from lexiseg_model.types import ModelName
from lexiseg_service.commands.classes import resolved, shown_here
from lexiseg_service.commands.loading import check_model, load
from lexiseg_service.commands.segment.files import segment_files
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.sources import Source
from lexiseg_service.commands.segment.target import Target
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics


def run(sources: list[Source], question: Question, target: Target, settings: Settings) -> int:
    """Segments every image; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes, the prompts or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    validated = question.validated()
    prompts = resolve_prompts(validated, question.task, settings.limits)
    vocabulary = resolved(validated, settings)
    check_model(settings, question.task)
    target.check(len(vocabulary.classes))
    from lexiseg_service.worker.engine import Engine  # imports torch: after everything that may be refused

    segmenter = load(settings, question.task)
    name = str(ModelName.of(segmenter.card))
    keeper = target.keeper(question, vocabulary.classes, sources, f"{name} {segmenter.digest}")
    engine = Engine(segmenter, settings, Metrics())

    def ask(content: bytes) -> Future[WorkerAnswer]:
        return engine.submit(
            WorkerRequest(
                content,
                vocabulary,
                segmenter.card.name,
                task=question.task,
                prompts=prompts,
                overlay=target.overlay,
                threshold=question.threshold,
                max_side=question.max_side,
            )
        )

    try:
        vocabulary = shown_here(engine, vocabulary, validated, segmenter.card.name, settings)
        return segment_files(sources, ask, keeper, target.manner)
    finally:
        engine.close(0)
