"""`tiny` taught by pictures: lessons, and what a head changes in an answer."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue.models import load
from lexiseg_model.errors import ForeignLessonError, TeachingError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.tiny import fine, teaching
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Background, ClassEntry, Learned, Vocabulary
from lexiseg_model.vocabulary import solving
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import MAX_CELLS, UNKNOWN, Head, LabelledPicture, Lesson
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_model.vocabulary.solving import solve

Photographs = dict[str, NDArray[np.uint8]]
TAUGHT, FINE = InferenceOptions(teaching=True), InferenceOptions(teaching=True, fine=True)
NAME = "crockery"


LABELS = np.ones((400, 600), np.int64)  # of the photograph of a cup
LABELS[40:360, 150:480] = 0  # the cup on its saucer, about


def lesson_of(
    tiny: TinySegmenter, rgb: NDArray[np.uint8], labels: NDArray[np.int64], options: InferenceOptions = TAUGHT
) -> Lesson:
    bank = bank_of(tiny, Vocabulary((ClassEntry(NAME),)), KnownRows(tiny))
    return tiny.lesson(tiny.encode(rgb, options), LabelledPicture(labels, (NAME,)), bank)


@pytest.fixture(scope="module")
def cup(tiny: TinySegmenter, photographs: Photographs) -> Features:
    """Kept for teaching. Shared: never change its tensors."""
    return tiny.encode(photographs["coffee"], TAUGHT)


@pytest.fixture(scope="module")
def head(tiny: TinySegmenter, photographs: Photographs) -> Head:
    return solve([lesson_of(tiny, photographs["coffee"], LABELS)], (NAME,))


@pytest.fixture(scope="module")
def taught(head: Head) -> ClassEntry:
    return ClassEntry(NAME, learned=head.learned()[0])


def striped(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A photograph under dark lines of four pixels, half of a cell, and its labels."""
    large = cv2.resize(rgb, (576, 576))
    labels = (np.add.outer(np.arange(576) // 4, np.arange(576)) % 48 >= 4).astype(np.int64)
    return np.where(labels[..., None], large, large // 3).astype(np.uint8), labels


def test_a_head_in_detail_finds_lines_that_are_thinner_than_a_cell(
    tiny: TinySegmenter, photographs: Photographs
) -> None:
    *reviewed, (rgb, labels) = map(striped, list(photographs.values())[-3:])
    lessons = [lesson_of(tiny, *each, FINE) for each in reviewed]

    def iou(head: Head) -> float:
        scores = scored(tiny, tiny.encode(rgb, FINE), ClassEntry(NAME, learned=head.learned()[0]))
        won, truth = winners(scores, labels.shape).labels == 0, labels == 0
        return float((won & truth).sum() / (won | truth).sum())

    head, without = solve(lessons, (NAME,)), solve([replace(each, detail=None) for each in lessons], (NAME,))

    assert (head.is_fine, without.is_fine) == (True, False)
    assert iou(head) > 1.25 * iou(without)
    with pytest.raises(TeachingError, match="without the detail"):
        scored(tiny, tiny.encode(rgb, TAUGHT), ClassEntry(NAME, learned=head.learned()[0]))


def test_the_detail_of_features_leaves_the_rest_as_it_is(
    tiny: TinySegmenter, photographs: Photographs, cup: Features
) -> None:
    detailed = tiny.encode(photographs["coffee"], FINE)

    assert detailed.tensors.keys() - cup.tensors.keys() == set(fine.MAPS)
    assert all(torch.equal(part, detailed.tensors[name]) for name, part in cup.tensors.items())


def scored(tiny: TinySegmenter, features: Features, *classes: ClassEntry, background: bool = True) -> Tensor:
    vocabulary = Vocabulary(classes, Background() if background else None)
    return score_vocabulary(tiny, features, vocabulary, KnownRows(tiny))


def test_what_a_picture_taught_is_found_in_it(tiny: TinySegmenter, cup: Features, taught: ClassEntry) -> None:
    won = scored(tiny, cup, taught).argmax(0).numpy() == 0

    truth = teaching.cell_labels(LABELS, won.shape) == 0
    assert (won & truth).sum() > 0.7 * (won | truth).sum()


@pytest.mark.parametrize("n_pictures", [1, 40])
def test_a_head_paints_little_of_what_it_has_nothing_to_do_with(
    n_pictures: int, tiny: TinySegmenter, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons = [lesson_of(tiny, photographs["coffee"], LABELS)] * n_pictures
    words = tuple(map(ClassEntry, ("person", "sky", "tree", "building")))
    others = [tiny.encode(photographs[name], TAUGHT) for name in ("china", "astronaut")]

    def painted(head: Head) -> float:
        taught = ClassEntry(NAME, learned=head.learned()[0])
        return sum(float((scored(tiny, each, taught, *words).argmax(0) == 0).float().mean()) for each in others)

    head = solve(lessons, (NAME,))
    monkeypatch.setattr(solving, "everyday_lesson", lambda digest: None)
    without = solve(lessons, (NAME,))

    assert painted(head) < 0.3 * painted(without)


@pytest.fixture(scope="module", params=["torch", "onnx-int8"])
def by_runtime(request: pytest.FixtureRequest, photographs: Photographs) -> tuple[TinySegmenter, Features]:
    """A model, and the photograph of a cup kept for teaching."""
    model = load("tiny", device="cpu", runtime=request.param)
    assert isinstance(model, TinySegmenter)
    return model, model.encode(photographs["coffee"], TAUGHT)


@pytest.mark.parametrize("is_taught", [True, False])
def test_words_and_a_head_have_the_scores_that_they_have_without_each_other(
    is_taught: bool, by_runtime: tuple[TinySegmenter, Features], taught: ClassEntry, head: Head
) -> None:
    model, features = by_runtime
    words, by_words = (ClassEntry("spoon"), ClassEntry("table")), Learned(b"", 1.0, head.digest)
    first = taught if is_taught else ClassEntry("saucer", learned=by_words)
    of_head = first, ClassEntry("cup", learned=by_words)

    both, only_words, only_head = (
        model.competing(features, bank_of(model, Vocabulary(classes, None), KnownRows(model)), "none").classes
        for classes in ((*words, *of_head), words, of_head)
    )

    torch.testing.assert_close(both, torch.cat([only_words, only_head]), atol=1e-4, rtol=1e-5)


def test_a_taught_class_takes_no_cell_that_words_give_to_a_class_of_its_head_without_pictures(
    by_runtime: tuple[TinySegmenter, Features], taught: ClassEntry, head: Head
) -> None:
    model, features = by_runtime
    unseen = Learned(b"", 1.0, head.digest)

    by_words = scored(model, features, ClassEntry(NAME), ClassEntry("cup")).argmax(0) == 1
    beside = scored(model, features, taught, ClassEntry("cup")).argmax(0) == 0
    of_head = scored(model, features, taught, ClassEntry("cup", learned=unseen)).argmax(0) == 0

    assert (of_head & by_words).sum() < 0.05 * (beside & by_words).sum(), (
        "only at its edges, which the background decides"
    )
    assert (of_head[~by_words] == beside[~by_words]).float().mean() > 0.9


@pytest.mark.parametrize(("name", "is_like"), [("coffee", True), ("china", False)])
def test_a_class_of_a_place_is_as_taught_in_the_pictures_of_that_place(
    tiny: TinySegmenter, photographs: Photographs, cup: Features, head: Head, name: str, is_like: bool
) -> None:
    learned, features = head.learned()[0], tiny.encode(photographs[name], TAUGHT)
    means = [part.float().mean((1, 2)) for part in teaching.maps_of(cup)]
    place = torch.cat([*means, torch.tensor([1.0, 0.01])]).numpy().tobytes()
    words = ClassEntry(NAME, learned=Learned(b"", 1.0, head.digest))

    in_place, everywhere, by_words = (
        scored(tiny, features, entry)
        for entry in (ClassEntry(NAME, learned=replace(learned, place=place)), ClassEntry(NAME, learned=learned), words)
    )

    assert torch.equal(in_place, everywhere if is_like else by_words)
    assert not torch.equal(everywhere, by_words)


def test_words_of_the_background_count_for_a_taught_class_as_for_its_words(
    tiny: TinySegmenter, cup: Features, head: Head
) -> None:
    learned = head.learned()[0]
    assert learned is not None
    words_alone = replace(learned, direction=bytes(len(learned.direction)), text=1.0)

    by_words = scored(tiny, cup, ClassEntry(NAME))
    beside = scored(tiny, cup, ClassEntry(NAME, learned=words_alone))

    near = (by_words[0] - by_words[1]).abs() < 5  # logits of words count up to a bound
    assert near.any()
    torch.testing.assert_close(beside[0][near], by_words[0][near], atol=1e-3, rtol=0)


def test_a_question_without_a_head_keeps_nothing_for_teaching(coffee: Features, cup: Features) -> None:
    assert cup.tensors.keys() - coffee.tensors.keys() == {"decoded"}  # the larger map
    assert all(torch.equal(part, cup.tensors[name]) for name, part in coffee.tensors.items())


@pytest.mark.parametrize("options", [TAUGHT, FINE])
def test_a_region_is_scored_as_its_cells_are(
    options: InferenceOptions, tiny: TinySegmenter, photographs: Photographs, head: Head
) -> None:
    features, learned = tiny.encode(photographs["coffee"], options), head.learned()[0]
    assert learned is not None
    if options.fine:
        of_detail = np.random.default_rng(0).normal(0, 0.1, fine.SIZE).astype(np.float32)
        learned = replace(learned, direction=of_detail.tobytes() + learned.direction)
    bank = bank_of(tiny, Vocabulary((ClassEntry(NAME, learned=learned),), None), KnownRows(tiny))
    everywhere = torch.ones(1, *features.tensors["pixels"].shape[1:])

    of_region = tiny.region_scores(features, tiny.embed_masks(features, everywhere), bank)

    torch.testing.assert_close(of_region[:, 0], tiny.class_scores(features, bank).mean((1, 2)), atol=1e-2, rtol=1e-2)


def test_a_lesson_is_bounded_and_stands_for_the_whole_picture(tiny: TinySegmenter, photographs: Photographs) -> None:
    lesson = lesson_of(tiny, photographs["coffee"], LABELS)

    assert len(lesson.labels) <= MAX_CELLS
    assert lesson.cells.shape[1] == tiny.teaching_size
    assert lesson.shares.sum() == pytest.approx(1, abs=1e-4)
    assert set(lesson.labels.tolist()) == {0, 1}


def test_a_thing_smaller_than_a_cell_teaches_still(tiny: TinySegmenter, photographs: Photographs) -> None:
    labels = np.full(photographs["coffee"].shape[:2], UNKNOWN)
    labels[100:103, 100:103] = 0

    assert lesson_of(tiny, photographs["coffee"], labels).labels.tolist() == [0]


def test_a_lesson_has_the_scores_of_words_as_they_compete_in_an_answer(tiny: TinySegmenter, cup: Features) -> None:
    names = "cup", "table"
    bank = bank_of(tiny, Vocabulary(tuple(map(ClassEntry, names))), KnownRows(tiny))
    labels = np.full(cup.size, UNKNOWN)
    labels[100:103, 100:103] = 0

    (text,) = tiny.lesson(cup, LabelledPicture(labels, names), bank).text

    answer = tiny.competing(cup, bank, "none").classes
    (cell,) = np.flatnonzero(teaching.cell_labels(labels, (answer.shape[1], answer.shape[2])) == 0)
    first, second = answer.flatten(1)[:2, cell].tolist()
    assert text[0] - text[1] == pytest.approx(first - second, abs=0.02)
    assert tiny.class_scores(cup, bank).flatten(1)[:2, cell].tolist() != pytest.approx([first, second], abs=0.1)


def test_labels_of_another_size_than_the_picture_are_refused(tiny: TinySegmenter, photographs: Photographs) -> None:
    with pytest.raises(TeachingError, match=r"expected labels \[400, 600\].* got \[4, 6\]"):
        lesson_of(tiny, photographs["coffee"], np.zeros((4, 6), np.int64))


def test_a_head_of_other_weights_is_refused(tiny: TinySegmenter, cup: Features, head: Head) -> None:
    learned = head.learned()[0]
    assert learned is not None
    foreign = ClassEntry(NAME, learned=replace(learned, digest="other"))

    with pytest.raises(ForeignLessonError, match="taught to the weights other"):
        scored(tiny, cup, foreign)
