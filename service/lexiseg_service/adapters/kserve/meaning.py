"""What the tensors mean: an image and words in, labels, scores, boxes and masks out. Shared by REST and gRPC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from lexiseg_service.adapters.answering import run_lengths
from lexiseg_service.adapters.kserve.describing import CLASSES, IMAGE, OUTPUTS
from lexiseg_service.adapters.kserve.tensors import OutputTensor
from lexiseg_service.adapters.reading import image_in
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.settings import Limits

MOST_DIMENSIONS = 8
# Parameters of a request that are fields of a question. Those with a structure are JSON in a string.
PLAIN = ("vocabulary", "task", "threshold", "refine", "max_side")
STRUCTURED = ("background", "classes", "prompts")


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


def fields_of(parameters: Mapping[str, Any], classes: list[str] | None, limits: Limits) -> dict[str, Any]:
    """A question's fields, of a request's parameters and its tensor of words."""
    fields = {name: parameters[name] for name in PLAIN if name in parameters}
    for name in STRUCTURED:
        if name in parameters:
            sent = parameters[name]
            fields[name] = parse_json(sent, limits) if isinstance(sent, str) else sent
    return fields if classes is None else {**fields, "classes": classes}


def outputs_of(answer: WorkerAnswer, wanted: list[str]) -> list[OutputTensor]:
    """The outputs that are wanted, in that order; all where none is named. A mask is the JSON of COCO's run lengths.

    Raises:
        InvalidValue: there is none of a name.
    """
    segments, n = answer.segments, len(answer.segments)
    there = {
        "labels": ([(segment.label or "").encode() for segment in segments], [n]),
        "class_indices": ([-1 if s.class_index is None else s.class_index for s in segments], [n]),
        "scores": ([segment.score for segment in segments], [n]),
        "boxes": (np.array([segment.bbox for segment in segments], np.int32).reshape(n, 4), [n, 4]),
        "areas": ([segment.area for segment in segments], [n]),
        "masks": ([orjson.dumps(run_lengths(segment)) for segment in segments], [n]),
        "size": (list(answer.size), [2]),
    }
    types: dict[str, Any] = {str(output["name"]): output["datatype"] for output in OUTPUTS}
    for name in wanted:
        if name not in there:
            raise InvalidValue.of("outputs", name, f"of {', '.join(there)}")
    return [OutputTensor(name, types[name], there[name][1], there[name][0]) for name in wanted or there]  # type: ignore[arg-type]
