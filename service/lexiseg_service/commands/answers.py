"""Answers to one question about many images: of an engine in this process, or of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lexiseg_client import Segmentation
from lexiseg_client.rpc.messages import segmentation
from lexiseg_model.types import ClassEntry, ModelName
from lexiseg_service.commands.in_process import engine_of, exemplified, resolved
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.server import Server
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Settings
from lexiseg_service.wire.messages import encode_answer

Ask = Callable[[bytes], Segmentation]  # of an encoded image; for many threads; raises ServiceError


class Answers(NamedTuple):
    """`ask` answers about an image; `model` is the model's name and digest, or the server's address."""

    ask: Ask
    classes: tuple[ClassEntry, ...]
    model: str


@contextmanager
def open_answers(
    question: Question,
    settings: Settings,
    server: str | None,
    *,
    overlay: bool = False,
    check: Callable[[int], object] = lambda _: None,
) -> Iterator[Answers]:
    """Answers of the server at an address, or of an engine in this process while the block runs.

    Args:
        question: about each image.
        settings: name the model.
        server: its address; None: this process.
        overlay: whether each answer has a painted picture.
        check: called with the number of classes before the model is loaded; what it raises ends the command.

    Raises:
        ServiceError: the classes, the prompts or a value are not as expected, or the server cannot be asked.
        ModelError: the model cannot be loaded.
    """
    prompts = resolve_prompts(question, question.task, settings.limits)
    if server is not None:
        model = settings.default_model  # None: the server's own default
        fields: dict[str, Any] = question.fields | ({} if model is None else {"model": model}) | {"overlay": overlay}
        with Server(server, settings) as opened:
            classes = () if question.vocabulary else resolve(question, settings.limits).classes
            opened.check(model, question.task)
            if question.vocabulary is not None:
                classes = opened.classes_of(question.vocabulary)
            check(len(classes))
            yield Answers(lambda content: opened.segment(content, fields), classes, f"{server} {model or ''}".strip())
        return
    vocabulary = resolved(question, settings)
    check(len(vocabulary.classes))
    with engine_of(settings, question.task) as (engine, segmenter):
        name = segmenter.card.name
        known = exemplified(engine, vocabulary, question, name, settings)

        def ask(content: bytes) -> Segmentation:
            request = question.request(content, known, name, prompts=prompts, overlay=overlay)
            answer = engine.submit(request).result()
            return segmentation(encode_answer(answer, answer.image_id))  # as a server's: by way of the wire format

        yield Answers(ask, vocabulary.classes, f"{ModelName.of(segmenter.card)} {segmenter.digest}")
