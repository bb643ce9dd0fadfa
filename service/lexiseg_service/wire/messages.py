"""Requests and answers as messages: images, examples, and the steps and frames of a video stream.

Between gateway and worker; the messages of answers go on to clients. Fields of the same name are carried over by
`lexiseg_client.rpc.fields`. The deadline of a request is the call's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from lexiseg_client.rpc.fields import Kinds, arguments, read, row, write
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_labels import answers
from lexiseg_model.pictures.colours import SRGB
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.types import (
    Background,
    ClassEntry,
    Learned,
    Point,
    Prompt,
    Region,
    Ring,
    Rle,
    Segment,
    Shown,
    Vocabulary,
)
from lexiseg_service.errors import NotReady
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import ExampleRegion, MaskFormat, RenderedMap, WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import Followed, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.errors import error_of, problem_of

M = TypeVar("M", internal.ExemplifyRequest, internal.TeachRequest)
DECIMALS = 4  # of score and quality, as in the JSON of the REST routes
MILLISECOND_DECIMALS = 2
OLDER = "not known to this worker, whose release is older"
AboutImage = internal.WorkerSegmentRequest | internal.ExemplifyRequest | internal.TeachRequest


def encode_request(request: WorkerRequest) -> internal.WorkerSegmentRequest:
    painted = [_segment(segment, "rle") for segment in request.painted]
    return write(internal.WorkerSegmentRequest, request, painted=painted, **_about(request))


def decode_request(message: AboutImage, deadline: float) -> WorkerRequest:
    """The request of a message; `deadline` in time.monotonic() of this process."""
    if message.WhichOneof("image") is None:
        raise NotReady(f"image: {OLDER}")
    return _request(deadline=deadline, **read(message, KINDS))


def encode_step(step: StreamQuestion | VideoFrame) -> internal.WorkerSegmentVideoRequest:
    if isinstance(step, VideoFrame):
        return write(internal.WorkerSegmentVideoRequest, step, frame=write(pb.Frame, step))
    messages = {"question": _question(step.request), "origin": write(internal.Origin, step.request)}
    return internal.WorkerSegmentVideoRequest(config=write(internal.WorkerStreamConfig, step, **messages))


def decode_step(message: internal.WorkerSegmentVideoRequest) -> StreamQuestion | VideoFrame:
    if message.WhichOneof("message") is None:
        raise NotReady(f"message: {OLDER}")
    fields = read(message, KINDS)
    step: StreamQuestion | VideoFrame = fields.get("config") or replace(fields["frame"], header=fields.get("header"))
    return step


def encode_answer(answer: WorkerAnswer, request_id: str = "") -> pb.SegmentResponse:
    segments = [_segment(segment, answer.mask) for segment in answer.segments]
    timings = [round(value, MILLISECOND_DECIMALS) for value in vars(answer.timings_ms).values()]
    return write(pb.SegmentResponse, answer, id=request_id, segments=segments, timings_ms=timings)


def decode_answer(message: pb.SegmentResponse) -> WorkerAnswer:
    """The answer of a message; without run lengths in other mask formats than rle."""
    fields = read(message, KINDS)
    del fields["id"]
    segments = tuple(_read_segment(fields["size"], **segment) for segment in fields.pop("segments"))
    return WorkerAnswer(segments=segments, mask=_mask_of(message), **fields)


def encode_frame_answer(answer: FrameAnswer, request_id: str = "") -> pb.SegmentVideoResponse:
    return write(
        pb.SegmentVideoResponse,
        answer,
        answer=None if answer.answer is None else encode_answer(answer.answer, request_id),
        error=None if answer.error is None else problem_of(answer.error, request_id),
    )


def decode_frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    return FrameAnswer(
        **read(message, KINDS, ("frame_id", "timestamp_us", "dropped", "state_reset", "lost")),
        answer=decode_answer(message.answer) if message.HasField("answer") else None,
        error=error_of(message.error) if message.HasField("error") else None,
    )


def encode_regions(kind: type[M], request: WorkerRequest) -> M:
    """A request about regions of an image; `kind` is ExemplifyRequest or TeachRequest."""
    regions = [internal.ExampleRegion(region=_example(each.region), field=each.field) for each in request.regions]
    return write(kind, request, **_about(request), regions=regions)


def encode_exemplified(exemplified: Exemplified) -> internal.ExemplifyResponse:
    return write(internal.ExemplifyResponse, exemplified, regions=map(_example, exemplified.regions))


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    return Exemplified(**read(message, KINDS))


def encode_taught(taught: Taught) -> internal.TeachResponse:
    return write(internal.TeachResponse, taught)


def decode_taught(message: internal.TeachResponse) -> Taught:
    return Taught(**read(message, KINDS))


def _about(request: WorkerRequest) -> Mapping[str, Any]:
    """The fields of a message with the question, its sender, and the image or its id."""
    return {
        "question": _question(request),
        "origin": write(internal.Origin, request),
        "content": request.image,
        "image_id": None if request.image is not None else request.image_id or "",
        "content_id": None if request.image is None else request.image_id,
    }


def _question(request: WorkerRequest) -> internal.Question:
    classes = [write(internal.VocabularyClass, entry, unnamed=not entry.named) for entry in request.vocabulary.classes]
    vocabulary = write(internal.Vocabulary, request.vocabulary, classes=classes)
    return write(internal.Question, request, vocabulary=vocabulary, once=not request.remember)


def _example(region: Region) -> pb.Example:
    return write(pb.Example, region.prompt or region)


def _read_question(once: bool, **fields: Any) -> dict[str, Any]:
    _check_known(**{name: fields.get(name) for name in ("task", "mask", "refine")})
    return {**fields, "remember": not once}


def _read_config(question: Mapping[str, Any], origin: Mapping[str, Any], **fields: Any) -> StreamQuestion:
    _check_known(drop_policy=fields.get("drop_policy"))
    return StreamQuestion(_request(question, origin), **fields)


def _check_known(**words: str | None) -> None:
    """Refuse an enum value of a newer release, so that the gateway asks another worker."""
    for name, word in words.items():
        if word is not None and word.isdecimal():
            raise NotReady(f"{name} {word}: {OLDER}")


def _request(
    question: Mapping[str, Any],
    origin: Mapping[str, Any],
    content: bytes | None = None,
    content_id: str = "",
    image_id: str | None = None,
    size: object = None,  # also in the header
    painted: Sequence[Mapping[str, Any]] = (),
    **fields: Any,
) -> WorkerRequest:
    segments = tuple(_read_segment(each["mask"]["coco_rle"].size, **each) for each in painted)
    image_id = content_id or image_id
    return WorkerRequest(image=content, image_id=image_id, painted=segments, **question, **origin, **fields)


def _region(points: tuple[Point, ...], box: Any = None, mask: Rle | None = None) -> Region:
    return Region(Prompt(points, box)) if mask is None else Region(mask=mask)


def _mask(size: tuple[int, int], counts: str) -> Rle:
    height, width = size
    return Rle(size, counts, 0, (0, 0, width, height))  # the worker reads the counts


def _mask_of(message: pb.SegmentResponse) -> MaskFormat:
    """The format of an answer's masks; any for an answer without segments."""
    if message.HasField("label_map"):
        return "png"
    if not message.segments:
        return "rle"
    first = message.segments[0].mask
    return "rle" if first.HasField("coco_rle") else "polygon" if first.HasField("polygon") else "none"


def _segment(segment: Segment, form: MaskFormat) -> dict[str, Any]:
    """The arguments of a segment's message."""
    mask = None
    if form == "rle":
        mask = {"coco_rle": arguments(pb.CocoRle.DESCRIPTOR, segment.mask)}
    elif form == "polygon":
        mask = {"polygon": arguments(pb.Polygon.DESCRIPTOR, segment.rings)}
    return arguments(
        pb.Segment.DESCRIPTOR,
        segment,
        score=round(segment.score, DECIMALS),
        quality=None if segment.quality is None else round(segment.quality, DECIMALS),
        mask=mask,
    )


def _read_segment(
    size: tuple[int, int],
    area: int,
    bbox: tuple[int, int, int, int],
    label: str | None = None,
    class_index: int | None = None,
    mask: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Segment:
    shape = mask or {}
    counts = shape["coco_rle"].counts if "coco_rle" in shape else ""
    rle = Rle(size, counts, area, bbox)
    return Segment(label=label, class_index=class_index, mask=rle, rings=shape.get("polygon", ()), **fields)


def _answer_kinds() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The types of messages in an answer with what makes their dataclass; an optional field that is not set is None."""
    for name, kind in answers.KINDS.items():
        message = pb.SegmentResponse.DESCRIPTOR.fields_by_name[name].message_type
        assert message is not None
        optional = dict.fromkeys(field.name for field in message.fields if field.containing_oneof)
        yield message.name, partial(kind, **optional)  # type: ignore[misc]  # Any


# The object that each type of message becomes when it is read.
KINDS: Kinds = {
    **dict(_answer_kinds()),
    "Background": Background,
    "BoundingBox": row,
    "Box": row,
    "CocoRle": _mask,
    "Example": _region,
    "ExampleRegion": ExampleRegion,
    "Follow": Followed,
    "Frame": VideoFrame,
    "Hole": lambda corners: list(corners),
    "ImageHeader": lambda has_colours, **fields: PictureHeader(colours=None if has_colours else SRGB, **fields),
    "LabelMap": RenderedMap,
    "Learned": Learned,
    "Mask": dict,
    "Origin": lambda traceparent, **fields: {**fields, "traceparent": traceparent or None},
    "Point": Point,
    "Polygon": lambda rings: rings,
    "Prompt": Prompt,
    "Question": _read_question,
    "Ring": lambda exterior, holes: Ring(list(exterior), list(holes)),
    "Segment": dict,
    "Shown": Shown,
    "Size": row,
    "Vocabulary": lambda background=None, **fields: Vocabulary(background=background, **fields),
    "VocabularyClass": lambda unnamed, **fields: ClassEntry(named=not unnamed, **fields),
    "Words": lambda words: words,
    "WorkerStreamConfig": _read_config,
}
