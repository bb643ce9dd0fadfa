"""Heads: lessons of pictures in numbers, and what is learned from them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import ForeignLessonError, TeachingError
from lexiseg_model.types import Learned
from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES, Head, LabelledPicture, Lesson, TaughtClass
from lexiseg_model.vocabulary.solving import learn, solve
from tests.kernel import both_ways

CLASSES = ("mug", "plate")
MUG, PLATE, NOBODY = 0, 1, 2


def lesson(seed: int = 0, labels: tuple[int, ...] = (MUG, PLATE, NOBODY), classes: tuple[str, ...] = CLASSES) -> Lesson:
    """Ten cells of each label, around a place of its own; words know nothing."""
    rng = np.random.default_rng(seed)
    of_cells = np.repeat(np.array(labels, np.int16), 10)
    cells = np.zeros((len(of_cells), 9))
    cells[np.arange(len(of_cells)), of_cells + 1] = 3
    cells += rng.normal(0, 0.3, cells.shape)
    cells[:, 4] = [-4, 4, 0, -2, 2][seed % 5]  # pictures differ
    cells[:, -1] = 1
    shares = np.full(len(of_cells), 1 / len(of_cells), np.float32)
    text = np.full((len(of_cells), len(classes)), -1, np.float16)
    return Lesson("weights", classes, cells.astype(np.float16), of_cells, shares, text)


def labels_by(head: Head, other: Lesson) -> list[int]:
    scores = other.cells.astype(np.float32) @ head.directions.T
    return [int(row.argmax()) for row in np.concatenate([scores, np.zeros((len(scores), 1))], 1)]


def test_a_head_finds_in_other_pictures_what_it_was_taught() -> None:
    head = solve([lesson(0), lesson(1), lesson(2)], CLASSES)

    assert labels_by(head, lesson(3)) == lesson(3).labels.tolist()
    assert [(entry.iou_taught, entry.iou_range) for entry in head.classes] == [(None, (100.0, 100.0))] * 2
    assert [entry.pictures for entry in head.classes] == [3, 3]


def noisy(seed: int) -> Lesson:
    """A picture of which little is told by so few cells as a lesson has."""
    rng = np.random.default_rng(seed)
    taught, cells = lesson(seed, (MUG, PLATE, NOBODY) * 4), rng.normal(0, 1, (120, 160))
    cells[:, :3] += taught.labels[:, None] == np.arange(3)
    cells[:, 4:10] = rng.normal(0, 2, 6)  # pictures differ
    cells[:, -1] = 1
    return replace(taught, cells=cells.astype(np.float16), text=np.full((120, 2), -1, np.float16))


def test_the_figure_of_few_pictures_is_a_range_in_which_that_of_others_is() -> None:
    few, many = (solve([noisy(seed) for seed in range(n)], CLASSES) for n in (4, 5))
    unseen = [noisy(seed) for seed in range(100, 140)]
    found = np.concatenate([labels_by(few, each) for each in unseen])
    labels = np.concatenate([each.labels for each in unseen])

    for number, entry in enumerate(few.classes):
        assert entry.iou_taught is None
        assert entry.iou_range is not None
        low, high = entry.iou_range
        own, truth = found == number, labels == number
        assert low - 5 < 100 * (own & truth).sum() / (own | truth).sum() < high
    assert [(entry.iou_taught is None, entry.iou_range) for entry in many.classes] == [(False, None)] * 2


def test_iou_counts_pixels_also_those_that_differ_from_the_rest_of_their_cell() -> None:
    lessons = [lesson(seed) for seed in range(4)]
    half = [replace(each, pixels=(each.votes + each.votes[:, ::-1]) // 2) for each in lessons]  # of mugs and of nobody

    (of_cells, _), (of_pixels, plate) = (solve(some, CLASSES).classes for some in (lessons, half))

    assert of_cells.iou_range == (100.0, 100.0)
    assert of_pixels.iou_range == (33.3, 33.3)
    assert plate.iou_range == (100.0, 100.0)


def test_more_pictures_are_wanted_until_the_learning_curve_is_flat() -> None:
    steep, flat = (solve([of(seed) for seed in range(n)], CLASSES) for of, n in ((noisy, 8), (lesson, 12)))

    assert all(entry.wants > 10 for entry in steep.classes)
    assert [entry.wants for entry in flat.classes] == [0, 0]


def test_words_that_do_not_know_a_class_hide_little_of_it_after_few_pictures() -> None:
    def misread(seed: int) -> Lesson:
        text = np.random.default_rng(seed).uniform(-60, -1, (30, 2))
        return replace(lesson(seed), text=text.astype(np.float16))

    head, unseen = solve([misread(0), misread(1)], CLASSES), misread(2)

    scores = unseen.cells.astype(np.float32) @ head.directions.T + head.text * unseen.text
    assert np.mean((scores[:20] > 0).any(1)) > 0.8


def test_a_picture_that_was_not_reviewed_for_a_class_is_no_negative_of_it() -> None:
    of_mugs = lesson(0, (MUG, NOBODY))
    # Here plates lie about that nobody looked for: what the picture calls `none of the classes` is none but a mug.
    unseen = replace(lesson(1, (0, 1), ("mug",)), labels=np.repeat(np.array([0, 1], np.int16), 10))

    head = solve([lesson(2), of_mugs, unseen], CLASSES)

    assert labels_by(head, lesson(3)) == lesson(3).labels.tolist()


def test_a_class_without_pictures_keeps_the_score_of_its_words() -> None:
    head = solve([lesson(0, classes=("mug", "plate"))], ("mug", "plate", "spoon"))

    assert head.learned()[2] == Learned(b"", 1.0, head.digest)
    assert head.classes[2].wants > 0


def test_classes_that_words_find_better_keep_the_score_of_their_words() -> None:
    def known_by_words(seed: int) -> Lesson:
        rng = np.random.default_rng(seed)
        taught = lesson(seed)
        text = (taught.labels[:, None] == [MUG, PLATE]) - 0.5
        misleading = np.append(rng.normal(0, 1, (len(text), 8)), np.ones((len(text), 1)), 1)
        return replace(taught, cells=misleading.astype(np.float16), text=text.astype(np.float16))

    head = solve([known_by_words(seed) for seed in range(2)], CLASSES)
    sure_head = solve([known_by_words(seed) for seed in range(4)], CLASSES)

    assert head.learned() == sure_head.learned() == (Learned(b"", 1.0, "weights"),) * 2
    assert [entry["kept"] for entry in head.report()] == ["words", "words"]


@pytest.mark.parametrize(("where_words_fail", "kept"), [({4}, "words"), ({1, 2, 3, 4}, None)])
def test_a_gain_of_one_picture_of_five_may_be_chance(where_words_fail: set[int], kept: str | None) -> None:
    def part_by_words(seed: int) -> Lesson:
        taught = lesson(seed)
        text = (
            np.full((30, 2), -1.0) if seed in where_words_fail else 8.0 * (taught.labels[:, None] == [MUG, PLATE]) - 4
        )
        noise = np.random.default_rng(seed).normal(0, 1, taught.cells.shape) * (np.arange(9) < 3)
        return replace(taught, cells=(taught.cells + noise).astype(np.float16), text=text.astype(np.float16))

    report = solve([part_by_words(seed) for seed in range(5)], CLASSES).report()

    assert all(entry["iou_words"] < 90 for entry in report)
    assert [entry["kept"] for entry in report] == [kept, kept]


@pytest.mark.parametrize("plate_by_words", [2, -1])
def test_one_picture_teaches_no_class_that_words_see_under_another(plate_by_words: int) -> None:
    text = np.full((30, 2), -1, np.float16)
    text[10:20] = 4, plate_by_words  # its plate is found as a mug

    head = solve([replace(lesson(0), text=text)], CLASSES)

    assert head.report()[PLATE]["kept"] == ("words" if plate_by_words > 0 else None)


@pytest.mark.parametrize(("n_by_words", "others_by_words", "kept"), [(1, -1, None), (1, 4, "words"), (3, -1, "words")])
def test_one_picture_teaches_a_class_that_words_hardly_find(
    n_by_words: int, others_by_words: int, kept: str | None
) -> None:
    text = np.full((30, 2), -1, np.float16)
    text[10:20, MUG] = others_by_words  # the words take the other cells of plates for mugs, or for nobody's
    text[10 : 10 + n_by_words] = -1, 1
    text[20:, PLATE] = 1

    reports = both_ways(lambda: solve([replace(lesson(0), text=text)], CLASSES).report()[PLATE])

    assert [report["kept"] for report in reports] == [kept] * 2


@pytest.mark.parametrize(("seeds", "is_nearby"), [((0, 5), True), ((0, 5, 10), True), ((0, 1, 2, 3), False)])
def test_what_like_pictures_teach_of_a_class_that_words_find_holds_for_such_pictures(
    seeds: tuple[int, ...], is_nearby: bool
) -> None:
    def part_by_words(seed: int) -> Lesson:
        taught = lesson(seed)
        text = np.full((30, 2), -1, np.float16)
        text[10:13, PLATE] = 1  # words find three cells of ten
        return replace(taught, text=text)

    lessons = [part_by_words(seed) for seed in seeds]

    head, by_numpy = both_ways(lambda: solve(lessons, CLASSES))

    assert [entry["kept"] for entry in head.report()] == [None, None]
    assert [bool(learned.place) for learned in head.learned()] == [False, is_nearby]
    assert head.classes[PLATE].iou_range == by_numpy.classes[PLATE].iou_range is not None
    assert Head.from_bytes(head.to_bytes()).learned() == head.learned()
    if is_nearby:
        assert head.places is not None
        assert by_numpy.places is not None
        np.testing.assert_allclose(head.places, by_numpy.places, rtol=1e-5)
        np.testing.assert_allclose(head.directions, by_numpy.directions, atol=2e-4)
        *mean, radius = head.places[PLATE]
        apart = [((each.cells.astype(np.float32).mean(0) - mean) ** 2).sum() / radius for each in map(lesson, (15, 4))]
        assert apart[0] < 1 < apart[1]


@pytest.mark.parametrize(("n_by_words", "has_place"), [(3, True), (0, False)])
def test_a_class_of_two_looks_holds_for_all_pictures_unless_words_find_some_of_it(
    n_by_words: int, has_place: bool
) -> None:
    def look(seed: int) -> Lesson:
        taught = lesson(seed)
        cells, text = taught.cells.copy(), np.full((30, 2), -1, np.float16)
        if seed % 5:  # plates are unlike those of the other pictures
            cells[10:20, [2, 5]] = cells[10:20, [5, 2]]
        text[10 : 10 + n_by_words, PLATE] = 1
        return replace(taught, cells=cells, text=text)

    heads = both_ways(lambda: solve([look(seed) for seed in (0, 5, 1, 6)], CLASSES))

    assert [head.report()[PLATE]["kept"] for head in heads] == [None, None]
    assert [bool(head.learned()[PLATE].place) for head in heads] == [has_place] * 2


def test_like_pictures_are_not_compared_with_each_other() -> None:
    alike = solve([lesson(0), lesson(0), lesson(5)], CLASSES)
    with_another = solve([lesson(0), lesson(0), lesson(1)], CLASSES)

    assert [(entry.pictures, entry.iou_range) for entry in alike.classes] == [(3, None)] * 2
    assert [(entry.pictures, entry.iou_range) for entry in with_another.classes] == [(3, (100.0, 100.0))] * 2


@pytest.mark.parametrize("words_know", [False, True])
def test_a_head_learns_from_everyday_photographs_what_it_is_not_unless_words_know_the_class(words_know: bool) -> None:
    lessons = [lesson(seed) for seed in range(4)]
    if words_know:
        text = [8.0 * (np.arange(2) == each.labels[:, None]) - 4 for each in lessons]
        lessons = [replace(each, text=own.astype(np.float16)) for each, own in zip(lessons, text, strict=True)]
    unlike = replace(lesson(9, (NOBODY,) * 3), cells=np.zeros((30, 9), np.float16))
    unlike.cells[:, [1, 6, 8]] = 3, 3, 1  # the first as a mug has it

    without, with_everyday = (learn(lessons, CLASSES, None, everyday) for everyday in (None, unlike))

    fires = [float((unlike.cells @ each.directions[MUG]).mean()) for each in (without, with_everyday)]
    assert words_know or fires[0] > 0 > fires[1]
    assert np.allclose(without.directions, with_everyday.directions) == words_know
    np.testing.assert_array_equal(without.counts[0], with_everyday.counts[0])


def test_many_pictures_of_a_class_that_words_do_not_know_leave_out_what_it_may_not_be() -> None:
    doubtful = np.array([0, 1.5, 0, 1.5, 0, 0, 0, 0, 1])  # half a mug, half nothing

    few, many = (solve([lesson(seed) for seed in range(n)], CLASSES) for n in (5, 40))

    scores = [float(head.directions[MUG] @ doubtful - head.text[MUG]) for head in (few, many)]
    assert scores[0] > 0 > -1 > scores[1]
    assert labels_by(many, lesson(50)) == lesson(50).labels.tolist()


def with_detail(seed: int, tells: bool) -> Lesson:
    """A lesson of cells that say little; its detail `tells` the labels, or is noise."""
    taught, noise = lesson(seed), np.random.default_rng(seed).normal(0, 1, (30, 9))
    noise[:, 4:] = taught.cells[:, 4:]  # pictures differ, and 1 is last
    detail = taught.cells[:, :4] if tells else noise[:, :4].astype(np.float16)
    return replace(taught, cells=noise.astype(np.float16), detail=detail)


@pytest.mark.parametrize("tells", [True, False])
def test_a_head_uses_detail_where_it_finds_more_in_pictures_that_were_left_out(tells: bool) -> None:
    lessons = [with_detail(seed, tells) for seed in range(4)]

    head = solve(lessons, CLASSES)

    assert (head.is_fine, head.directions.shape[1]) == ((True, 13) if tells else (False, 9))
    assert Head.from_bytes(head.to_bytes()).to_bytes() == head.to_bytes()
    assert not solve([*lessons, lesson(4)], CLASSES).is_fine  # one of a release without detail
    if tells:
        assert labels_by(head, with_detail(4, tells).in_detail()) == lesson(4).labels.tolist()


@pytest.mark.parametrize("kind", [Lesson, Head])
def test_a_lesson_and_a_head_are_read_as_they_were_kept(kind: type[Lesson] | type[Head]) -> None:
    kept = (with_detail(0, True) if kind is Lesson else solve([lesson(0), lesson(1)], CLASSES)).to_bytes()

    assert kind.from_bytes(kept).to_bytes() == kept
    for damaged in (b"", b"PK\3\4", kept[:-1], kept[:60] + b"\0" + kept[61:]):
        with pytest.raises(TeachingError, match="expected a"):
            kind.from_bytes(damaged)


def edited(content: bytes, edit: Callable[[dict[str, Any]], object], numbers: bytes | None = None) -> bytes:
    """What was kept, with another header or other numbers, and a digest that fits."""
    start = 44 + int.from_bytes(content[40:44], "little")
    header = json.loads(content[44:start])
    edit(header)
    written = json.dumps(header).encode()
    rest = len(written).to_bytes(4, "little") + written + (content[start:] if numbers is None else numbers)
    return content[:8] + hashlib.sha256(rest).digest() + rest


EMPTY = Head(
    "weights", (TaughtClass("mug", 1), TaughtClass("plate", 1)), np.zeros((2, 9), np.float32), np.zeros(2, np.float32)
)


EDITS: list[Callable[[dict[str, Any]], object]] = [
    lambda header: header.update(arrays=[]),
    lambda header: header.update(about=[]),
    lambda header: header["about"].update(digest=7),
    lambda header: header["about"].update(digest="\ud800"),
    lambda header: header["about"].update(classes=[]),
    lambda header: header["about"].update(classes="ab"),
    lambda header: header["about"].update(classes=[7, 8]),
    lambda header: header["about"]["classes"].append(header["about"]["classes"][0]),
    lambda header: header["about"].pop("classes"),
    lambda header: header["arrays"].pop("text"),
    lambda header: header["arrays"].update(more=["f4", 0]),
    *(
        lambda header, layout=layout: header["arrays"].update(text=layout)
        for layout in (["f8", 2], ["O", 2], [["f2"], 2], "f2", 7, ["f2", -1], ["f4", -1, 2], ["f2", 2**40, 2**40])
    ),
    lambda header: header["arrays"]["text"].__setitem__(1, 2**70),
    lambda header: header["arrays"]["text"].__setitem__(1, True),
    lambda header: header["arrays"]["text"].__setitem__(1, 1.0),
]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", [Lesson, Head])
def test_a_header_that_lies_is_refused(
    kind: type[Lesson] | type[Head], edit: Callable[[dict[str, Any]], object]
) -> None:
    kept = (lesson() if kind is Lesson else EMPTY).to_bytes()

    with pytest.raises(TeachingError, match="expected"):
        kind.from_bytes(edited(kept, edit))


@pytest.mark.parametrize("kind", [Lesson, Head])
def test_countless_classes_are_refused_by_their_number(kind: type[Lesson] | type[Head]) -> None:
    kept = (lesson() if kind is Lesson else EMPTY).to_bytes()

    with pytest.raises(TeachingError, match="at most 128"):
        kind.from_bytes(edited(kept, lambda header: header["about"].update(classes=[7] * 300_000)))


@pytest.mark.parametrize(
    ("whole", "changes", "message"),
    [
        (lesson(), {"cells": np.full((30, 9), np.inf, np.float16)}, "cells: expected finite numbers"),
        (lesson(), {"text": np.full((30, 2), np.nan, np.float16)}, "text: expected finite numbers"),
        (lesson(), {"text": np.zeros((30, 3), np.float16)}, "up to 512 cells"),
        (lesson(), {"labels": np.full(30, 3, np.int16)}, "labels of 0 to 2"),
        (lesson(), {"labels": np.full(30, -1, np.int16)}, "labels of 0 to 2"),
        (lesson(), {"shares": np.full(30, 1, np.float32)}, "whose sum is 1"),
        (lesson(), {"shares": np.linspace(-1, 1, 30, dtype=np.float32)}, "whose sum is 1"),
        (lesson(), {"classes": ("mug", "mug")}, "got one twice"),
        (EMPTY, {"directions": np.full((2, 9), np.nan, np.float32)}, "directions: expected finite numbers"),
        (EMPTY, {"directions": np.full((2, 9), 1e30, np.float32)}, "directions up to 1048576"),
        (EMPTY, {"directions": np.zeros((3, 9), np.float32)}, "directions of 2 classes, got 3"),
        (EMPTY, {"text": np.full(2, -1, np.float32)}, "factors of text in 0..1"),
        (EMPTY, {"pictures": -1}, "another pictures"),
        (EMPTY, {"classes": (TaughtClass("mug", 1, float("nan"), 3.0), EMPTY.classes[1])}, "classes.0.iou_words"),
        (EMPTY, {"classes": (TaughtClass("mug", 1.5), EMPTY.classes[1])}, "classes.0.pictures"),  # type: ignore[arg-type]
    ],
)
def test_numbers_that_no_pictures_make_are_refused(whole: Lesson | Head, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TeachingError, match=message):
        type(whole).from_bytes(replace(whole, **changes).to_bytes())


@pytest.mark.parametrize("kind", [Lesson, Head])
def test_bytes_by_chance_are_refused(kind: type[Lesson] | type[Head]) -> None:
    rng = np.random.default_rng(0)
    kept = lesson().to_bytes()
    for _ in range(300):
        rest = rng.bytes(int(rng.integers(0, 400)))
        with pytest.raises(TeachingError):
            kind.from_bytes(kept[:8] + hashlib.sha256(rest).digest() + rest)


BRACKETS = (200_000).to_bytes(4, "little") + b"[" * 200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lesson().to_bytes()[:8] + hashlib.sha256(BRACKETS).digest() + BRACKETS, "cannot be read"),
        (b"lexiseg2" + lesson().to_bytes()[8:], "send the pictures again"),
        (lesson().to_bytes(), "expected a head, got a lesson"),
    ],
    ids=["many brackets", "another version of the layout", "a lesson"],
)
def test_what_is_no_head_of_this_release_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(TeachingError, match=message):
        Head.from_bytes(content)


def test_what_0_3_0_kept_is_of_no_weights_and_stays_as_it_is() -> None:
    kept = lesson().to_bytes(), solve([lesson(0), lesson(1)], CLASSES).to_bytes()
    old_lesson, old_head = (edited(each, lambda header: header["about"].update(digest="weights")) for each in kept)

    read, head = Lesson.from_bytes(old_lesson), Head.from_bytes(old_head)

    assert read.digest == head.digest == "weights by another release"
    assert (read.to_bytes(), head.to_bytes()) == (old_lesson, old_head)
    with pytest.raises(ForeignLessonError, match="some of weights by another release: send the pictures again"):
        solve([lesson(), read], CLASSES)


def test_lessons_teach_the_same_before_and_after_they_were_kept() -> None:
    lessons = [lesson(0), lesson(1)]
    by_columns = [replace(each, cells=np.asfortranarray(each.cells)) for each in lessons]

    assert solve(by_columns, CLASSES).version == solve(lessons, CLASSES).version


@pytest.mark.parametrize(
    ("lessons", "classes", "message"),
    [
        ([lesson()], [f"class {number}" for number in range(2_000)], f"1 to {MAX_CLASSES} classes, got 2000"),
        ([lesson()] * 5_000, CLASSES, f"1 to {MAX_PICTURES} reviewed pictures, got 5000"),
        ([], CLASSES, "got 0"),
        ([lesson(0, (MUG,))], CLASSES, "all labelled pixels are 'mug'"),
        ([lesson(0, (NOBODY,))], CLASSES, "all labelled pixels are none of the classes"),
        ([lesson()], ("mug", "mug"), "got one twice"),
    ],
)
def test_what_cannot_teach_is_refused_in_a_sentence(lessons: list[Lesson], classes: list[str], message: str) -> None:
    with pytest.raises(TeachingError, match=message):
        solve(lessons, classes)


def test_pictures_of_another_version_of_the_model_are_refused() -> None:
    with pytest.raises(ForeignLessonError, match="some of weights and some of other"):
        solve([lesson(), replace(lesson(), digest="other")], CLASSES)


@pytest.mark.parametrize("labels", [np.full((4, 4), -1), np.full((4, 4), 3), np.zeros((4,), int)])
def test_a_picture_in_which_nothing_is_labelled_is_refused(labels: NDArray[np.int64]) -> None:
    with pytest.raises(TeachingError, match="expected"):
        LabelledPicture(labels, CLASSES)
