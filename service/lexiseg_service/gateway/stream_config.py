"""What a stream is asked, from the JSON of POST /streams: the config that a stream of gRPC begins with."""

from __future__ import annotations

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.examples import content_of
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, ExampleInput, ImageInput, PromptInput
from lexiseg_service.question.stream_schemas import StreamInput

LARGEST_SIDE = 2**31 - 1


def config_of(asked: StreamInput) -> pb.StreamConfig:
    """Follows objects, and labels them where there are classes. Nothing is checked that the stream checks itself.

    Raises:
        InvalidValue: an example has none or several pictures, its picture is no base64, or its mask larger than any.
    """
    return pb.StreamConfig(
        classes=[_class(entry, f"classes.{index}") for index, entry in enumerate(asked.classes or ())],
        vocabulary=asked.vocabulary,
        task=pb.TASK_PROMPT,
        model=asked.model,
        max_side=asked.max_side,
        background=None if asked.background is None else _background(asked.background),
    )


def prompt_of(prompt: PromptInput) -> pb.Prompt:
    """What shows an object."""
    points = [pb.Point(x=point.x, y=point.y, positive=point.positive) for point in prompt.points]
    return pb.Prompt(points=points, box=_box(prompt))


def _class(entry: str | ClassInput, field: str) -> pb.Class:
    if isinstance(entry, str):
        return pb.Class(name=entry)
    return pb.Class(
        name=entry.name,
        synonyms=entry.synonyms,
        threshold=entry.threshold,
        examples=[_example(each, f"{field}.examples.{place}") for place, each in enumerate(entry.examples)],
        negatives=[_example(each, f"{field}.negatives.{place}") for place, each in enumerate(entry.negatives)],
        words=entry.words,
    )


def _example(example: ExampleInput, field: str) -> pb.Example:
    shown = prompt_of(example)
    mask = None
    if example.mask is not None:
        height, width = example.mask.size
        if max(height, width) > LARGEST_SIDE:  # more than the message holds
            raise InvalidValue.of(f"{field}.mask.size", [height, width], f"sides of at most {LARGEST_SIDE:,} pixels")
        mask = pb.CocoRle(size=pb.Size(height=height, width=width), counts=example.mask.counts)
    image = None if example.image is None else _image(example.image, f"{field}.image")
    return pb.Example(image=image, points=shown.points, box=shown.box if shown.HasField("box") else None, mask=mask)


def _image(image: ImageInput, field: str) -> pb.Image:
    sources = image.model_dump(exclude_none=True)
    if len(sources) != 1:
        raise InvalidValue.of(field, " and ".join(sources) or "none", "exactly one of base64, url and id")
    if image.base64 is not None:
        return pb.Image(content=content_of(image.base64, f"{field}.base64"))
    return pb.Image(id=image.id) if image.id is not None else pb.Image(url=image.url or "")


def _background(background: bool | BackgroundInput) -> pb.Background:
    if isinstance(background, bool):
        return pb.Background(enabled=background)
    words = None if background.words is None else pb.Words(words=background.words)
    return pb.Background(threshold=background.threshold, words=words)


def _box(prompt: PromptInput) -> pb.Box | None:
    if prompt.box is None:
        return None
    x0, y0, x1, y1 = prompt.box
    return pb.Box(x0=x0, y0=y0, x1=x1, y1=y1)
