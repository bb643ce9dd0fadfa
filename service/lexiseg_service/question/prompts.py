"""Check and resolve the prompts of a request and the examples of its classes; errors name the wrong field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import pybase64

from lexiseg_model.types import Point, Prompt, Region, Task
from lexiseg_service.errors import MAX_FINDINGS, InvalidValue
from lexiseg_service.question.messages import ExampleRegion, ImageSource
from lexiseg_service.question.schemas import (
    ClassInput,
    ImageInput,
    MaskInput,
    PromptInput,
    Question,
    RegionInput,
    ShownInput,
)
from lexiseg_service.question.streams import Followed
from lexiseg_service.settings import Limits

BYTES_PER_POINT = 512  # bytes of JSON that take as long to parse as resolving or encoding one point
MAX_RUN_BYTES = 2 * 2**20  # of the masks of a request, which each stage decodes and encodes; a photograph's has some KB
SOURCES = 'one of {"base64": ...}, {"url": ...} and {"id": ...}'
DATA_URI = re.compile(r"\Adata:[^,]{0,100};base64,")
LINE_BREAKS = {ord("\n"): None, ord("\r"): None}


class WithPoints(Protocol):
    """A prompt of any protocol, of which only the number of points matters."""

    @property
    def points(self) -> Sized: ...


def bytes_of_points(prompts: Iterable[WithPoints]) -> int:
    """The cost of processing the points of prompts, in bytes of JSON as `off_event_loop` takes it."""
    return BYTES_PER_POINT * sum(len(prompt.points) for prompt in prompts)


def resolve_prompts(question: Question, task: Task, limits: Limits) -> tuple[Prompt, ...]:
    """The prompts of a question, not yet compared with its image; none for other tasks than prompt."""
    prompts = question.prompts or []
    if task != "prompt":
        if prompts:
            raise InvalidValue.of("task", task, f"prompt, or no task, with prompts ({len(prompts)} came)")
        return ()
    if not prompts:
        raise InvalidValue.of("prompts", 0, "at least one prompt for the task prompt")
    if len(prompts) > limits.max_prompts:
        raise InvalidValue.of("prompts", f"{len(prompts)} prompts", f"at most {limits.max_prompts}")
    for index, prompt in enumerate(prompts):
        check_points(prompt, f"prompts.{index}", limits)
    check_runs((prompt.mask for prompt in prompts), "prompts")
    has_classes = bool(question.classes or question.vocabulary or question.head)
    return tuple(
        _new_prompt(prompt, f"prompts.{index}")
        if prompt.mask is None and prompt.segment is None
        else _correction(prompt, f"prompts.{index}", has_classes)
        for index, prompt in enumerate(prompts)
    )


def resolve_prompt(prompt: ShownInput, field: str, limits: Limits) -> Prompt:
    """One prompt; `field` is its place in the request."""
    check_points(prompt, field, limits)
    return _new_prompt(prompt, field)


def resolve_follow(objects: Iterable[tuple[int, PromptInput]], field: str, limits: Limits) -> tuple[Followed, ...]:
    """The objects that a video frame starts to follow, from their track ids and prompts."""
    followed: dict[int, Followed] = {}
    for index, (track_id, prompt) in enumerate(objects):
        if index == limits.max_prompts:
            raise InvalidValue.of(field, f"more than {index} objects", f"at most {limits.max_prompts}")
        if not track_id or track_id in followed:
            raise InvalidValue.of(f"{field}.{index}.track_id", track_id, "a number from 1, different for each object")
        if prompt.mask is not None or prompt.segment is not None:
            raise InvalidValue.of(
                f"{field}.{index}.prompt", "a mask or a segment", "points, a box, or both, in a video"
            )
        followed[track_id] = Followed(track_id, resolve_prompt(prompt, f"{field}.{index}.prompt", limits))
    return tuple(followed.values())


def check_points(prompt: WithPoints, field: str, limits: Limits) -> None:
    n_points = len(prompt.points)
    if n_points > limits.max_prompt_points:
        raise InvalidValue.of(f"{field}.points", f"{n_points} points", f"at most {limits.max_prompt_points}")


def check_inside(prompts: Sequence[Prompt], size: tuple[int, int], *, of_frame: bool = False) -> None:
    """Check that points and boxes are inside an image (height, width), edges included; `of_frame`: of `follow`."""
    place = "follow.{}.prompt" if of_frame else "prompts.{}"
    findings = (
        finding for index, prompt in enumerate(prompts) for finding in outside(prompt, size, place.format(index))
    )
    if first := list(islice(findings, MAX_FINDINGS)):
        raise InvalidValue.together(first)


def largest_size(prompts: Sequence[Prompt], limits: Limits) -> tuple[int, int]:
    """Height and width of the largest image that prompts may be about: that of a mask among them, if there is one."""
    side = limits.max_pixels // limits.min_side
    return next((prompt.mask.size for prompt in prompts if prompt.mask is not None), (side, side))


def outside(prompt: Prompt, size: tuple[int, int], field: str) -> Iterator[InvalidValue]:
    """Coordinates of a prompt outside an image of `size` (height, width); `field` is its place in the request."""
    height, width = size
    if prompt.mask is not None and prompt.mask.size != size:
        yield InvalidValue.of(
            f"{field}.mask.size", list(prompt.mask.size), f"{list(size)}, the image's height and width"
        )
    for number, point in enumerate(prompt.points):
        if not 0 <= point.x <= width:
            yield _outside(f"{field}.points.{number}.x", point.x, f"0 to {width}, the image's width")
        if not 0 <= point.y <= height:
            yield _outside(f"{field}.points.{number}.y", point.y, f"0 to {height}, the image's height")
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        if min(x0, x1) < 0 or max(x0, x1) > width or min(y0, y1) < 0 or max(y0, y1) > height:
            limit = f"x in 0 to {width} and y in 0 to {height}, the image's size"
            yield _outside(f"{field}.box", list(prompt.box), limit)


def _outside(field: str, value: float | list[float], limit: str) -> InvalidValue:
    return InvalidValue.of(field, value, f"pixels inside the image: {limit}")


def check_runs(masks: Iterable[MaskInput | None], field: str) -> None:
    """Check the length of masks in all. Raises InvalidValue: they are too long; names `field`."""
    n_bytes = sum(len(mask.counts) for mask in masks if mask is not None)
    if n_bytes > MAX_RUN_BYTES:
        came = f"{n_bytes:,} characters of run lengths"
        raise InvalidValue.of(field, came, f"at most {MAX_RUN_BYTES:,} in the masks of all")


def _correction(prompt: PromptInput, field: str, has_classes: bool) -> Prompt:
    if prompt.mask is not None and prompt.segment is not None:
        raise InvalidValue.of(field, "a mask and a segment", "one of them")
    if prompt.segment is not None and not has_classes:
        raise InvalidValue.of(f"{field}.segment", prompt.segment, "classes or a vocabulary, whose segment it is")
    mask = None if prompt.mask is None else prompt.mask.rle()
    return Prompt(_points(prompt), _box(prompt, field), mask=mask, segment=prompt.segment)


def _points(prompt: ShownInput) -> tuple[Point, ...]:
    return tuple(Point(point.x, point.y, point.positive) for point in prompt.points)


def _box(prompt: ShownInput, field: str) -> tuple[float, float, float, float] | None:
    if prompt.box is None:
        return None
    x0, y0, x1, y1 = prompt.box
    if x1 <= x0 or y1 <= y0:
        raise InvalidValue.of(f"{field}.box", prompt.box, "x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def _new_prompt(prompt: ShownInput, field: str) -> Prompt:
    """The prompt that shows something by points, a box, or both."""
    points = _points(prompt)
    if prompt.box is None and not points:
        raise InvalidValue.of(field, "an empty prompt", "points, a box, or both")
    if prompt.box is None and not any(point.positive for point in points):
        raise InvalidValue.of(
            f"{field}.points", f"{len(points)} negative", "at least one positive point where there is no box"
        )
    return Prompt(points, _box(prompt, field))


@dataclass(frozen=True)
class ClassExample:
    """One example of the class at index `place`; a negative one shows a lookalike that is not of the class."""

    place: int
    positive: bool
    image: ImageSource
    example: ExampleRegion


def examples_of(entries: Sequence[str | ClassInput] | None, limits: Limits) -> tuple[ClassExample, ...]:
    """Every example of a class list, the positive ones of a class first."""
    classes = [entry for entry in entries or () if isinstance(entry, ClassInput)]
    check_runs((example.mask for entry in classes for example in (*entry.examples, *entry.negatives)), "classes")
    examples = tuple(_examples(entries or (), limits))
    images = {example.image for example in examples if not example.image.is_empty}
    if len(images) > limits.max_example_images:
        raise InvalidValue.of("classes", f"examples in {len(images)} images", f"at most {limits.max_example_images}")
    return examples


def source_of(image: ImageInput, field: str) -> ImageSource:
    """The image of a request's JSON; `field` is its place there."""
    sources = [name for name, value in image if value is not None]
    if len(sources) != 1:
        raise InvalidValue.of(field, " and ".join(sources) or "none", f"exactly {SOURCES}")
    if image.base64 is None:
        return ImageSource(id=image.id, url=image.url)
    return ImageSource(decode_base64(image.base64, f"{field}.base64"))


def decode_base64(encoded: str, field: str, expected: str = "base64 (RFC 4648)") -> bytes:
    """Decode base64, with or without a data URI around it or line breaks in it."""
    start = DATA_URI.match(encoded)
    text = encoded[start.end() :] if start else encoded
    if "\n" in text or "\r" in text:
        text = text.translate(LINE_BREAKS)
    try:
        content: bytes = pybase64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidValue.of(field, f"{len(encoded)} characters", expected) from None
    return content


def _examples(entries: Sequence[str | ClassInput], limits: Limits) -> Iterator[ClassExample]:
    left = limits.max_examples
    shared: dict[ImageSource, ImageSource] = {}  # equal images are one object
    for place, entry in enumerate(entries):
        if isinstance(entry, str):
            continue
        left -= len(entry.examples) + len(entry.negatives)
        if left < 0:
            n_examples = f"{limits.max_examples - left} examples so far"
            raise InvalidValue.of(f"classes.{place}.examples", n_examples, f"at most {limits.max_examples} in all")
        if entry.negatives and not entry.examples:
            raise InvalidValue.of(f"classes.{place}.negatives", len(entry.negatives), "examples beside them")
        for name, examples in (("examples", entry.examples), ("negatives", entry.negatives)):
            for number, example in enumerate(examples):
                where = f"classes.{place}.{name}.{number}"
                region = ExampleRegion(region_of(example, where, limits), where)
                image = ImageSource() if example.image is None else source_of(example.image, f"{where}.image")
                yield ClassExample(place, name == "examples", shared.setdefault(image, image), region)


def region_of(example: RegionInput, field: str, limits: Limits) -> Region:
    """The region of an image that a mask shows, or points and a box; `field` is its place in the request."""
    if example.mask is None and example.box is None and not example.points:
        raise InvalidValue.of(field, "an empty region", "a mask, points or a box")
    if example.mask is None:
        return Region(resolve_prompt(example, field, limits))
    if example.box is not None or example.points:
        raise InvalidValue.of(f"{field}.mask", "a mask beside a box or points", "a mask alone")
    return Region(mask=example.mask.rle())
