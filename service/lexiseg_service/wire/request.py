"""Requests from gateway to worker as messages: images, examples and the steps of a video stream.

The deadline of a request is the call's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

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


def word_of(words: Mapping[Word, int], number: int) -> Word | None:
    """The word of an enum's number; None for "unspecified" and for unknown numbers."""
    return next((word for word, known in words.items() if known == number), None)


def encode_request(request: WorkerRequest) -> internal.WorkerSegmentRequest:
    """The message of a request, with either the image or its id."""
    message = internal.WorkerSegmentRequest(question=encode_question(request), origin=encode_origin(request))
    encode_image(message, request)
    return message


def decode_request(message: internal.WorkerSegmentRequest, deadline: float) -> WorkerRequest:
    """The request of a message; `deadline` in time.monotonic() of this process."""
    image = message.content if message.HasField("content") else None
    image_id = message.image_id if message.HasField("image_id") else None
    size = decode_size(message)
    return decode_question(message.question, message.origin, image, image_id, deadline, size=size)


def encode_image(message: internal.WorkerSegmentRequest | internal.ExemplifyRequest, request: WorkerRequest) -> None:
    """Set the image or its id, and its size if known."""
    if request.image is not None:
        message.content = request.image
    else:
        message.image_id = request.image_id or ""
    if request.size is not None:
        message.size.CopyFrom(encode_size(request.size))


def encode_size(size: tuple[int, int]) -> pb.Size:
    """The message of (height, width)."""
    height, width = size
    return pb.Size(height=height, width=width)


def decode_size(
    message: internal.WorkerSegmentRequest | internal.ExemplifyRequest | internal.WorkerSegmentVideoRequest,
) -> tuple[int, int] | None:
    """Height and width of a message's image; None if its header has not been read."""
    return (message.size.height, message.size.width) if message.HasField("size") else None


def encode_question(request: WorkerRequest) -> internal.Question:
    """The message of a question, without the image."""
    return internal.Question(
        vocabulary=_vocabulary(request.vocabulary),
        model=request.model,
        task=TASKS[request.task],
        prompts=[encode_prompt(prompt) for prompt in request.prompts],
        mask=MASKS[request.mask],
        overlay=request.overlay,
        confidence=request.confidence,
        refine=REFINEMENTS[request.refine] if request.refine else pb.REFINE_UNSPECIFIED,
        threshold=request.threshold,
        max_side=request.max_side,
        once=not request.remember,
        simplify=request.simplify,
    )


def encode_origin(request: WorkerRequest) -> internal.Origin:
    """The message about the sender."""
    return internal.Origin(
        owner=request.owner, request_id=request.request_id, traceparent=request.traceparent or "", source=request.source
    )


def decode_question(
    message: internal.Question,
    origin: internal.Origin,
    image: bytes | None = None,
    image_id: str | None = None,
    deadline: float = float("inf"),
    regions: tuple[ExampleRegion, ...] = (),
    *,
    keep_picture: bool = False,
    size: tuple[int, int] | None = None,
) -> WorkerRequest:
    """The request of a question, a sender, and an image or regions of it."""
    return WorkerRequest(
        image=image,
        vocabulary=_read_vocabulary(message.vocabulary),
        model=message.model,
        task=word_of(TASKS, message.task) or "semantic",
        prompts=tuple(read_prompt(prompt) for prompt in message.prompts),
        regions=regions,
        keep_picture=keep_picture,
        mask=word_of(MASKS, message.mask) or "rle",
        overlay=message.overlay,
        confidence=message.confidence,
        refine=word_of(REFINEMENTS, message.refine),
        threshold=message.threshold if message.HasField("threshold") else None,
        max_side=message.max_side if message.HasField("max_side") else None,
        deadline=deadline,
        image_id=image_id,
        size=size,
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
            shown=_shown(entry.shown),
            unnamed=not entry.named,
        )
        for entry in vocabulary.classes
    ]
    return internal.Vocabulary(classes=classes, background=_background(vocabulary.background), name=vocabulary.name)


def _shown(shown: Shown | None) -> internal.Shown | None:
    if shown is None:
        return None
    return internal.Shown(positive=shown.positive, negative=shown.negative, digest=shown.digest)


def _read_shown(message: internal.Shown) -> Shown:
    return Shown(tuple(message.positive), tuple(message.negative), message.digest)


def _background(rule: Background | None) -> pb.Background | None:
    if rule is None:
        return None
    words = None if rule.words is None else pb.Words(words=rule.words)
    return pb.Background(threshold=rule.threshold, words=words)


def _read_vocabulary(message: internal.Vocabulary) -> Vocabulary:
    classes = tuple(
        ClassEntry(
            entry.name,
            tuple(entry.synonyms),
            entry.threshold if entry.HasField("threshold") else None,
            entry.thing if entry.HasField("thing") else None,
            _read_shown(entry.shown) if entry.HasField("shown") else None,
            not entry.unnamed,
        )
        for entry in message.classes
    )
    rule = _read_background(message.background) if message.HasField("background") else None
    return Vocabulary(classes, rule, message.name if message.HasField("name") else None)


def encode_prompt(prompt: Prompt) -> pb.Prompt:
    """The message of a prompt."""
    points = [pb.Point(x=point.x, y=point.y, positive=point.positive) for point in prompt.points]
    message = pb.Prompt(points=points, segment=prompt.segment)
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        message.box.CopyFrom(pb.Box(x0=x0, y0=y0, x1=x1, y1=y1))
    if prompt.mask is not None:
        message.mask.CopyFrom(_encode_mask(prompt.mask))
    return message


def _encode_mask(mask: Rle) -> pb.CocoRle:
    return pb.CocoRle(size=pb.Size(height=mask.size[0], width=mask.size[1]), counts=mask.counts)


def _read_mask(message: pb.CocoRle) -> Rle:
    height, width = message.size.height, message.size.width
    return Rle((height, width), message.counts, 0, (0, 0, width, height))


def read_prompt(message: pb.Prompt) -> Prompt:
    """The prompt of a message."""
    points = tuple(Point(point.x, point.y, point.positive) for point in message.points)
    box = message.box
    return Prompt(
        points,
        (box.x0, box.y0, box.x1, box.y1) if message.HasField("box") else None,
        mask=_read_mask(message.mask) if message.HasField("mask") else None,
        segment=message.segment if message.HasField("segment") else None,
    )


def _read_background(message: pb.Background) -> Background:
    return Background(
        tuple(message.words.words) if message.HasField("words") else None,
        message.threshold if message.HasField("threshold") else None,
    )


def encode_exemplify(request: WorkerRequest) -> internal.ExemplifyRequest:
    """The message of a request, with either the image or its id."""
    message = internal.ExemplifyRequest(
        question=encode_question(request),
        origin=encode_origin(request),
        regions=[
            internal.ExampleRegion(region=encode_region(shown.region), field=shown.field) for shown in request.regions
        ],
        keep_picture=request.keep_picture,
    )
    encode_image(message, request)
    return message


def decode_exemplify(message: internal.ExemplifyRequest, deadline: float) -> WorkerRequest:
    """The request of a message; `deadline` in time.monotonic() of this process."""
    image = message.content if message.HasField("content") else None
    image_id = message.image_id if message.HasField("image_id") else None
    regions = tuple(ExampleRegion(read_region(shown.region), shown.field) for shown in message.regions)
    return decode_question(
        message.question,
        message.origin,
        image,
        image_id,
        deadline,
        regions,
        keep_picture=message.keep_picture,
        size=decode_size(message),
    )


def encode_exemplified(made: Exemplified) -> internal.ExemplifyResponse:
    """The message of embedded regions."""
    return internal.ExemplifyResponse(
        image_id=made.image_id,
        digest=made.digest,
        rows=made.rows,
        picture=b"" if made.picture is None else made.picture.image,
        regions=[] if made.picture is None else [encode_region(region) for region in made.picture.regions],
    )


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    """The embedded regions of a message."""
    picture = None
    if message.picture:
        picture = KeptPicture(message.picture, tuple(read_region(region) for region in message.regions))
    return Exemplified(message.image_id, message.digest, tuple(message.rows), picture)


def encode_region(region: Region) -> pb.Example:
    """The message of a region, without its image."""
    if region.mask is not None:
        return pb.Example(mask=_encode_mask(region.mask))
    prompt = encode_prompt(region.prompt or Prompt())
    return pb.Example(points=prompt.points, box=prompt.box if prompt.HasField("box") else None)


def read_region(message: pb.Example) -> Region:
    """The region of a message."""
    if message.HasField("mask"):
        return Region(mask=_read_mask(message.mask))
    return Region(read_prompt(pb.Prompt(points=message.points, box=message.box if message.HasField("box") else None)))


def encode_step(step: StreamQuestion | VideoFrame) -> internal.WorkerSegmentVideoRequest:
    """The message of a question or a frame."""
    if isinstance(step, VideoFrame):
        frame = pb.Frame(
            image=step.image,
            timestamp_us=step.timestamp_us,
            id=step.id,
            follow=[pb.Follow(track_id=each.track_id, prompt=encode_prompt(each.prompt)) for each in step.follow],
            unfollow=step.unfollow,
        )
        size = None if step.size is None else encode_size(step.size)
        return internal.WorkerSegmentVideoRequest(frame=frame, size=size)
    config = internal.WorkerStreamConfig(
        question=encode_question(step.request),
        smoothing=step.smoothing,
        tracking=step.tracking,
        drop_policy=DROP_POLICIES[step.drop_policy],
        frames_in_flight=step.frames_in_flight,
        origin=encode_origin(step.request),
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
            follow=tuple(Followed(each.track_id, read_prompt(each.prompt)) for each in frame.follow),
            unfollow=tuple(frame.unfollow),
            size=decode_size(message),
        )
    config = message.config
    return StreamQuestion(
        request=decode_question(config.question, config.origin),
        smoothing=config.smoothing,
        tracking=config.tracking,
        drop_policy=word_of(DROP_POLICIES, config.drop_policy) or "none",
        frames_in_flight=config.frames_in_flight,
        resumed=config.resumed,
    )
