"""What a request's tensors mean: an image and words. Shared by REST and gRPC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lexiseg_service.adapters.kserve.describing import CLASSES, IMAGE
from lexiseg_service.adapters.kserve.tensors import MOST_DIMENSIONS
from lexiseg_service.adapters.reading import image_in
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Limits


class Input(NamedTuple):
    """One tensor of a question, with its elements."""

    name: str
    datatype: str
    shape: Sequence[int]
    parts: list[bytes] | list[str]


class Inputs(NamedTuple):
    """An image or its URL, and words, where they were sent."""

    image: bytes | None
    url: str | None
    classes: list[str] | None


def most_of(name: str, datatype: str, limits: Limits) -> int:
    """How many elements an input may have.

    Raises:
        InvalidValue: there is no such input.
    """
    if name not in (IMAGE, CLASSES) or datatype != "BYTES":
        raise InvalidValue.of(f"inputs.{name}", datatype, f"`{IMAGE}` or `{CLASSES}`, each BYTES")
    return 1 if name == IMAGE else limits.max_classes


def inputs_of(tensors: Iterable[Input]) -> Inputs:
    """The image, as bytes or in text, and the words.

    Raises:
        InvalidValue: a tensor is not as its shape says, or there is no image.
    """
    image, url, classes, names = None, None, None, []
    for tensor in tensors:
        field, n = f"inputs.{tensor.name}", len(tensor.parts)
        if len(tensor.shape) > MOST_DIMENSIONS or math.prod(tensor.shape) != n:
            raise InvalidValue.of(
                field, f"shape {list(tensor.shape[:MOST_DIMENSIONS])}", f"that of the {n} elements that came"
            )
        if tensor.name in names:
            raise InvalidValue.of(field, "two tensors", "one")
        names.append(tensor.name)
        if tensor.name == CLASSES:
            classes = [part if isinstance(part, str) else part.decode("utf-8", "replace") for part in tensor.parts]
        elif n != 1:
            raise InvalidValue.of(field, f"{n} images", "one")
        else:
            image, url = image_in(part, field) if isinstance(part := tensor.parts[0], str) else (part, None)
    if image is None and url is None:
        raise InvalidValue.of("inputs", ", ".join(names), f"`{IMAGE}`")
    return Inputs(image, url, classes)
