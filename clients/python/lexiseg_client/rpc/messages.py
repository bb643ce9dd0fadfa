"""Convert requests, answers and video frames to and from the protobuf messages of lexiseg.v1."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.errors import (
    LexisegError,
    ProblemError,
    UnreadableAnswer,
    UnusableImage,
    error_of,
    invalid_value,
    read_problem,
)
from lexiseg_client.images import ImageId, ImageUrl, Source, file_bytes
from lexiseg_client.question import prompts_json
from lexiseg_client.rest import Model, model_of
from lexiseg_client.rpc.fields import Kinds, arguments, name_of, read, row, word_of
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import Frame, FrameAnswer, NewQuestion, StreamItem
from lexiseg_labels.segmentation import Segmentation

M = TypeVar("M", pb.SegmentRequest, pb.StreamConfig)


def segment_request(source: Source, question: Mapping[str, Any]) -> pb.SegmentRequest:
    """The request message for an image; `question` comes from `question_json`."""
    message = _set_fields(pb.SegmentRequest(), question)
    if isinstance(source, ImageId):
        message.image.id = source.id
    elif isinstance(source, ImageUrl):
        message.image.url = source.url
    else:
        message.image.content = source.content
    return message


def _set_fields(message: M, question: Mapping[str, Any]) -> M:
    for name, value in question.items():
        try:
            message.MergeFrom(type(message)(**{name: _argument(message.DESCRIPTOR.fields_by_name[name], value)}))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            enum = message.DESCRIPTOR.fields_by_name[name].enum_type
            expected = f"a value of its type ({error})"
            if enum is not None:  # as the server lists its words
                *others, last = [repr(word_of(enum, number)) for number in enum.values_by_number if number]
                expected = f"{', '.join(others)} or {last}"
            raise invalid_value(name, value, expected) from None
    return message


def _argument(field: FieldDescriptor, value: Any) -> Any:
    """A value of the JSON, as the constructor of the message with this field takes it."""
    if field.is_repeated and field.message_type is not None:
        return [_message_arguments(field.message_type, each) for each in value]
    if field.message_type is not None:
        return _message_arguments(field.message_type, value)
    return value if field.enum_type is None else name_of(field.enum_type, value)


def _message_arguments(kind: Descriptor, value: Any) -> dict[str, Any]:
    match kind.name, value:
        case "Class", str():
            return {"name": value}
        case "Background", bool():
            return {"enabled": value}
        case "Image", {"base64": content}:
            return {"content": base64.b64decode(content)}
        case "CocoRle", {"size": size, "counts": counts}:
            return {"size": arguments(pb.Size.DESCRIPTOR, size), "counts": counts}
    if isinstance(value, list):  # as of a box
        return arguments(kind, value)
    return {name: _argument(kind.fields_by_name[name], each) for name, each in value.items()}


def stream_config(question: NewQuestion) -> pb.SegmentVideoRequest:
    """A message of a stream with its question; errors as for `segment_request`."""
    return pb.SegmentVideoRequest(config=_set_fields(pb.StreamConfig(), question.fields))


class Items:
    """The items of a stream as messages, and the answers to its frames.

    A frame goes without an image that cannot be sent, so that its answer keeps its place; the answer has the error
    that it had here.
    """

    def __init__(self) -> None:
        self._n_sent = self._n_answered = 0  # frames
        self._errors: dict[int, LexisegError | OSError] = {}  # by frame

    def message(self, item: StreamItem) -> pb.SegmentVideoRequest:
        """The stream message of a frame, or of a `NewQuestion`."""
        if isinstance(item, NewQuestion):
            return stream_config(item)
        frame = item if isinstance(item, Frame) else Frame(item)
        try:
            if isinstance(frame.image, (ImageId, ImageUrl)) or (isinstance(frame.image, str) and "://" in frame.image):
                raise UnusableImage("expected a frame's own bytes or pixels; a stream takes no URLs and no image ids")
            image = file_bytes(frame.image)
        except IMAGE_ERRORS as error:
            self._errors[self._n_sent] = error
            image = b""
        self._n_sent += 1
        prompts = prompts_json(list(frame.follow.values())) if frame.follow else []
        follow = [
            pb.Follow(track_id=track_id, prompt=pb.Prompt(**_message_arguments(pb.Prompt.DESCRIPTOR, prompt)))
            for track_id, prompt in zip(frame.follow, prompts, strict=True)
        ]
        return pb.SegmentVideoRequest(
            frame=pb.Frame(
                image=image, timestamp_us=frame.timestamp_us, id=frame.id, follow=follow, unfollow=frame.unfollow
            )
        )

    def answer(self, message: pb.SegmentVideoResponse) -> FrameAnswer:
        """The answer to the next frame from its message."""
        answer = frame_answer(message)
        error = self._errors.pop(self._n_answered, None)
        self._n_answered += 1
        return answer if error is None else replace(answer, answer=None, dropped=False, error=error)


def frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    return FrameAnswer(
        **read(message, KINDS, ("frame_id", "timestamp_us", "dropped", "state_reset", "lost")),
        answer=segmentation(message.answer) if message.HasField("answer") else None,
        error=problem_error(message.error) if message.HasField("error") else None,
    )


def segmentation(message: pb.SegmentResponse) -> Segmentation:
    """A `Segmentation` from its message. Raises UnreadableAnswer: an invalid size, id or mask."""
    unset = {"task": "unknown", "size": (0, 0)} | {
        name: read(getattr(message, name), KINDS) for name in ("timings_ms", "cache")
    }
    fields = unset | read(message, KINDS)
    try:
        label_map = fields.get("label_map", {}).get("png")
        return Segmentation.with_pictures(fields, label_map, fields.get("overlay"), fields.get("confidence"))
    except (LookupError, TypeError, ValueError) as error:
        raise UnreadableAnswer(f"the server is not lexiseg, or another version: {error}") from None


# What messages of an answer become in its JSON; an optional field that is not set is left out of `fields`.
KINDS: Kinds = {
    "BoundingBox": row,
    "CacheUse": dict,
    "CocoRle": lambda **fields: {"format": "coco_rle", **fields},
    "Hole": lambda corners: corners,
    "LabelMap": dict,
    "Mask": lambda **formats: next(iter(formats.values()), None),
    "Polygon": lambda rings: {"format": "polygon", "rings": rings},
    "Ring": dict,
    "Segment": lambda **fields: {"label": None, "class_index": None, "mask": None, **fields},
    "Sense": dict,
    "Size": row,
    "Timings": dict,
    "Warning": lambda **fields: {"field": None, **fields},
}


def models(message: pb.ListModelsResponse) -> list[Model]:
    return [_model(entry) for entry in message.models]


def _model(message: pb.Model) -> Model:
    card = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    # REST has null for unset values and words for enums.
    for figures in card.get("quality", {}).values():
        figures.setdefault("int8_loss", None)
    if "panoptic" in card:
        card["panoptic"].setdefault("things", None)
    words = read(message, {}, ("tasks", "refinements"))
    card |= {name: list(value) for name, value in words.items()} | {
        "refine": word_of(pb.Refine.DESCRIPTOR, message.refine)
    }
    return model_of({"digest": None, "long_lists": None, "score": None, **card, "seed": message.seed})


def problem_error(message: pb.Problem) -> ProblemError:
    document = MessageToDict(message, preserving_proto_field_name=True)
    problem = read_problem(document, message.status)
    return error_of(problem, float(message.retry_after_seconds) if message.HasField("retry_after_seconds") else None)
