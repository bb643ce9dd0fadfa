"""Examples of classes: from the JSON of a request to regions and where their images are, or to a 422."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pybase64

from lexiseg_model.types import Prompt, Region, Rle
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import are_words
from lexiseg_service.question.prompts import resolve_prompt
from lexiseg_service.question.schemas import ClassInput, ExampleInput, ImageInput
from lexiseg_service.settings import Limits

SOURCES = 'one of {"base64": ...}, {"url": ...} and {"id": ...}'
DATA_URI = re.compile(r"\Adata:[^,]{0,100};base64,")
LINE_BREAKS = {ord("\n"): None, ord("\r"): None}


@dataclass(frozen=True)
class ImageSource:
    """An encoded image, the id of one sent before, or a URL; none of them: the image that the request is about."""

    content: bytes | None = field(default=None, repr=False)
    id: str | None = None
    url: str | None = None

    @property
    def is_the_requests(self) -> bool:
        return self.content is None and self.id is None and self.url is None


@dataclass(frozen=True)
class ExampleRegion:
    """A part of an image, and the field of the request that names it."""

    region: Region
    field: str


@dataclass(frozen=True)
class ClassExample:
    """One example of the class at `place`: it shows the class, or what the class is not."""

    place: int
    positive: bool
    image: ImageSource
    shown: ExampleRegion


def examples_of(entries: Sequence[str | ClassInput] | None, limits: Limits) -> tuple[ClassExample, ...]:
    """Every example of a class list, the positive ones of a class first.

    Raises:
        InvalidValue: too many of them or of their images, an image that is not one of its three forms, a region that
            shows nothing.
    """
    examples = tuple(_examples(entries or (), limits))
    images = {example.image for example in examples if not example.image.is_the_requests}
    if len(images) > limits.max_example_images:
        raise InvalidValue.of("classes", f"examples in {len(images)} images", f"at most {limits.max_example_images}")
    return examples


def has_examples(entries: Sequence[str | ClassInput] | None) -> bool:
    """Whether any class has an example, or says what it is not."""
    if not entries or are_words(entries):
        return False
    return any(isinstance(entry, ClassInput) and (entry.examples or entry.negatives) for entry in entries)


def content_of(encoded: str, field: str, expected: str = "base64 (RFC 4648)") -> bytes:
    """Decode base64, with or without a data URI around it or line breaks in it.

    Raises:
        InvalidValue: not base64.
    """
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
    contents: dict[bytes, bytes] = {}  # the same picture is often there for several examples
    for place, entry in enumerate(entries):
        if isinstance(entry, str):
            continue
        left -= len(entry.examples) + len(entry.negatives)
        if left < 0:
            raise InvalidValue.of(f"classes.{place}.examples", "more", f"at most {limits.max_examples} in all")
        if entry.negatives and not entry.examples:
            raise InvalidValue.of(f"classes.{place}.negatives", len(entry.negatives), "examples beside them")
        for name, some in (("examples", entry.examples), ("negatives", entry.negatives)):
            for number, example in enumerate(some):
                where = f"classes.{place}.{name}.{number}"
                region = ExampleRegion(_region(example, where, limits), where)
                yield ClassExample(
                    place, name == "examples", _source(example.image, f"{where}.image", contents), region
                )


def _source(image: ImageInput | None, field: str, contents: dict[bytes, bytes]) -> ImageSource:
    if image is None:
        return ImageSource()
    said = [name for name, value in image if value is not None]
    if len(said) != 1:
        raise InvalidValue.of(field, " and ".join(said) or "none", f"exactly {SOURCES}")
    if image.base64 is not None:
        content = content_of(image.base64, f"{field}.base64")
        return ImageSource(contents.setdefault(content, content))
    return ImageSource(None, image.id, image.url)


def _region(example: ExampleInput, field: str, limits: Limits) -> Region:
    shows = example.box is not None or bool(example.points)
    if example.mask is None:
        prompt: Prompt = resolve_prompt(example, field, limits)
        return Region(prompt)
    if shows:
        raise InvalidValue.of(f"{field}.mask", "beside a box or points", "a mask alone")
    height, width = example.mask.size
    return Region(mask=Rle((height, width), example.mask.counts, 0, (0, 0, width, height)))
