"""Classes of a head in a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Limits


def with_learned(vocabulary: Vocabulary, learned: Sequence[ClassEntry], limits: Limits) -> Vocabulary:
    """A vocabulary after the classes of a head.

    Of classes of the same name, the vocabulary's threshold is kept, and all of it where no picture taught the class.
    """
    by_name = {folded(entry.name): entry for entry in vocabulary.classes}
    taught = [(entry, by_name.pop(folded(entry.name), entry)) for entry in learned]
    joined = (
        replace(entry, threshold=own.threshold)
        if entry.is_taught
        else replace(own, name=entry.name, learned=entry.learned)
        for entry, own in taught
    )
    classes = (*joined, *by_name.values())
    if len(classes) > limits.max_classes:
        came = f"{len(classes)} classes with those of the head"
        raise InvalidValue.of("classes", came, f"at most {limits.max_classes}")
    synonyms = {folded(synonym): entry.name for entry in learned for synonym in entry.synonyms}
    for entry in by_name.values():
        for text in (entry.name, *entry.synonyms):
            if folded(text) in synonyms:
                expected = f"other words than those of the head's class {synonyms[folded(text)]!r}"
                raise InvalidValue.of("classes", text, expected)
    return replace(vocabulary, classes=classes)
