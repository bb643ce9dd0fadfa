"""Convert requests, answers and video frames to and from the protobuf messages of lexiseg.v1."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lexiseg_client.calling.mapping import IMAGE_ERRORS
from lexiseg_client.calling.retries import read_problem
from lexiseg_client.errors import LexisegError, ProblemError, UnreadableAnswer, UnusableImage, error_of, invalid_value
from lexiseg_client.images import ImageId, ImageUrl, Source, file_bytes
from lexiseg_client.models import Model
from lexiseg_client.question.options import Classes, question_json
from lexiseg_client.question.prompts import prompts_json
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import NAMES, Frame, FrameAnswer, NewQuestion, StreamItem
from lexiseg_labels.answers import FIELDS, read_fields
from lexiseg_labels.segmentation import Segmentation
from lexiseg_labels.segments import LabelMapPng, Segment, read_size, segment_of

ENUMS: Mapping[str, Mapping[str, int]] = {
    field: {name.removeprefix(prefix).lower(): number for name, number in enum.items() if number}
    for field, prefix, enum in (
        ("task", "TASK_", pb.Task),
        ("mask", "MASK_FORMAT_", pb.MaskFormat),
        ("refine", "REFINE_", pb.Refine),
        ("drop_policy", "DROP_POLICY_", pb.DropPolicy),
    )
}
TASKS: Mapping[int, str] = {number: word for word, number in ENUMS["task"].items()}
REFINEMENTS: Mapping[int, str] = {number: word for word, number in ENUMS["refine"].items()}
M = TypeVar("M", pb.SegmentRequest, pb.StreamConfig)


def segment_request(source: Source, question: Mapping[str, Any]) -> pb.SegmentRequest:
    """The request message for an image; `question` comes from `question_json`.

    Raises:
        InvalidValue: an unknown word of an enum, or a value of the wrong type, which no message can carry.
    """
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
            message.MergeFrom(type(message)(**{name: _shaped(name, value)}))
        except (KeyError, TypeError, ValueError) as error:
            expected = _one_of(ENUMS[name]) if name in ENUMS else f"a value of its type ({error})"
            raise invalid_value(name, value, expected) from None
    return message


def _one_of(words: Iterable[str]) -> str:
    """The words as the server lists them."""
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}"


def _shaped(name: str, value: Any) -> Any:
    """The value of a field of the JSON in the shape of its message; raises KeyError for an unknown word of an enum."""
    match name:
        case "classes":
            return [{"name": entry} if isinstance(entry, str) else _class(entry) for entry in value]
        case "prompts":
            return [_region(entry) for entry in value]
        case "background" if isinstance(value, bool):
            return {"enabled": value}
        case "background" if "words" in value:
            return {**value, "words": {"words": value["words"]}}
    return ENUMS[name][value] if name in ENUMS else value


def _class(entry: Mapping[str, Any]) -> dict[str, Any]:
    return dict(entry) | {
        key: [_region(example) for example in entry[key]] for key in ("examples", "negatives") if key in entry
    }


def _region(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt or an example, with its image, in the shape of its message."""
    fields = dict(entry)
    if "box" in fields:
        fields["box"] = dict(zip(("x0", "y0", "x1", "y1"), fields["box"], strict=True))
    if "mask" in fields:
        height, width = fields["mask"]["size"]
        fields["mask"] = {"size": {"height": height, "width": width}, "counts": fields["mask"]["counts"]}
    if "base64" in fields.get("image", ()):
        fields["image"] = {"content": base64.b64decode(fields["image"]["base64"])}
    return fields


def stream_config(classes: Classes | None, options: Mapping[str, Any]) -> pb.SegmentVideoRequest:
    """The first message of a stream; errors as for `question_json` and `segment_request`."""
    return _config_message(question_json(classes, options, NAMES))


def _config_message(fields: Mapping[str, Any]) -> pb.SegmentVideoRequest:
    return pb.SegmentVideoRequest(config=_set_fields(pb.StreamConfig(), fields))


class Items:
    """The items of a stream as messages, and the answers to its frames.

    A frame goes without an image that cannot be sent, so that its answer keeps its place; the answer has the error
    that it had here.
    """

    def __init__(self) -> None:
        self._n_sent = self._n_answered = 0  # frames
        self._errors: dict[int, LexisegError | OSError] = {}  # by frame

    def message(self, item: StreamItem) -> pb.SegmentVideoRequest:
        """The stream message of a frame, or of a `NewQuestion`.

        Raises:
            TypeError, ValueError: an invalid option, prompt or track id.
        """
        if isinstance(item, NewQuestion):
            return _config_message(item.fields)
        frame = item if isinstance(item, Frame) else Frame(item)
        try:
            image = _image_of(frame)
        except IMAGE_ERRORS as error:
            self._errors[self._n_sent] = error
            image = b""
        self._n_sent += 1
        prompts = prompts_json(list(frame.follow.values())) if frame.follow else []
        follow = [
            pb.Follow(track_id=track_id, prompt=pb.Prompt(**_region(prompt)))
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


def _image_of(frame: Frame) -> bytes:
    """The image file of a frame.

    Raises:
        UnusableImage: not an image, or a URL or id.
        OSError: the image file cannot be read.
    """
    if isinstance(frame.image, (ImageId, ImageUrl)) or (isinstance(frame.image, str) and "://" in frame.image):
        raise UnusableImage("expected a frame's own bytes or pixels; a stream takes no URLs and no image ids")
    return file_bytes(frame.image)


def _values(message: Message, *names: str) -> dict[str, Any]:
    """Fields of a message by name, all of them without names: None where an optional one is not set."""
    described = message.DESCRIPTOR.fields_by_name
    unset = {name for name in described if described[name].containing_oneof and not message.HasField(name)}
    return {name: None if name in unset else _plain(getattr(message, name)) for name in names or described}


def _plain(value: Any) -> Any:
    """A message as a dict, a repeated field as a list."""
    if isinstance(value, Message):
        return _values(value)
    many = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return [_plain(each) for each in value] if many else value


def frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    """The answer to a frame from its message."""
    return FrameAnswer(
        **_values(message, "frame_id", "timestamp_us", "dropped", "state_reset"),
        answer=segmentation(message.answer) if message.HasField("answer") else None,
        error=problem_error(message.error) if message.HasField("error") else None,
        lost=tuple(message.lost),
    )


def segmentation(message: pb.SegmentResponse) -> Segmentation:
    """A `Segmentation` from its message. Raises UnreadableAnswer: an invalid size, id or mask."""
    try:
        return _segmentation(message, read_size((message.size.height, message.size.width)))
    except (TypeError, ValueError) as error:
        raise UnreadableAnswer(f"the server is not lexiseg, or another version: {error}") from None


def _segmentation(message: pb.SegmentResponse, size: tuple[int, int]) -> Segmentation:
    label_map = LabelMapPng(size, message.label_map.png) if message.HasField("label_map") else None
    return Segmentation(
        **read_fields(_values(message, *FIELDS) | {"task": TASKS.get(message.task, "unknown"), "size": size}),
        id=message.id,
        overlay=message.overlay if message.HasField("overlay") else None,
        segments=tuple(_segment(entry, size, label_map) for entry in message.segments),
        map_file=label_map,
        confidence_png=message.confidence if message.HasField("confidence") else None,
    )


def _segment(segment: pb.Segment, size: tuple[int, int], label_map: LabelMapPng | None) -> Segment:
    plain = _values(segment, *(name for name in pb.Segment.DESCRIPTOR.fields_by_name if name not in ("bbox", "mask")))
    box = segment.bbox
    entry = {**plain, "bbox": (box.x, box.y, box.width, box.height), "mask": _mask_json(segment.mask)}
    return segment_of(entry, size, label_map)


def _mask_json(mask: pb.Mask) -> dict[str, Any] | None:
    """A mask in the form of its JSON."""
    if mask.HasField("coco_rle"):
        size = (mask.coco_rle.size.height, mask.coco_rle.size.width)
        return {"format": "coco_rle", "size": size, "counts": mask.coco_rle.counts}
    if mask.HasField("polygon"):
        rings = [
            {"exterior": ring.exterior, "holes": [hole.corners for hole in ring.holes]} for ring in mask.polygon.rings
        ]
        return {"format": "polygon", "rings": rings}
    return None


def models(message: pb.ListModelsResponse) -> list[Model]:
    """The models from a list message."""
    return [_model(entry) for entry in message.models]


def _model(message: pb.Model) -> Model:
    card = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    tasks = tuple(TASKS.get(task, "unknown") for task in message.tasks)
    # REST has null for unset values and words for enums.
    for figures in card.get("quality", {}).values():
        figures.setdefault("int8_loss", None)
    if "panoptic" in card:
        card["panoptic"].setdefault("things", None)
    for unset in ("long_lists", "score"):
        card.setdefault(unset, None)
    card |= {"tasks": list(tasks), "refine": REFINEMENTS.get(message.refine, "none"), "seed": message.seed}
    card |= {"refinements": [REFINEMENTS.get(number, "unknown") for number in message.refinements]}
    return Model(
        **_values(message, "name", "version", "summary", "licence", "digest", "loaded"), tasks=tasks, card=card
    )


def problem_error(message: pb.Problem) -> ProblemError:
    """The exception for a problem message."""
    document = MessageToDict(message, preserving_proto_field_name=True)
    problem = read_problem(document, message.status)
    return error_of(problem, float(message.retry_after_seconds) if message.HasField("retry_after_seconds") else None)
