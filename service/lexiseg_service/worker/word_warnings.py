"""Warnings about single words."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.segmenter import Unfamiliar
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.language_names import ENGLISH, name_of, script_of

UNFAMILIAR = "unfamiliar-word"


def ambiguity(name: str, also: Sequence[tuple[str, str]]) -> str:
    meanings = " and ".join(f"{name_of(code)} for {meaning!r}" for code, meaning in also)
    codes = " or ".join(code for code, _ in also)
    return f"{name!r} was read as English, and is {meanings}, too: `language` decides ({codes}, or {ENGLISH})"


def unfamiliar_word(word: Unfamiliar, entry: ClassEntry, model: str) -> AnswerWarning:
    name = entry.name
    if word.is_foreign:
        hint = f" (the nearest word of training is {word.nearest!r})" if word.nearest else ""
        script = script_of(name)
        looks = f"is written in {script}" if script else "does not look like an English word"
        others = f", and by translation {', '.join(entry.tried)}" if entry.tried else ""
        reason = f"{name!r} {looks}, and {model} reads English{others}"
    else:
        reason = f"{name!r} is far from every word that {model} was trained on"
        hint = (
            f" (the nearest is {word.nearest!r} with a likeness of {word.likeness:.2f}, familiar words have "
            f"{word.bound:.2f})"
        )
    return AnswerWarning(UNFAMILIAR, f"{reason}; what it marks is a guess{hint}", f"classes.{word.class_index}")


def summary(names: list[str], n_classes: int, model: str, field: str) -> AnswerWarning:
    listed = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    return AnswerWarning(
        UNFAMILIAR,
        f"{len(names):,} of {n_classes:,} classes are far from every word that {model} was trained on; what it marks "
        f"as these is a guess: {listed}",
        field,
    )
