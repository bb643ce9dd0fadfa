"""The vocabulary that is calibrated: of this installation or of a server, which also segments with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lexiseg_client import Class, Segmentation
from lexiseg_service.commands.in_process import load, segmentation_of, with_vocabularies
from lexiseg_service.commands.segment.run import Ask
from lexiseg_service.commands.server import Server
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics


@dataclass(frozen=True)
class Calibrated:
    """One vocabulary: its classes, how to segment with them whatever the score, and how to keep new ones.

    `keep` takes the thresholds by class and the name of the list to write.
    """

    names: Sequence[str]
    ask: Ask
    keep: Callable[[Mapping[str, float | None], str], None]


@contextmanager
def of_installation(name: str, settings: Settings) -> Iterator[Calibrated]:
    """A vocabulary of this installation, with the engine in this process.

    Raises:
        ServiceError: there is no such vocabulary, or it has no background rule.
        ModelError: the model cannot be loaded.
    """
    from lexiseg_service.worker.engine import Engine  # imports torch

    kept = with_vocabularies(settings, lambda vocabularies: vocabularies.find(name))
    vocabulary = kept.vocabulary
    _require_background(name, vocabulary.background)
    plain = replace(vocabulary, classes=tuple(replace(entry, threshold=0.0) for entry in vocabulary.classes))
    segmenter = load(settings, "semantic")
    engine = Engine(segmenter, settings, Metrics())

    def ask(content: bytes) -> Segmentation:
        return segmentation_of(engine.submit(WorkerRequest(content, plain, segmenter.card.name)).result())

    def keep(thresholds: Mapping[str, float | None], target: str) -> None:
        document = {field: value for field, value in kept.document.items() if field in VocabularyInput.model_fields}
        document["classes"] = [
            {**entry, "threshold": thresholds.get(entry["name"], entry["threshold"])} for entry in document["classes"]
        ]
        # Fails if the list has changed in the meantime.
        condition = Preconditions(if_match=kept.etag) if target == name else Preconditions()
        written = VocabularyInput.model_validate(document)
        with_vocabularies(settings, lambda vocabularies: vocabularies.put(target, written, condition))

    try:
        yield Calibrated([entry.name for entry in vocabulary.classes], ask, keep)
    finally:
        engine.close(0)


@contextmanager
def of_server(url: str, name: str, settings: Settings) -> Iterator[Calibrated]:
    """A vocabulary of a server, with its models.

    Raises:
        ServiceError: the server cannot be asked, there is no such vocabulary, or it has no background rule.
    """
    model = settings.model if "model" in settings.model_fields_set else None
    with Server(url, settings) as server:
        server.check(model, "semantic")
        kept = server.vocabulary(name)
        _require_background(name, kept.background or None)
        fields: dict[str, Any] = {
            "classes": [Class(entry.name, entry.synonyms, 0.0) for entry in kept.classes],
            "background": kept.background,
            **({} if model is None else {"model": model}),
        }

        def keep(thresholds: Mapping[str, float | None], target: str) -> None:
            classes = [
                Class(entry.name, entry.synonyms, thresholds.get(entry.name, entry.threshold)) for entry in kept.classes
            ]
            etag = kept.etag if target == name else None
            server.keep_vocabulary(target, classes, kept.background, kept.source, etag)

        names = [entry.name for entry in kept.classes]
        yield Calibrated(names, lambda content: server.segment(content, fields), keep)


def _require_background(name: str, background: object | None) -> None:
    if background is None:
        raise InvalidValue.of(
            "--vocabulary", name, "one whose `background` is on: where every pixel gets a class nothing is dropped"
        )
