"""A checked and resolved request on the wire from gateway to worker. Its deadline is the call's own."""

from __future__ import annotations

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Shown, Vocabulary
from lexiseg_service.question.examples import ExampleRegion
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.wire.enums import MASKS, REFINEMENTS, TASKS, word_of


def encode_request(request: WorkerRequest) -> internal.WorkerSegmentRequest:
    """The message; exactly one of image and image id travels."""
    message = internal.WorkerSegmentRequest(question=encode_question(request), origin=encode_origin(request))
    encode_image(message, request)
    return message


def decode_request(message: internal.WorkerSegmentRequest, deadline: float) -> WorkerRequest:
    """The request; `deadline` as time.monotonic() of this process says."""
    image = message.content if message.HasField("content") else None
    image_id = message.image_id if message.HasField("image_id") else None
    size = decode_size(message)
    return decode_question(message.question, message.origin, image, image_id, deadline, size=size)


def encode_image(message: internal.WorkerSegmentRequest | internal.ExemplifyRequest, request: WorkerRequest) -> None:
    """Into a message, the image of a request or its id, and how large it is where that is known."""
    if request.image is not None:
        message.content = request.image
    else:
        message.image_id = request.image_id or ""
    if request.size is not None:
        message.size.CopyFrom(encode_size(request.size))


def encode_size(size: tuple[int, int]) -> pb.Size:
    """Of height and width."""
    height, width = size
    return pb.Size(height=height, width=width)


def decode_size(
    message: internal.WorkerSegmentRequest | internal.ExemplifyRequest | internal.WorkerSegmentVideoRequest,
) -> tuple[int, int] | None:
    """Height and width of a message's image; None where nobody has read its header."""
    return (message.size.height, message.size.width) if message.HasField("size") else None


def encode_question(request: WorkerRequest) -> internal.Question:
    """What is asked, without the image."""
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
    """Who asks."""
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
    """The request of a question, of who asks it and of an image, or of the regions of one."""
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
    """Points, a box, or both."""
    points = [pb.Point(x=point.x, y=point.y, positive=point.positive) for point in prompt.points]
    if prompt.box is None:
        return pb.Prompt(points=points)
    x0, y0, x1, y1 = prompt.box
    return pb.Prompt(points=points, box=pb.Box(x0=x0, y0=y0, x1=x1, y1=y1))


def read_prompt(message: pb.Prompt) -> Prompt:
    """What `encode_prompt` wrote."""
    points = tuple(Point(point.x, point.y, point.positive) for point in message.points)
    box = message.box
    return Prompt(points, (box.x0, box.y0, box.x1, box.y1) if message.HasField("box") else None)


def _read_background(message: pb.Background) -> Background:
    return Background(
        tuple(message.words.words) if message.HasField("words") else None,
        message.threshold if message.HasField("threshold") else None,
    )
