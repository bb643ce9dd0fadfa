"""Classes, background rule, prompts, examples and options of a request, and their JSON."""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.images import ImageId, ImageLike, ImageUrl, Source, load
from lexiseg_labels.masks.rle import encode
from lexiseg_labels.segments import Segment


@dataclass(frozen=True)
class Point:
    """A click: on the object if `positive`, else on the background."""

    x: float  # pixels from the left
    y: float  # pixels from the top
    positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """One object by points, by a box (left, top, right, bottom), or both.

    With a `mask` (bool [H, W], a `Segment` of an answer, or its `rle`) or a `segment` (id in the semantic answer to
    the same classes), points and box correct it: positive points and the box add to it, negative points remove from it.
    """

    points: Sequence[Point | tuple[float, float]] = ()
    box: Sequence[float] | NDArray[Any] | None = None
    mask: NDArray[Any] | Segment | Mapping[str, Any] | None = None
    segment: int | None = None


# A single point is a prompt of its own; a tuple (x, y) is a positive point.
Prompts: TypeAlias = Sequence[Prompt | Point | tuple[float, float]]


def prompts_json(prompts: Prompts) -> list[dict[str, Any]]:
    """Prompts as JSON, in order; the server checks ranges."""
    if isinstance(prompts, (Prompt, Point)):
        raise TypeError(f"prompts is a list; did you mean [{prompts}]?")
    if not isinstance(prompts, Sequence):
        raise TypeError(f"prompts: expected a list of Prompt and Point objects, got {prompts!r:.60}")
    return [
        _prompt_json(Prompt([prompt]) if isinstance(prompt, Point | tuple) else prompt, f"prompts.{index}")
        for index, prompt in enumerate(prompts)
    ]


def _prompt_json(prompt: Prompt, field: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        if prompt.points:
            fields["points"] = list(map(_point_json, prompt.points))
        if prompt.box is not None:
            left, top, right, bottom = map(float, prompt.box)
            fields["box"] = [left, top, right, bottom]
        if prompt.mask is not None:
            fields["mask"] = _mask_json(prompt.mask, field)
        if prompt.segment is not None:
            fields["segment"] = int(prompt.segment)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{field}: expected a Prompt or a Point, got {prompt!r:.60}: {error}") from None
    return fields


def _point_json(point: Point | tuple[float, float]) -> dict[str, Any]:
    if isinstance(point, tuple):
        if len(point) != 2:
            raise TypeError(f"a tuple is a point (x, y), got {len(point)} values")
        point = Point(*point)
    return {"x": float(point.x), "y": float(point.y), "positive": bool(point.positive)}


def _mask_json(mask: NDArray[Any] | Segment | Mapping[str, Any], field: str) -> dict[str, Any]:
    if isinstance(mask, Mapping):
        return dict(mask)
    if isinstance(mask, Segment):
        mask = mask.shape.pixels() if mask.rle is None else mask.rle
        return _mask_json(mask, field)
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"{field}.mask: expected [H, W], got {list(mask.shape)}")
    size = [int(side) for side in mask.shape]
    return {"format": "coco_rle", "size": size, "counts": encode(mask.astype(bool))}


@dataclass(frozen=True)
class Example:
    """A class example in an image, by a box (left, top, right, bottom) and points, or by a mask.

    `mask`: bool [H, W], a `Segment`, or its `rle`.
    `image`: as for `Client.segment`; None: the image of the request.
    """

    box: Sequence[float] | NDArray[Any] | None = None
    points: Sequence[Point | tuple[float, float]] = ()
    mask: NDArray[Any] | Segment | Mapping[str, Any] | None = None
    image: ImageLike | None = None


def example_json(example: object, field: str) -> dict[str, Any]:
    if not isinstance(example, Example):
        raise TypeError(f"{field}: expected an Example, got {example!r:.60}")
    if example.mask is not None:
        if example.box is not None or example.points:
            raise ValueError(f"{field}: expected a mask alone, got one beside a box or points")
        region: dict[str, Any] = {"mask": _mask_json(example.mask, field)}
    else:
        region = _prompt_json(Prompt(example.points, example.box), field)
    return region if example.image is None else {**region, "image": source_json(load(example.image))}


def has_files(question: Any) -> bool:
    """Whether a request's examples contain image files, which make it too large for a form field."""
    classes = [entry for entry in question.get("classes", ()) if isinstance(entry, dict)]
    examples = [example for entry in classes for name in ("examples", "negatives") for example in entry.get(name, ())]
    return any("base64" in example.get("image", {}) for example in examples)


def source_json(source: Source) -> dict[str, str]:
    if isinstance(source, ImageId):
        return {"id": source.id}
    if isinstance(source, ImageUrl):
        return {"url": source.url}
    return {"base64": base64.b64encode(source.content).decode()}


if sys.version_info >= (3, 11):
    from typing import Unpack as Unpack
else:
    from typing_extensions import Unpack as Unpack

SURROGATE = re.compile("[\ud800-\udfff]")
Task: TypeAlias = Literal["semantic", "instance", "panoptic", "prompt", "everything"]
MaskFormat: TypeAlias = Literal["rle", "polygon", "png", "none"]
Refinement: TypeAlias = Literal["none", "pamr", "lposs", "regions"]


@dataclass(frozen=True)
class Class:
    """A class with synonyms (answered under `name`), its own score threshold (0 to 1), a gloss, or example images.

    `examples` show the class, `negatives` what looks alike but is not it. `words`: also search by name and synonyms;
    None: only if there are synonyms or no examples. `gloss`: the meaning of the name; None: the model may look meanings
    up, and answers them in `senses`.
    """

    name: str
    synonyms: Sequence[str] = ()
    threshold: float | None = None
    examples: Sequence[Example] = ()
    negatives: Sequence[Example] = ()
    words: bool | None = None
    gloss: str | None = None


@dataclass(frozen=True)
class Background:
    """A background rule that overrides the model's.

    `threshold`: probability, 0 to 1, below which a pixel belongs to no class. `words`: names of background things.
    None keeps the model's value.
    """

    threshold: float | None = None
    words: Sequence[str] | None = None


class Classes(Protocol):
    """A list, tuple or other sequence of names and `Class` objects.

    A string is a sequence of strings, too, but to a type checker none of these: only strings are in a string.
    """

    def __contains__(self, entry: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> str | Class: ...

    def __iter__(self) -> Iterator[str | Class]: ...

    def __len__(self) -> int: ...


class CommonOptions(TypedDict, total=False):
    """Options shared by requests about images and by video streams."""

    vocabulary: str | None  # a named class list, instead of classes
    head: str | None  # NAME or NAME@VERSION of taught classes, before the classes or the vocabulary's
    task: Task | None  # default semantic, with prompts prompt; everything needs neither classes nor prompts
    model: str | None  # NAME or NAME@VERSION
    mask: MaskFormat  # encoding of masks in the answer; `Segment.mask` decodes rle, polygon and png alike
    background: bool | Background | None  # True: unexplained pixels belong to no class; False: every pixel has a class
    threshold: float | None  # 0 to 1: segments with a lower score are dropped; None: the threshold of the model's card
    refine: Refinement | None  # mask refinement (docs/tasks.md); None: the model's default
    max_side: int | None  # caps the longer side of the network's input; masks keep the image's size
    language: str | None  # of the class names, as "es" (ISO 639); "en": they are read as they are; None: guessed
    overlay: bool  # also return a PNG of the image with its segments painted on
    confidence: bool  # also return each pixel's confidence
    doubtful: bool  # also segments under the threshold, marked `doubtful`, of classes of which nothing else was found
    simplify: float  # with mask="polygon": maximum deviation of contours in pixels; 0 keeps every corner


class Options(CommonOptions, total=False):
    """Options of a request about an image; omitted ones take the server's default."""

    prompts: Prompts | None  # points, boxes or masks of objects; with classes, their masks get labels


NAMES = frozenset(Options.__annotations__)


def question_json(classes: Classes | None, options: Mapping[str, Any], names: frozenset[str] = NAMES) -> dict[str, Any]:
    """The JSON fields of a request; None values are omitted."""
    if unknown := options.keys() - names:
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}; expected one of {', '.join(sorted(names))}")
    fields = {name: value for name, value in options.items() if value is not None}
    if classes is not None:
        fields["classes"] = classes_json(classes)
    if "background" in fields:
        fields["background"] = background_json(fields["background"])
    if "prompts" in fields:
        fields["prompts"] = prompts_json(fields["prompts"])
    return {name: plain(value, name) for name, value in fields.items()}


def plain(value: Any, field: str) -> Any:
    """A value as JSON carries it, with numbers of numpy as Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(each, f"{field}.{name}") for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each, f"{field}.{index}") for index, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field}: expected a finite number, got {value}")
    if isinstance(value, str) and SURROGATE.search(value):
        raise ValueError(f"{field}: expected text in Unicode, got {value!a:.80}")
    return value


def listed(values: Any, field: str) -> list[Any]:
    """A list of any sequence. Raises TypeError: a text, which is one of texts, a mapping, or no sequence."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{field}: expected a list, got {values!r:.80}")
    return list(values)


def classes_json(classes: Classes) -> list[Any]:
    """A class list as JSON. Raises TypeError: one string instead of a list; the message shows the list."""
    if isinstance(classes, (str, bytes)):
        text = classes if isinstance(classes, str) else classes.decode(errors="replace")
        names = [name.strip() for name in text.split(",")]
        raise TypeError(f"classes is a list of names; did you mean {json.dumps(names, ensure_ascii=False)}?")
    return [
        _class_json(entry, f"classes.{index}") if isinstance(entry, Class) else entry
        for index, entry in enumerate(listed(classes, "classes"))
    ]


def _class_json(entry: Class, field: str) -> dict[str, Any]:
    document = {**vars(entry), "synonyms": listed(entry.synonyms, f"{field}.synonyms")}
    for name in ("examples", "negatives"):
        document[name] = [example_json(example, f"{field}.{name}.{i}") for i, example in enumerate(document[name])]
    return {name: value for name, value in document.items() if value not in (None, [])}


def background_json(background: bool | Background) -> Any:
    """A background rule as JSON; anything else than a `Background` is sent as it is."""
    if not isinstance(background, Background):
        return background
    words = None if background.words is None else listed(background.words, "background.words")
    rule = {"threshold": background.threshold, "words": words}
    return {name: value for name, value in rule.items() if value is not None}
