"""Messages of the public gRPC interface as the pydantic models of the REST routes: one validation for both."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.video import FRAMES_IN_FLIGHT, StreamConfig
from lexiseg_service.question.messages import DropPolicy, Followed, ImageSource
from lexiseg_service.question.prompts import check_points, check_prompt_counts, resolve_follow
from lexiseg_service.question.schemas import ImageInput, PromptInput, Question
from lexiseg_service.question.validation import off_event_loop, validate
from lexiseg_service.settings import Limits
from lexiseg_service.wire.request import DROP_POLICIES, MASKS, REFINEMENTS, TASKS, word_of


async def read_segment(message: pb.SegmentRequest, limits: Limits) -> tuple[Question, ImageSource]:
    """The question and the image of a request.

    Raises:
        InvalidValue: a field is missing or out of range.
    """
    source = message.image.WhichOneof("source")
    if source is None:
        raise InvalidValue.of("image", "none", "exactly one of content, url and id")
    n_bytes = message.ByteSize() - message.image.ByteSize()
    question = await off_event_loop(n_bytes, partial(read_question, message, limits))
    if source == "content":
        return question, ImageSource(message.image.content)
    named = validate(ImageInput, {source: getattr(message.image, source)}, "image.")
    return question, ImageSource(id=named.id, url=named.url)


def read_question(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> Question:
    """The question of a request or of a stream.

    Raises:
        InvalidValue: a field is out of range.
    """
    return validate(Question, question_fields(message, limits))


def question_fields(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> dict[str, Any]:
    """The fields of a message under the names and in the forms of the JSON, without those that are not set.

    Raises:
        InvalidValue: more classes, synonyms, words, prompts or points than the limits allow, or a background that is
            both on and off.
    """
    _check_counts(message, limits)
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
            # A number that only a newer release knows is refused like any other unknown word.
            fields[name] = word_of(words, number) or str(number)
    if message.HasField("background"):
        fields["background"] = _background(message.background)
    if isinstance(message, pb.SegmentRequest) and message.prompts:
        fields["prompts"] = [_prompt(prompt) for prompt in message.prompts]
    return fields


def read_config(message: pb.StreamConfig, limits: Limits) -> StreamConfig:
    """The config of a stream.

    Raises:
        InvalidValue: a field is out of range.
    """
    in_flight = message.frames_in_flight if message.HasField("frames_in_flight") else FRAMES_IN_FLIGHT
    drop_policy: DropPolicy | None = word_of(DROP_POLICIES, message.drop_policy) if message.drop_policy else "none"
    if drop_policy is None:
        raise InvalidValue.of("drop_policy", message.drop_policy, "DROP_POLICY_NONE or DROP_POLICY_LATEST")
    question = read_question(message, limits)
    return StreamConfig(question, message.smoothing, message.tracking, drop_policy, in_flight)


def read_followed(message: pb.Frame, limits: Limits) -> tuple[Followed, ...]:
    """The objects that a frame starts to follow.

    Raises:
        InvalidValue: too many of them or of their points, or one is not as expected.
    """

    def prompts() -> Iterator[tuple[int, PromptInput]]:
        for index, each in enumerate(message.follow):
            check_points(each.prompt, f"frame.follow.{index}.prompt", limits)
            yield each.track_id, validate(PromptInput, _prompt(each.prompt))

    return resolve_follow(prompts(), "frame.follow", limits)


def _check_counts(message: pb.SegmentRequest | pb.StreamConfig, limits: Limits) -> None:
    """Check before converting: a small message may hold millions of entries."""
    n_classes, n_words = len(message.classes), len(message.background.words.words)
    if n_classes > limits.max_classes:
        raise InvalidValue.of("classes", f"{n_classes} classes", f"at most {limits.max_classes}")
    if n_words > limits.max_classes:
        raise InvalidValue.of("background.words", f"{n_words} words", f"at most {limits.max_classes}")
    if isinstance(message, pb.SegmentRequest):
        check_prompt_counts(message.prompts, limits)
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
    examples: dict[str, Any] = {}
    if entry.examples or entry.negatives:
        examples = {"examples": [_example(each) for each in entry.examples]}
        examples["negatives"] = [_example(each) for each in entry.negatives]
    if entry.HasField("words"):
        examples["words"] = entry.words
    if not entry.synonyms and not entry.HasField("threshold") and not examples:
        return entry.name
    threshold = entry.threshold if entry.HasField("threshold") else None
    return {"name": entry.name, "synonyms": list(entry.synonyms), "threshold": threshold, **examples}


def _example(message: pb.Example) -> dict[str, Any]:
    """An example as JSON, with the content of its image as base64."""
    box = message.box if message.HasField("box") else None
    example = _prompt(pb.Prompt(points=message.points, box=box))
    if message.HasField("mask"):
        example["mask"] = _mask(message.mask)
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
    if message.HasField("mask"):
        prompt["mask"] = _mask(message.mask)
    if message.HasField("segment"):
        prompt["segment"] = message.segment
    return prompt


def _mask(message: pb.CocoRle) -> dict[str, Any]:
    return {"size": [message.size.height, message.size.width], "counts": message.counts}
