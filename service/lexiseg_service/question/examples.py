"""Examples of classes: the JSON of a request as image regions, or an error that names the wrong field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pybase64

from lexiseg_model.types import Prompt, Region, Rle
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import ExampleRegion, ImageSource
from lexiseg_service.question.prompts import resolve_prompt
from lexiseg_service.question.schemas import ClassInput, ExampleInput, ImageInput
from lexiseg_service.settings import Limits

SOURCES = 'one of {"base64": ...}, {"url": ...} and {"id": ...}'
DATA_URI = re.compile(r"\Adata:[^,]{0,100};base64,")
LINE_BREAKS = {ord("\n"): None, ord("\r"): None}


@dataclass(frozen=True)
class ClassExample:
    """One example of the class at index `place`; a negative one shows something else that looks like it."""

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
    images = {example.image for example in examples if not example.image.is_empty}
    if len(images) > limits.max_example_images:
        raise InvalidValue.of("classes", f"examples in {len(images)} images", f"at most {limits.max_example_images}")
    return examples


def has_examples(entries: Sequence[str | ClassInput] | None) -> bool:
    """Whether any class has examples or negatives."""
    return any(isinstance(entry, ClassInput) and (entry.examples or entry.negatives) for entry in entries or ())


def decode_base64(encoded: str, field: str, expected: str = "base64 (RFC 4648)") -> bytes:
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
    contents: dict[bytes, bytes] = {}  # several examples often share a picture
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
    given = [name for name, value in image if value is not None]
    if len(given) != 1:
        raise InvalidValue.of(field, " and ".join(given) or "none", f"exactly {SOURCES}")
    if image.base64 is not None:
        content = decode_base64(image.base64, f"{field}.base64")
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
