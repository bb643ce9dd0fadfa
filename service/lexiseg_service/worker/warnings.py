"""Absent labels and warnings about words, in an answer beside its segments."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_model.segmenter import RowsOf, Segmenter, Unfamiliar
from lexiseg_model.types import AnswerWarning, Prompt, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import unfamiliar_classes

UNFAMILIAR = "unfamiliar-word"
UNSPLIT = "unsplit-words"
STUFF = "stuff-as-instances"
NO_MASK_PROMPTS = "no-mask-prompts"
MAX_WARNINGS = 16  # of a kind; one more line sums up the rest


def absent_labels(segmentation: Segmentation, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Classes without a segment, in their order; none for prompts, which do not search for classes."""
    if segmentation.task in ("prompt", "everything"):
        return ()
    there = {segment.class_index for segment in segmentation.segments}
    absent = [entry for index, entry in enumerate(vocabulary.classes) if index not in there]
    # Stuff has no instances.
    return tuple([entry.name for entry in absent if segmentation.task != "instance" or entry.thing is not False])


def warnings_about(segmenter: Segmenter, vocabulary: Vocabulary, rows_of: RowsOf) -> tuple[AnswerWarning, ...]:
    """Warnings about words far from all words that the model was trained on.

    Of a request's own classes one each, up to `MAX_WARNINGS`, and one for the rest; of a named vocabulary one in all.
    """
    if not vocabulary.classes:
        return ()
    strangers = unfamiliar_classes(segmenter, vocabulary, rows_of)
    if not strangers:
        return ()
    names = [vocabulary.classes[stranger.class_index].name for stranger in strangers]
    model = segmenter.card.name
    if vocabulary.name is not None:
        return (_about_many(names, len(vocabulary.classes), model, "vocabulary"),)
    each = tuple(_about_one(stranger, name, model) for stranger, name in zip(strangers, names, strict=True))
    if len(each) <= MAX_WARNINGS:
        return each
    return (
        *each[: MAX_WARNINGS - 1],
        _about_many(names[MAX_WARNINGS - 1 :], len(vocabulary.classes), model, "classes"),
    )


def warnings_of_prompts(prompts: Sequence[Prompt], model: str) -> tuple[AnswerWarning, ...]:
    """One warning where masks are corrected by a model that takes no masks as prompts."""
    if not any(prompt.corrects for prompt in prompts):
        return ()
    detail = (
        f"{model} takes no masks as prompts: what the points and the box show alone, or the mask's box, was added to "
        "the mask or removed from it"
    )
    return (AnswerWarning(NO_MASK_PROMPTS, detail, "prompts"),)


def warnings_of_words(vocabulary: Vocabulary, task: Task) -> tuple[AnswerWarning, ...]:
    """Warnings about a request's own classes that are probably not what was meant; none for a named vocabulary.

    Commas in a word, and stuff in an instance task; up to `MAX_WARNINGS` of each kind.
    """
    if vocabulary.name is not None:
        return ()
    entries = list(enumerate(vocabulary.classes))
    unsplit = [
        AnswerWarning(
            UNSPLIT,
            f"{entry.name!r} was looked for as one thing; commas never split: send each word as a class of its own",
            f"classes.{index}",
        )
        for index, entry in entries
        if "," in entry.name
    ]
    if task != "instance":
        return tuple(unsplit[:MAX_WARNINGS])
    stuff = [
        AnswerWarning(
            STUFF,
            f"{entry.name!r} has no instances, so none was looked for; ask for semantic or panoptic",
            f"classes.{index}",
        )
        for index, entry in entries
        if entry.thing is False
    ]
    return (*unsplit[:MAX_WARNINGS], *stuff[:MAX_WARNINGS])


def _about_one(stranger: Unfamiliar, name: str, model: str) -> AnswerWarning:
    field = f"classes.{stranger.class_index}"
    if stranger.is_foreign:
        hint = f" (the nearest word of training is {stranger.nearest!r})" if stranger.nearest else ""
        return AnswerWarning(
            UNFAMILIAR,
            f"{name!r} does not look like an English word, and {model} reads English; what it marks is a guess{hint}",
            field,
        )
    return AnswerWarning(
        UNFAMILIAR,
        f"{name!r} is far from every word that {model} was trained on; what it marks is a guess (the nearest is "
        f"{stranger.nearest!r} with a likeness of {stranger.likeness:.2f}, familiar words have {stranger.bound:.2f})",
        field,
    )


def _about_many(names: list[str], n_classes: int, model: str, field: str) -> AnswerWarning:
    shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    return AnswerWarning(
        UNFAMILIAR,
        f"{len(names):,} of {n_classes:,} classes are far from every word that {model} was trained on; what it marks "
        f"as these is a guess: {shown}",
        field,
    )
