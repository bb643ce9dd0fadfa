"""Class lists under a name: built-in ones and users' own, and their JSON documents.

The built-in ones are in `lexiseg_model.vocabulary.class_lists`.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import orjson

from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary import class_lists
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.classes import check, check_line
from lexiseg_service.question.prompts import ClassExample, examples_of
from lexiseg_service.question.schemas import ClassInput
from lexiseg_service.settings import Limits

MAX_SOURCE_LENGTH = 1000  # characters
BYTES_PER_CLASS = 600  # of its entry and its JSON values, without texts and pictures
BUILT_IN_NAMES = class_lists.NAMES


@dataclass(frozen=True)
class NamedVocabulary:
    """A vocabulary with its origin; `etag` changes with the content, and when it is shared.

    `owner` is the id of the API key that created it, "" without one. Only its owner sees an unshared vocabulary.
    """

    name: str
    vocabulary: Vocabulary
    source: str | None
    built_in: bool
    etag: str
    owner: str = ""
    shared: bool = True
    examples: tuple[ClassExample, ...] = ()
    classes: tuple[dict[str, Any], ...] = ()  # as JSON values

    @cached_property
    def nbytes(self) -> int:
        """Approximate bytes in memory: texts, pictures as bytes, and with each example as base64."""
        entries = self.vocabulary.classes
        texts = sum(sys.getsizeof(text) for entry in entries for text in (entry.name, *entry.synonyms, *entry.senses))
        contents = [example.image.content or b"" for example in self.examples]
        pictures = sum(len(content) for content in {id(content): content for content in contents}.values())
        return BYTES_PER_CLASS * len(entries) + texts + pictures + sum(4 * len(content) // 3 for content in contents)

    @property
    def n_classes(self) -> int:
        return len(self.vocabulary.classes)

    @property
    def background(self) -> bool | dict[str, Any]:
        """The background rule as JSON values."""
        rule = self.vocabulary.background
        if rule is None or rule == Background():
            return rule is not None
        return {"threshold": rule.threshold, "words": None if rule.words is None else list(rule.words)}

    @property
    def document(self) -> dict[str, Any]:
        """Classes, background and source as JSON values, as in the body of a PUT."""
        return {"classes": list(self.classes), "background": self.background, "source": self.source}

    def may_be_changed_by(self, caller: Caller) -> bool:
        """Whether a caller may replace and delete it."""
        return not self.built_in and (caller.admin or self.owner in ("", caller.owner) or not caller.owner)

    def stored(self) -> bytes:
        return encode({**self.document, **({"owner": self.owner} if self.owner else {})})


def named(
    name: str,
    class_list: VocabularyInput,
    limits: Limits,
    *,
    built_in: bool = False,
    owner: str = "",
    shared: bool = True,
) -> NamedVocabulary:
    """Check a class list by the rules of a request."""
    vocabulary = check(class_list.classes, class_list.background, limits, name=name)
    source = None if class_list.source is None else check_line(class_list.source, "source", MAX_SOURCE_LENGTH)
    classes = tuple(
        _class(entry, entered) for entry, entered in zip(vocabulary.classes, class_list.classes, strict=True)
    )
    examples = examples_of(class_list.classes, limits)
    untagged = NamedVocabulary(name, vocabulary, source, built_in, "", owner, shared, examples, classes)
    digest = hashlib.sha256(encode({**untagged.document, "shared": shared})).hexdigest()
    return replace(untagged, etag=f'"{digest[:32]}"')


def encode(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _class(entry: ClassEntry, entered: str | ClassInput) -> dict[str, Any]:
    """A checked class as JSON values, with its examples as they were sent."""
    checked = {"name": entry.name, "synonyms": list(entry.synonyms), "threshold": entry.threshold}
    if entry.senses:
        [checked["gloss"]] = entry.senses
    if isinstance(entered, str) or not entered.examples:
        return checked
    examples = {
        name: [example.model_dump(mode="json", exclude_none=True) for example in inputs]
        for name, inputs in (("examples", entered.examples), ("negatives", entered.negatives))
    }
    return {**checked, **examples, "words": entry.named}


@cache
def built_in(name: str) -> NamedVocabulary | None:
    """A built-in vocabulary, read once; None for another name."""
    if name not in BUILT_IN_NAMES:
        return None
    listed = class_lists.class_list(name)
    entries: list[str | ClassInput] = [ClassInput(name=one.name, synonyms=list(one.synonyms)) for one in listed.classes]
    class_input = VocabularyInput(classes=entries, background=listed.background, source=listed.source)
    # A smaller limit of this installation applies to the request, not to the built-in list.
    unmarked = named(name, class_input, Limits.model_construct(), built_in=True)
    if listed.stuff is None:
        return unmarked
    # The benchmark's own list of stuff takes precedence over names known as stuff: doors are stuff in COCO only.
    classes = tuple(replace(entry, thing=entry.name not in listed.stuff) for entry in unmarked.vocabulary.classes)
    return replace(unmarked, vocabulary=replace(unmarked.vocabulary, classes=classes))
