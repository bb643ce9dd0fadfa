"""Absent labels and warnings of an answer, by a model that knows colours only."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from lexiseg_model import tasks
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry, Task, Vocabulary
from lexiseg_service.worker.finish import (
    AMBIGUOUS,
    MAX_WARNINGS,
    RELATION,
    STUFF,
    UNFAMILIAR,
    absent_labels,
    as_bytes,
    warnings_about,
    warnings_of_words,
)
from tests.model.stand_in import COLOURS, SAME_AS, ColourSegmenter, picture


class Colourist(ColourSegmenter):
    """Knows the names of colours, and that it knows no others."""

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        known = {*COLOURS, *SAME_AS}
        return [
            Unfamiliar(index, "red", 0.25, 0.6) for index, entry in enumerate(classes) if not known & {*entry.texts}
        ]


COLOURIST = Colourist(tasks=("semantic", "instance", "panoptic", "prompt"))


def vocabulary(*names: str, name: str | None = None) -> Vocabulary:
    return Vocabulary(tuple(ClassEntry(name) for name in names), name=name)


def query(asked: Vocabulary, model: ColourSegmenter = COLOURIST) -> tasks.Query:
    features = model.encode(picture(["rrrrgggg"] * 8))
    return tasks.Query(model, features, asked, tasks.Options(), model.encode_texts)


@pytest.mark.parametrize(
    ("task", "absent"), [("instance", ("blue", "violin")), ("panoptic", ("blue", "sea", "violin"))]
)
def test_labels_that_no_segment_has_are_absent_but_stuff_is_from_no_instance_task(
    task: Task, absent: tuple[str, ...]
) -> None:
    stuff = (ClassEntry("red", thing=False), ClassEntry("sea", thing=False))
    asked = Vocabulary((stuff[0], ClassEntry("blue", thing=True), stuff[1], ClassEntry("violin"), ClassEntry("green")))

    assert absent_labels(tasks.answer(task, query(asked)), asked) == absent


def test_each_unfamiliar_word_has_a_warning() -> None:
    found = warnings_about(query(vocabulary("red", "violin", "green", "quark")))

    assert [(warning.type, warning.field) for warning in found] == [
        (UNFAMILIAR, "classes.1"),
        (UNFAMILIAR, "classes.3"),
    ]
    assert "'violin' is far from every word that colours was trained on" in found[0].detail
    assert "nearest is 'red' with a likeness of 0.25, familiar words have 0.60" in found[0].detail


@pytest.mark.parametrize(
    ("word", "begins"),
    [
        (ClassEntry("rot"), "'rot' does not look like an English word, and colours reads English;"),
        (
            ClassEntry("κόκκινο", tried=("German", "Russian")),
            "'κόκκινο' is written in Greek letters, and colours reads English, and by translation German, Russian;",
        ),
    ],
)
def test_a_foreign_word_has_its_own_warning(word: ClassEntry, begins: str) -> None:
    class Reader(ColourSegmenter):
        def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
            return [Unfamiliar(0, "red", 0.8, 0.6, is_foreign=True)]

    (found,) = warnings_about(query(Vocabulary((word,)), Reader(tasks=("semantic",))))

    assert (found.type, found.detail[: len(begins)]) == (UNFAMILIAR, begins)


@pytest.mark.parametrize(
    ("entry", "task", "type_", "begins"),
    [
        (
            ClassEntry("pan", also=(("es", "bread"), ("fr", "flap"))), "semantic", AMBIGUOUS,
            "'pan' was read as English, and is Spanish for 'bread' and French for 'flap', too: `language` decides "
            "(es or fr, or en)",
        ),
        (ClassEntry("sea,blue"), "semantic", "unsplit-words", "'sea,blue' was looked for as one thing; commas"),
        (ClassEntry("dog on the porch"), "semantic", RELATION, "'dog on the porch' was looked for by its words;"),
        (ClassEntry("red", thing=False), "instance", STUFF, "'red' has no instances, so none was looked for"),
    ],
)  # fmt: skip
def test_a_word_that_is_probably_not_what_was_meant_has_a_warning(
    entry: ClassEntry, task: Task, type_: str, begins: str
) -> None:
    asked = Vocabulary((ClassEntry("sky", thing=True), entry))

    (warning,) = warnings_of_words(asked, task)

    assert (warning.type, warning.field, warning.detail[: len(begins)]) == (type_, "classes.1", begins)
    assert warnings_of_words(replace(asked, name="mine"), task) == ()
    assert warnings_of_words(asked, task, reads_phrases=True) == (() if type_ == RELATION else (warning,))


def test_the_last_of_many_warnings_counts_the_rest() -> None:
    asked = vocabulary(*(f"thing {number}" for number in range(MAX_WARNINGS + 4)), "red")

    found = warnings_about(query(asked))

    assert len(found) == MAX_WARNINGS
    assert found[-1].field == "classes"
    assert found[-1].detail.startswith(f"5 of {MAX_WARNINGS + 5} classes are far")
    assert found[-1].detail.endswith("'thing 15', 'thing 16', 'thing 17', 'thing 18', 'thing 19'")


def test_a_named_vocabulary_has_one_warning() -> None:
    asked = vocabulary("red", "violin", "quark", name="curiosities")

    (warning,) = warnings_about(query(asked))

    assert warning.field == "vocabulary"
    assert warning.detail.startswith("2 of 3 classes are far")


def test_probabilities_are_rounded_to_bytes_some_rows_at_a_time() -> None:
    probability = np.random.default_rng(0).random((3000, 1001), np.float32)
    expected = np.rint(255 * probability).astype(np.uint8)

    tracemalloc.start()
    try:
        made = as_bytes(probability)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert np.array_equal(made, expected)
    assert most < 2 * made.nbytes
