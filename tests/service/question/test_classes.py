from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import refuse_unsplit, resolve
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, Question
from lexiseg_service.settings import Limits

LIMITS = Limits()
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
    lambda text: unicodedata.normalize("NFC", text).strip() != ""
)


def key(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def refusal(question: Question, limits: Limits = LIMITS) -> str:
    with pytest.raises(InvalidValue) as caught:
        resolve(question, limits)
    return caught.value.detail


@given(st.lists(WORDS, min_size=1, max_size=20, unique_by=key))
def test_every_list_of_different_words_is_taken_in_its_order(words: list[str]) -> None:
    found = resolve(Question(classes=list(words)), LIMITS)

    assert [key(entry.name) for entry in found.classes] == [key(word) for word in words]


@given(st.lists(WORDS, min_size=1, max_size=8, unique_by=key), st.data())
def test_a_word_that_comes_twice_is_refused_however_it_is_written(words: list[str], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(words))
    place = data.draw(st.integers(0, len(words)))
    decomposed = f" {unicodedata.normalize('NFD', again)}\t"

    assert "only once" in refusal(Question(classes=[*words[:place], decomposed, *words[place:]]))


@given(WORDS, WORDS, st.sampled_from([chr(code) for code in (*range(32), *range(127, 160))]))
def test_a_control_character_inside_a_word_is_refused(before: str, after: str, control: str) -> None:
    # Not between non-blanks it may be stripped as white space.
    assert "control characters" in refusal(Question(classes=[f"a{before}{control}{after}z"]))


@given(st.integers(1, 300))
def test_a_word_may_be_as_long_as_the_limit_and_no_longer(length: int) -> None:
    question = Question(classes=["a" * length])

    if length <= LIMITS.max_text_length:
        assert resolve(question, LIMITS).classes[0].name == "a" * length
    else:
        assert f"{length} characters" in refusal(question)


@pytest.mark.parametrize("classes", [None, []])
def test_a_question_without_classes_is_refused(classes: list[str | ClassInput] | None) -> None:
    assert "at least one class" in refusal(Question(classes=classes))


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u3000"])
def test_a_blank_word_is_refused(blank: str) -> None:
    assert refusal(Question(classes=["sky", blank])).startswith("classes.1")


def test_one_class_too_many_is_refused_and_counted() -> None:
    words = [f"word {index}" for index in range(LIMITS.max_classes + 1)]

    assert "2049 classes" in refusal(Question(classes=[*words]))


def test_as_many_classes_as_the_limit_are_taken() -> None:
    words = [f"word {index}" for index in range(LIMITS.max_classes)]

    assert len(resolve(Question(classes=[*words]), LIMITS).classes) == LIMITS.max_classes


def test_all_texts_together_have_a_limit_in_bytes() -> None:
    assert "bytes of text" in refusal(Question(classes=["ä" * 60]), Limits(max_text_bytes=100))


def test_a_synonym_answers_under_its_class() -> None:
    given_class = ClassInput(name="sofa", synonyms=["couch"], threshold=0.3)

    entry = resolve(Question(classes=[given_class]), LIMITS).classes[0]

    assert (entry.name, entry.synonyms, entry.threshold) == ("sofa", ("couch",), 0.3)


def test_one_synonym_too_many_is_refused() -> None:
    given_class = ClassInput(name="sofa", synonyms=[f"couch {index}" for index in range(LIMITS.max_synonyms + 1)])

    assert refusal(Question(classes=[given_class])).startswith("classes.0.synonyms")


def test_a_synonym_that_is_another_class_is_refused() -> None:
    assert "classes.0" in refusal(Question(classes=["couch", ClassInput(name="sofa", synonyms=["Couch"])]))


@pytest.mark.parametrize("asked", [None, True])
def test_the_background_is_on_unless_it_is_refused(asked: bool | None) -> None:
    assert resolve(Question(classes=["sky"], background=asked), LIMITS).background == Background()


def test_without_background_every_pixel_gets_a_class() -> None:
    assert resolve(Question(classes=["sky"], background=False), LIMITS).background is None


def test_an_object_overrides_the_background_rule() -> None:
    rule = BackgroundInput(words=["wall", "sky "], threshold=0.4)

    assert resolve(Question(classes=["cat"], background=rule), LIMITS).background == Background(("wall", "sky"), 0.4)


def test_a_background_word_with_a_control_character_is_refused() -> None:
    rule = BackgroundInput(words=["wall", "s\x00ky"])

    assert refusal(Question(classes=["cat"], background=rule)).startswith("background.words.1")


def test_a_threshold_without_background_is_refused() -> None:
    assert refusal(Question(classes=["sky"], background=False, threshold=0.1)).startswith("threshold")


def test_a_class_threshold_without_background_is_refused() -> None:
    question = Question(classes=["sky", ClassInput(name="sea", threshold=0.1)], background=False)

    assert refusal(question).startswith("classes.1.threshold")


def test_a_threshold_of_zero_without_background_is_taken() -> None:
    assert resolve(Question(classes=["sky"], background=False, threshold=0), LIMITS).background is None


@pytest.mark.parametrize("background", [None, True, BackgroundInput(threshold=0.2)])
def test_a_question_leaves_things_and_stuff_to_the_list_that_it_names(
    background: bool | BackgroundInput | None,
) -> None:
    doors = Vocabulary((ClassEntry("door", thing=False), ClassEntry("sky", thing=True)), None)

    found = resolve(Question(vocabulary="doors", background=background), LIMITS, doors)

    assert found.classes == doors.classes


def test_known_names_of_a_request_are_stuff() -> None:
    found = resolve(Question(classes=["car", "Grass", ClassInput(name="sky", synonyms=["box"])]), LIMITS)

    assert [entry.thing for entry in found.classes] == [None, False, False]


@pytest.mark.parametrize(
    "names",
    [["sky,tree"], ["sky, tree"], ['["sky", "tree"]'], ["car", '["sky"]'], [" [sky, tree] "], ['{"name": "sky"}']],
)
def test_a_list_in_the_place_of_one_class_is_refused_and_told_how_several_are_given(names: list[str]) -> None:
    with pytest.raises(InvalidValue, match=r"commas never split: say it again, got '.*sky"):
        refuse_unsplit(names, "say it again")


@pytest.mark.parametrize("names", [[], ["sky"], ["sky, blue", "sea"], ["[sky"], ["sky [blue]"]])
def test_names_that_are_no_list_pass(names: list[str]) -> None:
    refuse_unsplit(names, "say it again")
