"""Absent labels and warnings of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.internal import Corrections
from lexiseg_model.pictures.colours import Note
from lexiseg_model.tasks import Query
from lexiseg_model.types import Prompt, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import unfamiliar_classes
from lexiseg_model.vocabulary.language_names import ENGLISH
from lexiseg_service.worker.word_warnings import ambiguity, summary, unfamiliar_word

TRANSLATED = "translated-word"
AMBIGUOUS = "ambiguous-language"
UNSPLIT = "unsplit-words"
STUFF = "stuff-as-instances"
NO_MASK_PROMPTS = "no-mask-prompts"
MAX_WARNINGS = 16  # of a kind; one more line sums up the rest


def warnings_of(task: Task, query: Query, notes: Sequence[Note]) -> tuple[AnswerWarning, ...]:
    """All warnings of an answer; `notes`: what the decoder of the image had to guess."""
    image = tuple(AnswerWarning(note.type, f"image: {note.text}", "image") for note in notes)
    prompts: tuple[AnswerWarning, ...] = ()
    if not isinstance(query.segmenter, Corrections):
        prompts = warnings_of_prompts(query.options.prompts, query.segmenter.card.name)
    return (*image, *prompts, *warnings_of_words(query.vocabulary, task), *warnings_about(query))


def absent_labels(segmentation: Segmentation, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Classes without a segment, in their order; none for prompts, which do not search for classes."""
    if segmentation.task in ("prompt", "everything"):
        return ()
    present = {segment.class_index for segment in segmentation.segments}
    absent = [entry for index, entry in enumerate(vocabulary.classes) if index not in present]
    # Stuff has no instances.
    return tuple([entry.name for entry in absent if segmentation.task != "instance" or entry.thing is not False])


def warnings_about(query: Query) -> tuple[AnswerWarning, ...]:
    """Warnings about words far from all words that the model was trained on.

    Of a request's own classes one each, up to `MAX_WARNINGS`, and one for the rest; of a named vocabulary one in all.
    """
    segmenter, vocabulary = query.segmenter, query.vocabulary
    unfamiliar = []
    if vocabulary.classes:
        candidates = unfamiliar_classes(segmenter, vocabulary, query.rows_of, query.bank)
        # A taught class is no guess.
        unfamiliar = [each for each in candidates if not vocabulary.classes[each.class_index].is_taught]
    field = "classes" if vocabulary.name is None else "vocabulary"
    n_alone = len(unfamiliar) if len(unfamiliar) <= MAX_WARNINGS else MAX_WARNINGS - 1
    if vocabulary.name is not None:
        n_alone = 0
    model = segmenter.card.name
    warnings = [unfamiliar_word(each, vocabulary.classes[each.class_index], model) for each in unfamiliar[:n_alone]]
    if rest := [vocabulary.classes[each.class_index].name for each in unfamiliar[n_alone:]]:
        warnings.append(summary(rest, len(vocabulary.classes), model, field))
    return tuple(warnings)


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

    Words of other languages, words that may be, commas in a word, and stuff in an instance task; up to `MAX_WARNINGS`
    of each kind.
    """
    if vocabulary.name is not None:
        return ()
    translated, ambiguous, unsplit, stuff = [], [], [], []
    for index, entry in enumerate(vocabulary.classes):
        name, field = entry.name, f"classes.{index}"
        if entry.read_as:
            detail = f"{name!r} was read as {', '.join(map(repr, entry.read_as))}: `language` {ENGLISH} keeps it"
            translated.append(AnswerWarning(TRANSLATED, detail, field))
        if entry.also:
            ambiguous.append(AnswerWarning(AMBIGUOUS, ambiguity(name, entry.also), field))
        if "," in name:
            detail = f"{name!r} was looked for as one thing; commas never split: send each word as a class of its own"
            unsplit.append(AnswerWarning(UNSPLIT, detail, field))
        if task == "instance" and entry.thing is False:
            detail = f"{name!r} has no instances, so none was looked for; ask for semantic or panoptic"
            stuff.append(AnswerWarning(STUFF, detail, field))
    return tuple([warning for kind in (translated, ambiguous, unsplit, stuff) for warning in kind[:MAX_WARNINGS]])
