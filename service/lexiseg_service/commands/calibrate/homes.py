"""Where a vocabulary is kept, and who segments with it: this installation, or a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lexiseg_client import Background as ClientBackground
from lexiseg_client import Class
from lexiseg_model.types import Vocabulary
from lexiseg_service.commands.calibrate.looking import Ask
from lexiseg_service.commands.loading import load
from lexiseg_service.commands.remote import RemoteServer
from lexiseg_service.commands.segment.files import AHEAD
from lexiseg_service.commands.server import Server
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

Thresholds = Mapping[str, float | None]


@dataclass(frozen=True)
class Home:
    """One vocabulary: its classes, how to ask for all segments, whatever their score, and how to keep new ones."""

    names: Sequence[str]
    ask: Ask
    keep: Any  # (Thresholds, name) -> None; a built-in list is kept under another name


@contextmanager
def here(name: str, settings: Settings) -> Iterator[Home]:
    """The installation's own vocabularies, and the engine in this process.

    Raises:
        ServiceError: there is no such vocabulary, or it says nothing of a background.
        ModelError: the model cannot be loaded.
    """
    from lexiseg_service.worker.engine import Engine  # loads torch

    async def find() -> Any:
        vocabularies = open_vocabularies(settings, Metrics())
        try:
            return await vocabularies.find(name)
        finally:
            await vocabularies.store.close()

    kept = asyncio.run(find())
    vocabulary: Vocabulary = kept.vocabulary
    _refuse_without_background(name, vocabulary.background)
    plain = replace(vocabulary, classes=tuple(replace(entry, threshold=0.0) for entry in vocabulary.classes))
    segmenter = load(settings, "semantic")
    engine = Engine(segmenter, settings, Metrics())

    def keep(thresholds: Thresholds, under: str) -> None:
        document = dict(kept.document)
        document["classes"] = [
            {**entry, "threshold": thresholds.get(entry["name"], entry["threshold"])} for entry in document["classes"]
        ]
        known = {field: value for field, value in document.items() if field in VocabularyInput.model_fields}
        # Whoever changed the list meanwhile is told, and not overruled.
        condition = Preconditions(if_match=kept.etag) if under == name else Preconditions()

        async def put() -> None:
            vocabularies = open_vocabularies(settings, Metrics())
            try:
                await vocabularies.put(under, VocabularyInput.model_validate(known), condition)
            finally:
                await vocabularies.store.close()

        asyncio.run(put())

    try:
        yield Home(
            [entry.name for entry in vocabulary.classes],
            lambda content: engine.submit(WorkerRequest(content, plain, segmenter.card.name)),
            keep,
        )
    finally:
        engine.close(0)


@contextmanager
def at(url: str, name: str, settings: Settings) -> Iterator[Home]:
    """A server's vocabularies, and its models.

    Raises:
        ServiceError: it cannot be asked, there is no such vocabulary, or it says nothing of a background.
    """
    model = settings.model if "model" in settings.model_fields_set else None
    with RemoteServer(Server.of(url, settings), AHEAD) as server, ThreadPoolExecutor(AHEAD) as threads:
        server.check(model, "semantic")
        kept = server.vocabulary(name)
        _refuse_without_background(name, kept.background or None)
        fields: dict[str, Any] = {
            "classes": [Class(entry.name, entry.synonyms, 0.0) for entry in kept.classes],
            "background": kept.background,
            **({} if model is None else {"model": model}),
        }

        def keep(thresholds: Thresholds, under: str) -> None:
            classes = [
                Class(entry.name, entry.synonyms, thresholds.get(entry.name, entry.threshold)) for entry in kept.classes
            ]
            server.keep_vocabulary(under, classes, kept.background, kept.source, kept.etag if under == name else None)

        yield Home(
            [entry.name for entry in kept.classes],
            lambda content: threads.submit(server.segment, content, fields),
            keep,
        )


def _refuse_without_background(name: str, background: object | ClientBackground | None) -> None:
    if background is None:
        raise InvalidValue.of(
            "--vocabulary", name, "one whose `background` is on: where every pixel gets a class nothing is dropped"
        )
