"""What an answer says in addition to its masks and pictures, and its JSON in `POST /segment`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Timings:
    """Server-side durations in milliseconds."""

    decode: float = field(metadata={"description": "decoding of the image file, in milliseconds"})
    queue: float = field(metadata={"description": "wait for the device, in milliseconds"})
    text: float = field(metadata={"description": "text embeddings of the classes, in milliseconds"})
    image: float = field(
        metadata={"description": "image pass of the batch that included this request, in milliseconds"}
    )
    post: float = field(metadata={"description": "postprocessing from scores to masks, in milliseconds"})
    total: float = field(metadata={"description": "total time in the worker, in milliseconds"})


@dataclass(frozen=True)
class CacheUse:
    """Cache hits and misses of a request."""

    text_hits: int = field(
        metadata={
            "description": "number of texts with a cached embedding; with API keys, of those that the same key has "
            "sent before"
        },
    )
    text_misses: int = field(
        metadata={
            "description": "number of texts whose embedding was computed; with API keys, of those that are new to the "
            "key"
        },
    )
    features: bool = field(
        metadata={"description": "whether the image's features were cached, so that no image pass was needed"},
    )


@dataclass(frozen=True)
class AnswerWarning:
    """A warning about an answer."""

    type: str = field(metadata={"description": "stable identifier of the kind of warning, for programs"})
    detail: str = field(metadata={"description": "explanation for people"})
    field: str | None = field(
        metadata={"description": "path of the request field, such as `classes.0`; null: no single field"},
    )


@dataclass(frozen=True)
class Sense:
    """Meaning of a class that the image shows most."""

    class_index: int = field(metadata={"description": "index of the class in the request or the vocabulary, from 0"})
    gloss: str = field(metadata={"description": "the meaning that is most present in the image"})
    others: tuple[str, ...] = field(
        default=(), metadata={"description": "other meanings of the class; send one as its `gloss` to choose it"}
    )


@dataclass(frozen=True)
class AnswerFields:
    """What an answer says in addition to its masks and pictures: in `POST /segment`, a worker and a client.

    A field that is added here and to the message `SegmentResponse` (with a default: older answers lack it) is in all
    of them. Its values are plain, dataclasses of plain values, or tuples of either.
    """

    image_id: str = field(
        metadata={"description": "id of the image; send it as `image.id` to ask again without uploading the file"}
    )
    model: str = field(metadata={"description": "name of the model that answered"})
    model_digest: str = field(metadata={"description": "digest of the model's weights"})
    task: str = field(
        metadata={"description": "task that was performed: semantic, instance, panoptic, prompt or everything"}
    )
    size: tuple[int, int] = field(
        metadata={"description": "height and width in pixels of the image as sent, after EXIF rotation"}
    )
    _: KW_ONLY
    timings_ms: Timings = field(metadata={"description": "duration of each stage, in milliseconds"})
    cache: CacheUse = field(metadata={"description": "cache hits and misses of this request"})
    absent: tuple[str, ...] = field(
        default=(),
        metadata={
            "description": "requested labels that no segment has; without stuff for the task instance, empty for "
            "prompt and everything"
        },
    )
    warnings: tuple[AnswerWarning, ...] = field(
        default=(),
        metadata={
            "description": "warnings by `type`. `unfamiliar-word`: the class is far from everything that the model was "
            "trained on; `translated-word`: the class is of another language and was read as the English word that is "
            "named; `ambiguous-language`: the class was read as English, and is a word of another language, too; "
            "`unsplit-words`: a class contains a comma; `stuff-as-instances`: an uncountable "
            "class was requested as instances; `no-mask-prompts`: the model takes no masks as prompts; "
            "`phrase-unanswered`: the model of phrases was late or not asked; "
            "`guessed-depth`: an image of high bit depth does not say "
            "which values are black and white; `guessed-colours`: an image is HDR, or its colour profile was not read"
        },
    )
    senses: tuple[Sense, ...] = field(
        default=(),
        metadata={
            "description": "meanings of the classes that were asked with glosses: a `gloss` of the request, or words "
            "that the model was not trained on"
        },
    )


_hints = cache(get_type_hints)
FIELDS = tuple(item.name for item in fields(AnswerFields))
# The dataclasses of values, by the name of their field.
KINDS: dict[str, type[Any]] = {
    name: kind
    for name, hint in get_type_hints(AnswerFields).items()
    for kind in (hint, *get_args(hint))
    if isinstance(kind, type) and is_dataclass(kind)
}


def read_fields(document: Mapping[str, Any], kind: Any = AnswerFields) -> dict[str, Any]:
    """The values of a dataclass by name from their JSON; unknown members are ignored, as are absent optional ones."""
    hints = _hints(kind)
    return {
        item.name: _value(hints[item.name], document[item.name])
        for item in fields(kind)
        if item.name in document or item.default is MISSING
    }


def fields_json(answer: AnswerFields) -> dict[str, Any]:
    """The JSON of `AnswerFields`, as `read_fields` reads it."""
    return {name: _json(getattr(answer, name)) for name in FIELDS}


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    if is_dataclass(value):
        return {item.name: _json(getattr(value, item.name)) for item in fields(value)}
    return value


def _value(hint: Any, value: Any) -> Any:
    """A value of a type from its JSON."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**read_fields(value, hint))
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], each) for each in value)
    if isinstance(value, (list, dict)):
        raise TypeError(f"expected a plain value, got {value!r:.200}")
    return value
