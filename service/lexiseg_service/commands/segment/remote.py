"""`lexiseg segment --server`: the same files in and out, masks from a running server. No model and no torch here."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lexiseg_service.commands.remote import RemoteServer
from lexiseg_service.commands.segment.files import AHEAD, segment_files
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.sources import Source
from lexiseg_service.commands.segment.target import Target
from lexiseg_service.commands.server import Server
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Settings


def run(sources: list[Source], question: Question, target: Target, settings: Settings, url: str) -> int:
    """Segments every image; one that fails is reported and the others go on. Returns 1 if any failed.

    Raises:
        ServiceError: the classes, the prompts or a value are not as expected, or the server cannot be asked.
    """
    validated = question.validated()
    resolve_prompts(validated, question.task, settings.limits)
    # Unless somebody names a model, the server's own default answers.
    model = settings.model if "model" in settings.model_fields_set else None
    fields: dict[str, Any] = question.fields | ({} if model is None else {"model": model})
    fields["overlay"] = target.overlay
    with RemoteServer(Server.of(url, settings), AHEAD) as server, ThreadPoolExecutor(AHEAD) as threads:
        if question.vocabulary is None:
            classes = resolve(validated, settings.limits).classes
            server.check(model, question.task)
        else:
            server.check(model, question.task)
            classes = server.classes_of(question.vocabulary)
        target.check(len(classes))
        keeper = target.keeper(question, classes, sources, f"{url} {model or ''}".strip())

        def ask(content: bytes) -> Future[WorkerAnswer]:
            return threads.submit(server.segment, content, fields)

        return segment_files(sources, ask, keeper, target.manner)
