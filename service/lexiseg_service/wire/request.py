"""Requests from gateway to worker as messages: images, examples and the steps of a video stream.

The deadline of a request is the call's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Refinement, Region, Rle, Shown, Task, Vocabulary
from lexiseg_service.question.messages import (
    DropPolicy,
    ExampleRegion,
    Exemplified,
    Followed,
    KeptPicture,
    MaskFormat,
    StreamQuestion,
    VideoFrame,
    WorkerRequest,
)

TASKS: Final[Mapping[Task, pb.Task.ValueType]] = {
    "semantic": pb.TASK_SEMANTIC,
    "instance": pb.TASK_INSTANCE,
    "panoptic": pb.TASK_PANOPTIC,
    "prompt": pb.TASK_PROMPT,
    "everything": pb.TASK_EVERYTHING,
}
MASKS: Final[Mapping[MaskFormat, pb.MaskFormat.ValueType]] = {
    "rle": pb.MASK_FORMAT_RLE,
    "polygon": pb.MASK_FORMAT_POLYGON,
    "png": pb.MASK_FORMAT_PNG,
    "none": pb.MASK_FORMAT_NONE,
}
REFINEMENTS: Final[Mapping[Refinement, pb.Refine.ValueType]] = {
    "none": pb.REFINE_NONE,
    "pamr": pb.REFINE_PAMR,
    "lposs": pb.REFINE_LPOSS,
    "regions": pb.REFINE_REGIONS,
}
DROP_POLICIES: Final[Mapping[DropPolicy, pb.DropPolicy.ValueType]] = {
    "none": pb.DROP_POLICY_NONE,
    "latest": pb.DROP_POLICY_LATEST,
}
Word = TypeVar("Word", bound=str)
AboutImage = internal.WorkerSegmentRequest | internal.ExemplifyRequest
About = TypeVar("About", internal.WorkerSegmentRequest, internal.ExemplifyRequest)


def word_of(words: Mapping[Word, int], number: int) -> Word | None:
    """The word of an enum's number; None for "unspecified" and for unknown numbers."""
    return next((word for word, known in words.items() if known == number), None)


def optional(message: Message, field: str) -> Any:
    """The value of a field; None if it is not set."""
    return getattr(message, field) if message.HasField(field) else None


def encode_request(request: WorkerRequest) -> internal.WorkerSegmentRequest:
    """The message of a request, with either the image or its id."""
    return _filled(internal.WorkerSegmentRequest(), request)


def encode_exemplify(request: WorkerRequest) -> internal.ExemplifyRequest:
    """The message of a request for the rows of its regions, with either the image or its id."""
    regions = [
        internal.ExampleRegion(region=_region(example.region), field=example.field) for example in request.regions
    ]
    return _filled(internal.ExemplifyRequest(regions=regions, keep_picture=request.keep_picture), request)


def decode_request(message: AboutImage, deadline: float) -> WorkerRequest:
    """The request of a message; `deadline` in time.monotonic() of this process."""
    return replace(
        _read_question(message.question, message.origin),
        image=optional(message, "content"),
        image_id=optional(message, "image_id"),
        size=_read_size(message),
        deadline=deadline,
    )


def decode_exemplify(message: internal.ExemplifyRequest, deadline: float) -> WorkerRequest:
    """Decode a request with example regions, as `decode_request`."""
    regions = tuple(ExampleRegion(_read_region(example.region), example.field) for example in message.regions)
    return replace(decode_request(message, deadline), regions=regions, keep_picture=message.keep_picture)


def encode_exemplified(exemplified: Exemplified) -> internal.ExemplifyResponse:
    """The message of embedded regions."""
    return internal.ExemplifyResponse(
        image_id=exemplified.image_id,
        digest=exemplified.digest,
        rows=exemplified.rows,
        picture=b"" if exemplified.picture is None else exemplified.picture.image,
        regions=[] if exemplified.picture is None else map(_region, exemplified.picture.regions),
    )


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    """The embedded regions of a message."""
    picture = KeptPicture(message.picture, tuple(map(_read_region, message.regions))) if message.picture else None
    return Exemplified(message.image_id, message.digest, tuple(message.rows), picture)


def encode_step(step: StreamQuestion | VideoFrame) -> internal.WorkerSegmentVideoRequest:
    """The message of a question or a frame."""
    if isinstance(step, VideoFrame):
        frame = pb.Frame(
            image=step.image,
            timestamp_us=step.timestamp_us,
            id=step.id,
            follow=[pb.Follow(track_id=each.track_id, prompt=_prompt(each.prompt)) for each in step.follow],
            unfollow=step.unfollow,
        )
        size = None if step.size is None else encode_size(step.size)
        return internal.WorkerSegmentVideoRequest(frame=frame, size=size)
    config = internal.WorkerStreamConfig(
        question=_question(step.request),
        smoothing=step.smoothing,
        tracking=step.tracking,
        drop_policy=DROP_POLICIES[step.drop_policy],
        frames_in_flight=step.frames_in_flight,
        origin=_origin(step.request),
        resumed=step.resumed,
    )
    return internal.WorkerSegmentVideoRequest(config=config)


def decode_step(message: internal.WorkerSegmentVideoRequest) -> StreamQuestion | VideoFrame:
    """The question or frame of a message."""
    if message.HasField("frame"):
        frame = message.frame
        return VideoFrame(
            image=frame.image,
            id=frame.id,
            timestamp_us=frame.timestamp_us,
            follow=tuple(Followed(each.track_id, _read_prompt(each.prompt)) for each in frame.follow),
            unfollow=tuple(frame.unfollow),
            size=_read_size(message),
        )
    config = message.config
    return StreamQuestion(
        request=_read_question(config.question, config.origin),
        smoothing=config.smoothing,
        tracking=config.tracking,
        drop_policy=word_of(DROP_POLICIES, config.drop_policy) or "none",
        frames_in_flight=config.frames_in_flight,
        resumed=config.resumed,
    )


def encode_size(size: tuple[int, int]) -> pb.Size:
    """The message of (height, width)."""
    height, width = size
    return pb.Size(height=height, width=width)


def _read_size(message: AboutImage | internal.WorkerSegmentVideoRequest) -> tuple[int, int] | None:
    """Height and width of a message's image; None if its header has not been read."""
    return (message.size.height, message.size.width) if message.HasField("size") else None


def _filled(message: About, request: WorkerRequest) -> About:
    """The message with the question, its sender, and the image or its id."""
    message.question.CopyFrom(_question(request))
    message.origin.CopyFrom(_origin(request))
    if request.image is not None:
        message.content = request.image
    else:
        message.image_id = request.image_id or ""
    if request.size is not None:
        message.size.CopyFrom(encode_size(request.size))
    return message


def _question(request: WorkerRequest) -> internal.Question:
    """The message of a question, without the image."""
    return internal.Question(
        vocabulary=_vocabulary(request.vocabulary),
        model=request.model,
        task=TASKS[request.task],
        prompts=map(_prompt, request.prompts),
        mask=MASKS[request.mask],
        overlay=request.overlay,
        confidence=request.confidence,
        refine=REFINEMENTS[request.refine] if request.refine else pb.REFINE_UNSPECIFIED,
        threshold=request.threshold,
        max_side=request.max_side,
        once=not request.remember,
        simplify=request.simplify,
    )


def _origin(request: WorkerRequest) -> internal.Origin:
    return internal.Origin(
        owner=request.owner, request_id=request.request_id, traceparent=request.traceparent or "", source=request.source
    )


def _read_question(message: internal.Question, origin: internal.Origin) -> WorkerRequest:
    """The request of a question and a sender, without an image."""
    return WorkerRequest(
        image=None,
        vocabulary=_read_vocabulary(message.vocabulary),
        model=message.model,
        task=word_of(TASKS, message.task) or "semantic",
        prompts=tuple(map(_read_prompt, message.prompts)),
        mask=word_of(MASKS, message.mask) or "rle",
        overlay=message.overlay,
        confidence=message.confidence,
        refine=word_of(REFINEMENTS, message.refine),
        threshold=optional(message, "threshold"),
        max_side=optional(message, "max_side"),
        remember=not message.once,
        simplify=message.simplify,
        owner=origin.owner,
        source=origin.source,
        request_id=origin.request_id,
        traceparent=origin.traceparent or None,
    )


def _vocabulary(vocabulary: Vocabulary) -> internal.Vocabulary:
    classes = [
        internal.VocabularyClass(
            name=entry.name,
            synonyms=entry.synonyms,
            threshold=entry.threshold,
            thing=entry.thing,
            shown=None if entry.shown is None else internal.Shown(**vars(entry.shown)),
            unnamed=not entry.named,
        )
        for entry in vocabulary.classes
    ]
    rule, background = vocabulary.background, None
    if rule is not None:
        words = None if rule.words is None else pb.Words(words=rule.words)
        background = pb.Background(threshold=rule.threshold, words=words)
    return internal.Vocabulary(classes=classes, background=background, name=vocabulary.name)


def _read_vocabulary(message: internal.Vocabulary) -> Vocabulary:
    rule = None
    if message.HasField("background"):
        words = tuple(message.background.words.words) if message.background.HasField("words") else None
        rule = Background(words, optional(message.background, "threshold"))
    return Vocabulary(tuple(map(_read_class, message.classes)), rule, optional(message, "name"))


def _read_class(entry: internal.VocabularyClass) -> ClassEntry:
    shown = None
    if entry.HasField("shown"):
        shown = Shown(tuple(entry.shown.positive), tuple(entry.shown.negative), entry.shown.digest)
    threshold, thing = optional(entry, "threshold"), optional(entry, "thing")
    return ClassEntry(entry.name, tuple(entry.synonyms), threshold, thing, shown, not entry.unnamed)


def _prompt(prompt: Prompt) -> pb.Prompt:
    points = [pb.Point(x=point.x, y=point.y, positive=point.positive) for point in prompt.points]
    mask = None if prompt.mask is None else _mask(prompt.mask)
    box = None if prompt.box is None else pb.Box(**dict(zip(("x0", "y0", "x1", "y1"), prompt.box, strict=True)))
    return pb.Prompt(points=points, box=box, mask=mask, segment=prompt.segment)


def _read_prompt(message: pb.Prompt | pb.Example) -> Prompt:
    """The points and the box of a message; of a prompt also the mask or segment that they correct."""
    points = tuple(Point(point.x, point.y, point.positive) for point in message.points)
    box = (message.box.x0, message.box.y0, message.box.x1, message.box.y1) if message.HasField("box") else None
    if isinstance(message, pb.Example):
        return Prompt(points, box)
    mask = _read_mask(message.mask) if message.HasField("mask") else None
    return Prompt(points, box, mask=mask, segment=optional(message, "segment"))


def _mask(mask: Rle) -> pb.CocoRle:
    return pb.CocoRle(size=encode_size(mask.size), counts=mask.counts)


def _read_mask(message: pb.CocoRle) -> Rle:
    height, width = message.size.height, message.size.width
    return Rle((height, width), message.counts, 0, (0, 0, width, height))


def _region(region: Region) -> pb.Example:
    """The message of a region, without its image."""
    if region.mask is not None:
        return pb.Example(mask=_mask(region.mask))
    prompt = _prompt(region.prompt or Prompt())
    return pb.Example(points=prompt.points, box=optional(prompt, "box"))


def _read_region(message: pb.Example) -> Region:
    return Region(mask=_read_mask(message.mask)) if message.HasField("mask") else Region(_read_prompt(message))
