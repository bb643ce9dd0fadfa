"""Messages of the public gRPC interface as the pydantic models of the REST routes: one validation for both."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any

from lexiseg_client.rpc.fields import Kinds, build, read, row
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import InvalidValue, TooLarge
from lexiseg_service.gateway.video import StreamConfig
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.prompts import check_points, resolve_follow
from lexiseg_service.question.schemas import ImageInput, PromptInput, Question
from lexiseg_service.question.streams import Followed
from lexiseg_service.question.validation import max_values, off_event_loop, validate
from lexiseg_service.settings import Limits

VALUES_PER_POINT = 4
JSON_BYTES = 4  # that take as long to convert as one byte of a message


async def read_segment(message: pb.SegmentRequest, limits: Limits) -> tuple[Question, ImageSource]:
    source = message.image.WhichOneof("source")
    if source is None:
        raise InvalidValue.of("image", "none", "exactly one of content, url and id")
    n_bytes = JSON_BYTES * (message.ByteSize() - message.image.ByteSize())
    question = await off_event_loop(n_bytes, partial(read_question, message, limits))
    if source == "content":
        return question, ImageSource(message.image.content)
    named = validate(ImageInput, {source: getattr(message.image, source)}, "image.")
    return question, ImageSource(id=named.id, url=named.url)


def read_question(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> Question:
    left = max_values(limits)
    for count in _counts(message):  # before any is converted: a small message may hold millions
        left -= count
        if left < 0:
            raise TooLarge(f"the message holds more than {max_values(limits):,} values")
    fields = read(message, KINDS, Question.model_fields)
    return validate(Question, {name: value for name, value in fields.items() if value != ()})


def read_config(message: pb.StreamConfig, limits: Limits) -> StreamConfig:
    question = read_question(message, limits)
    return validate(StreamConfig, {"question": question, **read(message, KINDS, StreamConfig.model_fields)})


def read_followed(message: pb.Frame, limits: Limits) -> tuple[Followed, ...]:

    def prompts() -> Iterator[tuple[int, PromptInput]]:
        for index, each in enumerate(message.follow):
            check_points(each.prompt, f"frame.follow.{index}.prompt", limits)
            yield each.track_id, validate(PromptInput, build(each.prompt, KINDS))

    return resolve_follow(prompts(), "frame.follow", limits)


def _counts(message: pb.SegmentRequest | pb.StreamConfig) -> Iterator[int]:
    """The numbers of values in each list of a message, outer lists first."""
    yield len(message.classes) + len(message.background.words.words)
    for entry in message.classes:
        yield len(entry.synonyms) + len(entry.examples) + len(entry.negatives)
        for example in (*entry.examples, *entry.negatives):
            yield VALUES_PER_POINT * len(example.points)
    if isinstance(message, pb.SegmentRequest):
        yield len(message.prompts)
        for prompt in message.prompts:
            yield VALUES_PER_POINT * len(prompt.points)


def _class(name: str, **others: Any) -> str | dict[str, Any]:
    others = {field: value for field, value in others.items() if value != ()}
    return {"name": name, **others} if others else name


def _background(enabled: bool | None = None, **rule: Any) -> bool | dict[str, Any]:
    if enabled is False and rule:
        raise InvalidValue.of("background.enabled", False, f"true or nothing beside {' and '.join(rule)}")
    return enabled is not False and (rule or True)


# What messages become in JSON.
KINDS: Kinds = {
    "Background": _background,
    "Box": row,
    "Class": _class,
    "CocoRle": dict,
    "Example": dict,
    "Image": lambda content=None, **named: named if content is None else {"base64": base64.b64encode(content).decode()},
    "Point": dict,
    "Prompt": dict,
    "Size": row,
    "Words": lambda words: words,
}
