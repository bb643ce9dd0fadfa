"""The options of a question, and its JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

from lexiseg_client.question.prompts import Example, Prompts, example_json, prompts_json

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

__all__ = [
    "Background",
    "Class",
    "Classes",
    "CommonOptions",
    "Options",
    "Unpack",
    "background_json",
    "classes_json",
    "question_json",
]

Task: TypeAlias = Literal["semantic", "instance", "panoptic", "prompt", "everything"]
MaskFormat: TypeAlias = Literal["rle", "polygon", "png", "none"]
Refinement: TypeAlias = Literal["none", "pamr", "lposs", "regions"]


@dataclass(frozen=True)
class Class:
    """A class with more than a name: synonyms answer under it, segments with a lower score than `threshold` go.

    `examples` show it, `negatives` what it is not though it looks alike. `words`: whether the name and the synonyms are
    looked for, too; None: where there are no examples, or where there are synonyms.
    """

    name: str
    synonyms: Sequence[str] = ()
    threshold: float | None = None
    examples: Sequence[Example] = ()
    negatives: Sequence[Example] = ()
    words: bool | None = None


@dataclass(frozen=True)
class Background:
    """Another background rule than the model's own.

    `threshold` (0 to 1) is the probability below which a class owns no pixel, `words` name what else may be in the
    picture; None keeps the model's.
    """

    threshold: float | None = None
    words: Sequence[str] | None = None


Classes: TypeAlias = Sequence[str | Class]


class CommonOptions(TypedDict, total=False):
    """What a question about an image and one about the frames of a stream may both say."""

    vocabulary: str | None  # a named class list, instead of classes
    task: Task | None  # semantic, or prompt where prompts are given; everything needs neither classes nor prompts
    model: str | None  # NAME or NAME@VERSION
    mask: MaskFormat  # how masks travel; `Segment.mask` reads the same from rle, polygon and png
    background: bool | Background | None  # True: what no class explains belongs to nobody; False: all pixels get one
    threshold: float | None  # 0 to 1: segments with a lower score are dropped; None: the threshold of the model's card
    refine: Refinement | None  # what masks follow (docs/tasks.md); None: the model's default
    max_side: int | None  # caps the longer side of the network's input; masks keep the image's size
    overlay: bool  # also answer a picture of the image with its segments painted on
    confidence: bool  # also answer each pixel's confidence


class Options(CommonOptions, total=False):
    """Everything that a question may say besides the image and its classes. What is left out is the server's choice."""

    simplify: float  # with mask="polygon": pixels that a border may stray; 0 keeps every corner
    prompts: Prompts | None  # objects that points and boxes show; with classes the masks are labelled, too


KNOWN = frozenset(Options.__annotations__)


def question_json(classes: Classes | None, options: Mapping[str, Any], known: frozenset[str] = KNOWN) -> dict[str, Any]:
    """The JSON fields of a question. What is None is left out.

    Raises:
        TypeError: an unknown option, one string instead of a list of classes, or a prompt that is none.
        ValueError: no prompt, or one that cannot be answered about any image.
    """
    if unknown := options.keys() - known:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}; there is: {', '.join(sorted(known))}")
    fields = {name: value for name, value in options.items() if value is not None}
    if classes is not None:
        fields["classes"] = classes_json(classes)
    if "background" in fields:
        fields["background"] = background_json(fields["background"])
    if "prompts" in fields:
        fields["prompts"] = prompts_json(fields["prompts"])
    return fields


def classes_json(classes: Classes) -> list[Any]:
    """A class list as JSON.

    Raises:
        TypeError: one string instead of a list.
    """
    if isinstance(classes, (str, bytes)):
        raise TypeError(f'classes is a list of names; did you mean ["{classes!s}"]?')
    return [
        _class_json(entry, f"classes.{place}") if isinstance(entry, Class) else entry
        for place, entry in enumerate(classes)
    ]


def _class_json(entry: Class, field: str) -> dict[str, Any]:
    described: dict[str, Any] = {"name": entry.name}
    if entry.synonyms:
        described["synonyms"] = list(entry.synonyms)
    if entry.threshold is not None:
        described["threshold"] = entry.threshold
    for name, some in (("examples", entry.examples), ("negatives", entry.negatives)):
        if some:
            described[name] = [example_json(each, f"{field}.{name}.{number}") for number, each in enumerate(some)]
    if entry.words is not None:
        described["words"] = entry.words
    return described


def background_json(background: bool | Background) -> Any:
    """A background rule as JSON."""
    if isinstance(background, bool):
        return background
    rule = {"threshold": background.threshold, "words": None if background.words is None else list(background.words)}
    return {name: value for name, value in rule.items() if value is not None}
