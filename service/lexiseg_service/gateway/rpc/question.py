"""Messages of the public gRPC interface as the questions of the REST routes: one validation for both."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.parsing import Parsing
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.findings import validate
from lexiseg_service.question.prompts import refuse_crowd, resolve_prompt
from lexiseg_service.question.schemas import JsonRequest, PromptInput, Question
from lexiseg_service.question.stream_messages import Followed
from lexiseg_service.settings import Limits
from lexiseg_service.wire.enums import MASKS, REFINEMENTS, TASKS, word_of


async def read(message: pb.SegmentRequest, limits: Limits, parsing: Parsing) -> Asked:
    """`asked_of`, in a thread where the question is long.

    Raises:
        InvalidValue: a field is missing or out of range.
    """
    n_bytes = message.ByteSize() - message.image.ByteSize()
    return await parsing.run(n_bytes, partial(asked_of, message, limits))


async def read_config(message: pb.StreamConfig, limits: Limits, parsing: Parsing) -> Question:
    """The question of a stream, in a thread where it is long.

    Raises:
        InvalidValue: a field is out of range.
    """
    return await parsing.run(message.ByteSize(), partial(_stream_question, message, limits))


def asked_of(message: pb.SegmentRequest, limits: Limits) -> Asked:
    """An image and a question.

    Raises:
        InvalidValue: a field is missing or out of range.
    """
    source = message.image.WhichOneof("source")
    fields = question_fields(message, limits)
    if source == "content":
        return Asked(message.image.content, validate(Question, fields))
    if source is None:
        raise InvalidValue.of("image", "none", "exactly one of content, url and id")
    parsed = validate(JsonRequest, {**fields, "image": {source: getattr(message.image, source)}})
    question = Question.model_construct(**{name: getattr(parsed, name) for name in Question.model_fields})
    return Asked(None, question, parsed.image.id, parsed.image.url)


def question_fields(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> dict[str, Any]:
    """What a message says, under the names and in the forms of the JSON; what it leaves out is left out.

    Raises:
        InvalidValue: more classes, synonyms, words, prompts or points than the limits allow, or a background that is
            both on and off.
    """
    _refuse_crowds(message, limits)
    fields: dict[str, Any] = {
        "overlay": message.overlay,
        "confidence": message.confidence,
    }
    if isinstance(message, pb.SegmentRequest):
        fields["simplify"] = message.simplify
    if message.classes:
        fields["classes"] = [_class(entry) for entry in message.classes]
    for name in ("vocabulary", "model", "threshold", "max_side"):
        if message.HasField(name):
            fields[name] = getattr(message, name)
    enums: tuple[tuple[str, Mapping[Any, int]], ...] = (("task", TASKS), ("mask", MASKS), ("refine", REFINEMENTS))
    for name, words in enums:
        if number := getattr(message, name):
            # A number that a newer release may know is refused like any other word that is none.
            fields[name] = word_of(words, number) or str(number)
    if message.HasField("background"):
        fields["background"] = _background(message.background)
    if isinstance(message, pb.SegmentRequest) and message.prompts:
        fields["prompts"] = [_prompt(prompt) for prompt in message.prompts]
    return fields


def _stream_question(message: pb.StreamConfig, limits: Limits) -> Question:
    fields = question_fields(message, limits)
    if fields.get("task") == "everything":
        raise InvalidValue.of("task", fields["task"], "semantic, instance, panoptic or prompt in a stream")
    return validate(Question, fields)


def read_follow(messages: Sequence[pb.Follow], limits: Limits) -> tuple[Followed, ...]:
    """The objects that a frame begins to follow.

    Raises:
        InvalidValue: there are too many, a number is 0 or comes twice, or a prompt is none.
    """
    if len(messages) > limits.max_prompts:
        raise InvalidValue.of("frame.follow", f"{len(messages)} objects", f"at most {limits.max_prompts}")
    followed: dict[int, Followed] = {}
    for index, message in enumerate(messages):
        field = f"frame.follow.{index}"
        if not message.track_id or message.track_id in followed:
            raise InvalidValue.of(f"{field}.track_id", message.track_id, "a number from 1, another for each object")
        if len(message.prompt.points) > limits.max_prompt_points:
            came = f"{len(message.prompt.points)} points"
            raise InvalidValue.of(f"{field}.prompt.points", came, f"at most {limits.max_prompt_points}")
        prompt = resolve_prompt(validate(PromptInput, _prompt(message.prompt)), f"{field}.prompt", limits)
        followed[message.track_id] = Followed(message.track_id, prompt)
    return tuple(followed.values())


def _refuse_crowds(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> None:
    """Before anything is made of them: a small message may hold millions."""
    n_classes, n_words = len(message.classes), len(message.background.words.words)
    if n_classes > limits.max_classes:
        raise InvalidValue.of("classes", f"{n_classes} classes", f"at most {limits.max_classes}")
    if n_words > limits.max_classes:
        raise InvalidValue.of("background.words", f"{n_words} words", f"at most {limits.max_classes}")
    if isinstance(message, pb.SegmentRequest):
        refuse_crowd(message.prompts, limits)
    left = limits.max_examples
    for index, entry in enumerate(message.classes):
        left -= len(entry.examples) + len(entry.negatives)
        if left < 0:
            raise InvalidValue.of(f"classes.{index}.examples", "more", f"at most {limits.max_examples} in all")
        for example in (*entry.examples, *entry.negatives):
            if len(example.points) > limits.max_prompt_points:
                came = f"{len(example.points)} points"
                raise InvalidValue.of(f"classes.{index}.examples", came, f"at most {limits.max_prompt_points}")
        if len(entry.synonyms) > limits.max_synonyms:
            came = f"{len(entry.synonyms)} synonyms"
            raise InvalidValue.of(f"classes.{index}.synonyms", came, f"at most {limits.max_synonyms}")


def _class(entry: pb.Class) -> str | dict[str, Any]:
    shown: dict[str, Any] = {}
    if entry.examples or entry.negatives:
        shown = {"examples": [_example(each) for each in entry.examples]}
        shown["negatives"] = [_example(each) for each in entry.negatives]
    if entry.HasField("words"):
        shown["words"] = entry.words
    if not entry.synonyms and not entry.HasField("threshold") and not shown:
        return entry.name
    threshold = entry.threshold if entry.HasField("threshold") else None
    return {"name": entry.name, "synonyms": list(entry.synonyms), "threshold": threshold, **shown}


def _example(message: pb.Example) -> dict[str, Any]:
    """As JSON; the file of an image as the base64 that it would be there."""
    box = message.box if message.HasField("box") else None
    example = _prompt(pb.Prompt(points=message.points, box=box))
    if message.HasField("mask"):
        size = message.mask.size
        example["mask"] = {"size": [size.height, size.width], "counts": message.mask.counts}
    if message.HasField("image"):
        source = message.image.WhichOneof("source")
        if source == "content":
            example["image"] = {"base64": base64.b64encode(message.image.content).decode()}
        else:
            example["image"] = {} if source is None else {source: getattr(message.image, source)}
    return example


def _background(message: pb.Background) -> bool | dict[str, Any]:
    rule: dict[str, Any] = {}
    if message.HasField("threshold"):
        rule["threshold"] = message.threshold
    if message.HasField("words"):
        rule["words"] = list(message.words.words)
    if message.HasField("enabled") and not message.enabled:
        if rule:
            raise InvalidValue.of("background.enabled", False, f"true or nothing beside {' and '.join(rule)}")
        return False
    return rule or True


def _prompt(message: pb.Prompt) -> dict[str, Any]:
    prompt: dict[str, Any] = {}
    if message.points:
        prompt["points"] = [
            {"x": point.x, "y": point.y, "positive": point.positive if point.HasField("positive") else True}
            for point in message.points
        ]
    if message.HasField("box"):
        prompt["box"] = [message.box.x0, message.box.y0, message.box.x1, message.box.y1]
    return prompt
