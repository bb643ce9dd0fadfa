"""Classes that compete for every pixel, and meanings of a word, over a Segmenter with known answers."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_labels.answers import Sense
from lexiseg_model.cards import ScoreRule
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Competing, TextBank
from lexiseg_model.tasks import Options, Query, segment
from lexiseg_model.tasks.senses import chosen_senses
from lexiseg_model.types import Background, ClassEntry, Refinement, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from tests.model.stand_in import BACKGROUND_LOGIT, SCALE, ColourSegmenter, picture
from tests.model.tasks import asking

FLAG = ["rrggbb", "rrggbb", "rrggbb", "rrgg.."]  # 8 red, 8 green, 6 blue, 2 black


ask = partial(asking.ask, "semantic")


class _Fixed(ColourSegmenter):
    """Pixel [y, x] belongs to class `owners[y, x]`, whatever the image."""

    def __init__(self, owners: NDArray[np.int64]) -> None:
        super().__init__()
        self._owners = owners

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        return SCALE * (torch.arange(bank.n_classes)[:, None, None] == torch.from_numpy(self._owners)).float()


def labels(answer: Segmentation) -> list[str | None]:
    return [segment.label for segment in answer.segments]


def areas(answer: Segmentation) -> dict[str | None, int]:
    return {segment.label: segment.area for segment in answer.segments}


def test_a_class_index_counts_in_the_request() -> None:
    answer = ask(FLAG, "zebra", "blue", "violin", "red")

    assert [(segment.label, segment.class_index) for segment in answer.segments] == [("blue", 1), ("red", 3)]


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_without_a_label_map_the_segments_are_the_same(task: Task) -> None:
    whole = asking.ask(task, FLAG, "zebra", "blue", "red")

    lean = asking.ask(task, FLAG, "zebra", "blue", "red", keep_label_map=False)

    assert lean.segments == whole.segments
    assert lean.label_map.shape == (0, 0)


@given(
    st.lists(st.text("rgb.", min_size=5, max_size=5), min_size=1, max_size=6),
    st.lists(st.sampled_from(["red", "green", "blue", "crimson", "zebra"]), min_size=1, unique=True),
    st.floats(0, 1),
)
def test_with_a_background_masks_are_disjoint_and_the_rest_is_zero(
    rows: list[str], classes: list[str], threshold: float
) -> None:
    answer = ask(rows, *classes, threshold=threshold)

    covered = asking.stacked(answer).sum(0) if answer.segments else np.zeros(answer.size, int)
    assert covered.max() <= 1
    np.testing.assert_array_equal(covered == 1, answer.label_map > 0)


def test_a_score_is_the_mean_probability_among_classes_and_background() -> None:
    segment = ask(["rr"], "red", "green").segments[0]

    expected = math.exp(SCALE) / (math.exp(SCALE) + 1 + math.exp(BACKGROUND_LOGIT))
    assert segment.score == pytest.approx(expected, rel=1e-4)


def test_a_threshold_of_a_class_goes_before_that_of_the_request() -> None:
    answer = ask(FLAG, ClassEntry("red", threshold=1.0), ClassEntry("green", threshold=0.0), "blue", threshold=0.99)

    assert labels(answer) == ["green"]


def test_the_ids_of_kept_segments_close_the_gap_of_a_dropped_one() -> None:
    answer = ask(FLAG, "red", ClassEntry("green", threshold=1.0), "blue")

    assert [(segment.id, segment.label) for segment in answer.segments] == [(1, "red"), (2, "blue")]
    assert np.unique(answer.label_map).tolist() == [0, 1, 2]


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_words_of_which_nothing_else_was_found_have_doubtful_segments_where_these_are_asked_for(task: Task) -> None:
    classes = (ClassEntry("red", threshold=1.0), "blue", ClassEntry("green", threshold=1.0), "zebra")

    answer = asking.ask(task, FLAG, *classes, doubtful=True)

    assert [(each.id, each.label, each.doubtful) for each in answer.segments] == [
        (1, "red", True), (2, "blue", False), (3, "green", True),
    ]  # fmt: skip
    assert np.unique(answer.label_map).tolist() == [0, 1, 2, 3]


def test_a_class_with_a_segment_has_no_doubtful_ones() -> None:
    rule = ScoreRule(presence=0, probability=0, classes=0, area=1, bias=3, threshold=0.5)  # of a twentieth or more
    segmenter = ColourSegmenter()
    segmenter.card = segmenter.card.model_copy(update={"score": rule, "tasks": ["instance"]})
    features = segmenter.encode(picture(["r.rrrrrrrrrrrrrrrrrrrrrrrr"]))

    answer = segment("instance", segmenter, features, asking.vocabulary("red"), Options(doubtful=True))

    assert [(each.area, each.doubtful) for each in answer.segments] == [(24, False)]


def test_a_synonym_that_is_found_answers_under_the_name_of_its_class() -> None:
    assert areas(ask(FLAG, "blue", ClassEntry("ruby", ("garnet", "crimson")))) == {"blue": 6, "ruby": 8}


def test_a_background_word_takes_the_pixels_that_it_explains_better() -> None:
    answer = ask(["ra"], "amber", words=["red"])

    assert areas(answer) == {"amber": 1}
    assert answer.label_map.tolist() == [[0, 1]]


def test_words_of_the_request_replace_the_words_of_the_card() -> None:
    segmenter = ColourSegmenter(["green"])
    features = segmenter.encode(picture(FLAG))

    segment("semantic", segmenter, features, Vocabulary((ClassEntry("red"),), Background(words=("blue",))))

    assert segmenter.asked == ["red", "blue"]


AREA = ScoreRule(presence=0, probability=0, classes=0, area=1, bias=1, threshold=0.5)  # e times the odds of the area


def test_a_cards_rule_makes_the_score_of_its_inputs() -> None:
    rule = ScoreRule(presence=0.1, probability=0.5, classes=-0.25, area=0.5, bias=0.25)
    plain, calibrated = ask(FLAG, "red", "green"), ask(FLAG, "red", "green", threshold=0.0, score=rule)

    odds = math.log(plain.segments[0].score / (1 - plain.segments[0].score))
    logit = 0.1 * SCALE + 0.5 * odds - 0.25 * math.log(2) + 0.5 * math.log(8 / 24) + 0.25
    assert calibrated.segments[0].score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-4)


@pytest.mark.parametrize(
    ("threshold", "kept"), [(None, ["red"]), (0.0, ["red", "green"]), (0.7, []), (0.05, ["red", "green"])]
)
def test_the_cards_threshold_holds_unless_the_request_has_one(threshold: float | None, kept: list[str]) -> None:
    assert labels(ask(["rrrr", "rg.."], "red", "green", threshold=threshold, score=AREA)) == kept


def test_the_cards_threshold_drops_nothing_where_every_pixel_gets_a_class() -> None:
    assert labels(ask(["rrrr", "rrrg"], "red", "green", background=None, score=AREA)) == ["red", "green"]


@pytest.mark.parametrize(
    ("classes", "more", "message"),
    [
        ((), {"background": None}, "at least one class"),
        ((), {"background": Background()}, "at least one class"),
        (("red",), {"background": None, "threshold": 0.1}, "background=false"),
    ],
)
def test_what_cannot_be_asked_of_pixels_is_refused(
    classes: tuple[str, ...], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        ask(FLAG, *classes, **more)


@pytest.mark.parametrize(("n_classes", "dtype"), [(255, np.uint8), (256, np.uint16), (700, np.uint16)])
def test_many_segments_keep_their_ids(n_classes: int, dtype: type[np.unsignedinteger]) -> None:
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(tuple(ClassEntry(f"class {k}") for k in range(n_classes)))
    owners = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, 900 - n_classes)]).reshape(30, 30)
    segmenter = _Fixed(owners)
    answer = segment("semantic", segmenter, segmenter.encode(np.zeros((30, 30, 3), np.uint8)), vocabulary)

    assert answer.label_map.dtype == dtype
    np.testing.assert_array_equal(answer.label_map, owners + 1)


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_each_connected_region_of_a_thing_is_a_segment(task: Task) -> None:
    answer = asking.ask(task, ["rrbbrr", "rrbbrr", "rrbbrr"], "red", ClassEntry("blue", thing=True))

    assert asking.described(answer) == [("red", 6), ("red", 6), ("blue", 6)]
    assert {segment.is_thing for segment in answer.segments} == {True}


def test_known_stuff_has_no_instances() -> None:
    answer = asking.ask("instance", ["rrbb", "rrbb"], "red", ClassEntry("blue", thing=False))

    assert labels(answer) == ["red"]
    assert (answer.label_map[:, 2:] == 0).all()


def test_stuff_is_one_panoptic_segment_in_the_order_of_the_request() -> None:
    answer = asking.ask("panoptic", ["rbrgr"], "green", ClassEntry("red", thing=False), "blue")

    assert asking.described(answer) == [("green", 1), ("red", 3), ("blue", 1)]
    assert [segment.is_thing for segment in answer.segments] == [True, False, True]


def test_specks_of_things_are_background_and_specks_of_stuff_are_not() -> None:
    rows = ["r" + 99 * "b", *[100 * "b"] * 38, 99 * "b" + "g"]  # a pixel is a quarter of a thousandth

    answer = asking.ask("panoptic", rows, "red", "blue", ClassEntry("green", thing=False))

    assert asking.described(answer) == [("blue", 3998), ("green", 1)]


@given(
    st.lists(st.text("rgba.", min_size=6, max_size=6), min_size=1, max_size=6),
    st.permutations(["red", "green", "blue"]),
    st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3),
)
def test_panoptic_segments_are_the_semantic_ones_with_things_taken_apart(
    rows: list[str], names: list[str], things: list[bool | None]
) -> None:
    classes = [ClassEntry(name, thing=thing) for name, thing in zip(names, things, strict=True)]

    parts, whole = (asking.ask(task, rows, *classes) for task in ("panoptic", "semantic"))

    covered = asking.stacked(parts)
    assert covered.sum(0).max(initial=0) <= 1
    np.testing.assert_array_equal(covered.sum(0), asking.stacked(whole).sum(0))
    for each, mask in zip(parts.segments, covered, strict=True):
        np.testing.assert_array_equal(parts.label_map == each.id, mask)
        (of_class,) = (other.id for other in whole.segments if other.label == each.label)
        assert (whole.label_map[mask] == of_class).all()


class _Seen(ColourSegmenter):
    """Says that red and blue are in the image, and gives way to stuff by more than any likeness."""

    def __init__(self) -> None:
        super().__init__()
        background = self.card.background.model_copy(update={"gives_way": 2 * SCALE})
        self.card = self.card.model_copy(update={"background": background})

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        return Competing(self.class_scores(features, bank), whole_image=torch.tensor([1.0, 1.0, -1.0]))


def test_the_background_gives_way_to_stuff_that_is_there() -> None:
    segmenter, rows = _Seen(), ["rg..bb"]
    classes = ("red", ClassEntry("blue", thing=False), ClassEntry("green", thing=False))

    answer = segment("semantic", segmenter, segmenter.encode(picture(rows)), asking.vocabulary(*classes))

    assert areas(answer) == {"red": 1, "blue": 2, "green": 1}  # black is like none of them: the first is red, no stuff
    [_, blue, _] = answer.segments
    assert blue.score > 0.999  # the background had e^BACKGROUND_LOGIT


PARROT = ClassEntry("parrot", senses=("red", "blue"))


class _Explained(ColourSegmenter):
    """Reads a text by what its gloss says."""

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        return super().encode_texts([text.rpartition(": ")[2] for text in texts])


def query(rows: list[str], *classes: str | ClassEntry) -> Query:
    segmenter = _Explained()
    vocabulary = asking.vocabulary(*classes)
    return Query(segmenter, segmenter.encode(picture(rows)), vocabulary, Options(), KnownRows(segmenter))


def test_the_image_chooses_among_the_meanings_of_a_word() -> None:
    assert chosen_senses(query(["bbgg"], "green", PARROT)) == (Sense(1, "blue", ("red",)),)
    assert chosen_senses(query(["rrgg"], "green", PARROT)) == (Sense(1, "red", ("blue",)),)


def test_a_word_without_meanings_has_none_to_choose_from() -> None:
    assert chosen_senses(query(["rrgg"], "green", "red")) == ()


def test_a_word_is_found_by_any_of_its_meanings() -> None:
    asked = query(["bbgg"], "green", PARROT)

    answer = segment("semantic", asked.segmenter, asked.features, asked.vocabulary)

    assert asking.described(answer) == [("green", 2), ("parrot", 2)]
