"""Requests from gateway to worker as messages: images, examples and the steps of a video stream.

Fields of the same name are carried over by `wire.fields`. The deadline of a request is the call's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Region, Rle, Shown, Vocabulary
from lexiseg_service.question.messages import (
    ExampleRegion,
    Exemplified,
    Followed,
    StreamQuestion,
    VideoFrame,
    WorkerRequest,
)
from lexiseg_service.wire.fields import Kinds, read, row, write

AboutImage = internal.WorkerSegmentRequest | internal.ExemplifyRequest


def encode_request(request: WorkerRequest) -> internal.WorkerSegmentRequest:
    """The message of a request, with either the image or its id."""
    return write(internal.WorkerSegmentRequest, request, **_about(request))


def encode_exemplify(request: WorkerRequest) -> internal.ExemplifyRequest:
    """The message of a request for the rows of its regions, with either the image or its id."""
    regions = [internal.ExampleRegion(region=_example(each.region), field=each.field) for each in request.regions]
    return write(internal.ExemplifyRequest, request, regions=regions, **_about(request))


def decode_request(message: AboutImage, deadline: float) -> WorkerRequest:
    """The request of a message; `deadline` in time.monotonic() of this process."""
    return _request(deadline=deadline, **read(message, KINDS))


def encode_exemplified(exemplified: Exemplified) -> internal.ExemplifyResponse:
    """The message of embedded regions."""
    return write(internal.ExemplifyResponse, exemplified, regions=map(_example, exemplified.regions))


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    """The embedded regions of a message."""
    return Exemplified(**read(message, KINDS))


def encode_step(step: StreamQuestion | VideoFrame) -> internal.WorkerSegmentVideoRequest:
    """The message of a question or a frame."""
    if isinstance(step, VideoFrame):
        return write(internal.WorkerSegmentVideoRequest, step, frame=write(pb.Frame, step))
    sent = {"question": _question(step.request), "origin": write(internal.Origin, step.request)}
    return internal.WorkerSegmentVideoRequest(config=write(internal.WorkerStreamConfig, step, **sent))


def decode_step(message: internal.WorkerSegmentVideoRequest) -> StreamQuestion | VideoFrame:
    """The question or frame of a message."""
    fields = read(message, KINDS)
    step: StreamQuestion | VideoFrame = fields.get("config") or replace(fields["frame"], size=fields.get("size"))
    return step


def _about(request: WorkerRequest) -> Mapping[str, Any]:
    """The fields of a message with the question, its sender, and the image or its id."""
    return {
        "question": _question(request),
        "origin": write(internal.Origin, request),
        "content": request.image,
        "image_id": None if request.image is not None else request.image_id or "",
    }


def _question(request: WorkerRequest) -> internal.Question:
    """The message of a question, without the image."""
    classes = [write(internal.VocabularyClass, entry, unnamed=not entry.named) for entry in request.vocabulary.classes]
    vocabulary = write(internal.Vocabulary, request.vocabulary, classes=classes)
    return write(internal.Question, request, vocabulary=vocabulary, once=not request.remember)


def _example(region: Region) -> pb.Example:
    """The message of a region, without its image."""
    return write(pb.Example, region.prompt or region)


def _request(
    question: Mapping[str, Any], origin: Mapping[str, Any], content: bytes | None = None, **fields: Any
) -> WorkerRequest:
    return WorkerRequest(image=content, **question, **origin, **fields)


def _stream_question(question: Mapping[str, Any], origin: Mapping[str, Any], **fields: Any) -> StreamQuestion:
    return StreamQuestion(_request(question, origin), **fields)


def _region(points: tuple[Point, ...], box: Any = None, mask: Rle | None = None) -> Region:
    return Region(Prompt(points, box)) if mask is None else Region(mask=mask)


def _mask(size: tuple[int, int], counts: str) -> Rle:
    height, width = size
    return Rle(size, counts, 0, (0, 0, width, height))  # the worker reads the counts


# What messages of requests become.
KINDS: Kinds = {
    "Background": Background,
    "Box": row,
    "CocoRle": _mask,
    "Example": _region,
    "ExampleRegion": ExampleRegion,
    "Follow": Followed,
    "Frame": VideoFrame,
    "Origin": lambda traceparent, **fields: {**fields, "traceparent": traceparent or None},
    "Point": Point,
    "Prompt": Prompt,
    "Question": lambda once, **fields: {**fields, "remember": not once},
    "Shown": Shown,
    "Size": row,
    "Vocabulary": lambda background=None, **fields: Vocabulary(background=background, **fields),
    "VocabularyClass": lambda unnamed, **fields: ClassEntry(named=not unnamed, **fields),
    "Words": lambda words: words,
    "WorkerStreamConfig": _stream_question,
}
