"""The class list of a request as a Vocabulary, or an error that names the wrong field."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice

from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.class_names import ReadName, folded, plain, read_names
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, Question
from lexiseg_service.settings import Limits

MAX_GLOSS = 512  # characters: what a text tower reads of a sentence


def resolve(question: Question, limits: Limits, named: Vocabulary | None = None) -> Vocabulary:
    """The vocabulary of a question: its own classes, the vocabulary's that it names, or none for only prompts."""
    background = True if question.background is None else question.background
    if named is None and not question.classes and question.head is not None:
        vocabulary = Vocabulary((), _background(background, (), limits))
    elif named is None and not question.classes and (question.prompts or question.task in ("prompt", "everything")):
        return _without_labels(question)
    elif named is None:
        vocabulary = check(question.classes, background, limits)
    else:
        vocabulary = _with_background_of(question, named, limits)
    if vocabulary.background is None and question.threshold:
        raise InvalidValue.of(
            "threshold", question.threshold, "0 with background=false, where every pixel gets a class"
        )
    return vocabulary


def check(
    entries: Sequence[str | ClassInput] | None,
    background: bool | BackgroundInput,
    limits: Limits,
    *,
    name: str | None = None,
) -> Vocabulary:
    """A class list and its background rule as a Vocabulary."""
    if not entries:
        raise InvalidValue.of("classes", entries, "at least one class, or the name of a `vocabulary`")
    if len(entries) > limits.max_classes:
        raise InvalidValue.of("classes", f"{len(entries)} classes", f"at most {limits.max_classes}")
    classes = _classes(entries, limits)
    return Vocabulary(classes, _background(background, classes, limits), name)


def _classes(entries: Sequence[str | ClassInput], limits: Limits) -> tuple[ClassEntry, ...]:
    raw_names = [(entry,) if isinstance(entry, str) else (entry.name, *entry.synonyms) for entry in entries]
    read = iter(read_names(chain.from_iterable(raw_names)))
    names = [tuple(islice(read, len(texts))) for texts in raw_names]
    classes = tuple(_entry(entry, index, names[index], limits) for index, entry in enumerate(entries))
    _refuse_duplicates(names)
    n_bytes = sum(len(text.encode()) for entry in classes for text in (entry.name, *entry.synonyms, *entry.senses))
    if n_bytes > limits.text_bytes:
        raise InvalidValue.of("classes", f"{n_bytes:,} bytes of text", f"at most {limits.text_bytes:,}")
    return classes


def _without_labels(question: Question) -> Vocabulary:
    """The empty vocabulary, which has no use for a background rule."""
    if question.background not in (None, True):
        rule = question.background
        rule_text = rule if isinstance(rule, bool) else rule.model_dump_json(exclude_none=True)
        raise InvalidValue.of("background", rule_text, "null or true where prompts come without classes")
    return Vocabulary(())


def _with_background_of(question: Question, named: Vocabulary, limits: Limits) -> Vocabulary:
    """A named vocabulary with the background rule of the question, if it has one."""
    if len(named.classes) > limits.max_classes:
        raise InvalidValue.of("vocabulary", f"{len(named.classes)} classes", f"at most {limits.max_classes}")
    if question.background is None:
        return named
    return replace(named, background=_background(question.background, named.classes, limits))


def _entry(entry: str | ClassInput, index: int, names: tuple[ReadName, ...], limits: Limits) -> ClassEntry:
    """A class with a name and synonyms of these forms."""
    name, *synonyms = names
    if isinstance(entry, str):
        _check_text(name.plain, entry, f"classes.{index}", limits.max_text_length)
        return ClassEntry(name.plain, thing=name.thing)
    if len(entry.synonyms) > limits.max_synonyms:
        raise InvalidValue.of(
            f"classes.{index}.synonyms", f"{len(entry.synonyms)} synonyms", f"at most {limits.max_synonyms}"
        )
    for position, (synonym, raw) in enumerate(zip(synonyms, entry.synonyms, strict=True)):
        _check_text(synonym.plain, raw, f"classes.{index}.synonyms.{position}", limits.max_text_length)
    _check_text(name.plain, entry.name, f"classes.{index}.name", limits.max_text_length)
    named = entry.words if entry.words is not None else bool(synonyms) or not entry.examples
    if not named and (synonyms or not entry.examples):
        came = "false" + (" beside synonyms" if synonyms else " without examples")
        raise InvalidValue.of(f"classes.{index}.words", came, "true, without examples and with synonyms")
    senses: tuple[str, ...] = ()
    if entry.gloss is not None:
        if not named:
            raise InvalidValue.of(f"classes.{index}.gloss", entry.gloss[:80], "no gloss of a class by examples alone")
        senses = (check_line(entry.gloss, f"classes.{index}.gloss", MAX_GLOSS),)
    texts = tuple(synonym.plain for synonym in synonyms)
    return ClassEntry(name.plain, texts, entry.threshold, name.thing, named=named, senses=senses)


def check_line(raw: str, field: str, max_length: int) -> str:
    """One line of text in its plain form: NFC, without invisible characters and surrounding white space."""
    text = plain(raw)
    _check_text(text, raw, field, max_length)
    return text


def _check_text(text: str, raw: str, field: str, max_length: int) -> None:
    if not text:
        raise InvalidValue.of(field, raw, "a word, not blank")
    if len(text) > max_length:
        raise InvalidValue.of(field, f"{len(text)} characters", f"at most {max_length}")
    # Cc: control characters; Cs: lone surrogates, which UTF-8 cannot encode.
    if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise InvalidValue.of(field, text.encode("unicode_escape").decode(), "text without control characters")


def has_examples(entries: Sequence[str | ClassInput] | None) -> bool:
    return any(isinstance(entry, ClassInput) and (entry.examples or entry.negatives) for entry in entries or ())


def refuse_unsplit(names: Sequence[str], how: str) -> None:
    """Refuse a text of a form or a command line that probably means several classes; `how` to give these there."""
    for index, name in enumerate(names):
        text = name.strip()
        if (len(names) == 1 and "," in name) or (text[:1], text[-1:]) in (("[", "]"), ("{", "}")):
            raise InvalidValue.of(f"classes.{index}", name, f"one class; commas never split: {how}")


def _refuse_duplicates(names: list[tuple[ReadName, ...]]) -> None:
    owners: dict[str, int] = {}
    for index, of_class in enumerate(names):
        for place, name in enumerate(of_class):
            first = owners.setdefault(name.folded, index)
            if first != index:
                raise InvalidValue.of(
                    f"classes.{index}", name.plain, f"a text only once (it is in classes.{first} too)"
                )
            if any(other.folded == name.folded for other in of_class[:place]):
                expected = "each word of a class once; capitals and invisible characters make no other word"
                raise InvalidValue.of(f"classes.{index}", name.plain, expected)


def _background(background: bool | BackgroundInput, classes: Sequence[ClassEntry], limits: Limits) -> Background | None:
    """The background rule; where there is none, no class may have a threshold."""
    if background is False:
        for index, entry in enumerate(classes):
            if entry.threshold:
                raise InvalidValue.of(f"classes.{index}.threshold", entry.threshold, "none with background=false")
        return None
    if background is True:
        return Background()
    words = background.words
    if words is None:
        return Background(None, background.threshold)
    if len(words) > limits.max_classes:
        raise InvalidValue.of("background.words", f"{len(words)} words", f"at most {limits.max_classes}")
    checked = (
        check_line(word, f"background.words.{index}", limits.max_text_length) for index, word in enumerate(words)
    )
    return Background(tuple(checked), background.threshold)


def with_learned(vocabulary: Vocabulary, learned: Sequence[ClassEntry], limits: Limits) -> Vocabulary:
    """A vocabulary after the classes of a head, which keep its thresholds; untaught ones are as the vocabulary says."""
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
