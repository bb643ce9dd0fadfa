import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import refuse_unsplit, resolve
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, Question
from lexiseg_service.settings import Limits

LIMITS = Limits()
JOINERS = ("\u200d", "\u200c", "\ufe0f")  # of letters and signs
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
    lambda text: folded(text) != ""
)


def refusal(question: Question, limits: Limits = LIMITS) -> str:
    with pytest.raises(InvalidValue) as caught:
        resolve(question, limits)
    return caught.value.detail


@given(st.lists(WORDS, min_size=1, max_size=20, unique_by=folded))
def test_every_list_of_different_words_is_taken_in_its_order(words: list[str]) -> None:
    found = resolve(Question(classes=list(words)), LIMITS)

    assert [folded(entry.name) for entry in found.classes] == [folded(word) for word in words]


@pytest.mark.parametrize("unseen", ["\ufeff", "\u00ad", "\u200b", "\u2060", "\u200e", "\u200d", "\u200c", "\ufe0f"])
def test_characters_that_nobody_sees_make_no_other_class(unseen: str) -> None:
    for again in (f"{unseen}sky", f"s{unseen}ky", f"SKY{unseen}"):
        assert "only once" in refusal(Question(classes=["sky", again]))
    if unseen not in JOINERS:
        assert resolve(Question(classes=[f" {unseen} s{unseen}ky"]), LIMITS).classes[0].name == "sky"
        assert "not blank" in refusal(Question(classes=[f" {unseen}"]))


@pytest.mark.parametrize("name", ["\u0645\u06cc\u200c\u0631\u0648\u0645", "\u2764\ufe0f", "\U0001f468\u200d\U0001f33e"])
def test_joiners_of_letters_and_signs_stay(name: str) -> None:
    assert resolve(Question(classes=[name]), LIMITS).classes[0].name == name


def test_a_synonym_that_repeats_its_class_is_told_so() -> None:
    detail = refusal(Question(classes=[ClassInput(name="dog", synonyms=["Dog"])]))

    assert detail == (
        "classes.0: expected each word of a class once; capitals and invisible characters make no other word, got 'Dog'"
    )


def test_all_texts_together_have_a_limit_in_bytes() -> None:
    assert "bytes of text" in refusal(Question(classes=["ä" * 60]), Limits(max_text_bytes=100))


@pytest.mark.parametrize("background", [None, True, BackgroundInput(threshold=0.2)])
def test_a_question_leaves_things_and_stuff_to_the_list_that_it_names(
    background: bool | BackgroundInput | None,
) -> None:
    doors = Vocabulary((ClassEntry("door", thing=False), ClassEntry("sky", thing=True)), None)

    found = resolve(Question(vocabulary="doors", background=background), LIMITS, doors)

    assert found.classes == doors.classes


@pytest.mark.parametrize(
    "names",
    [["sky,tree"], ["sky, tree"], ['["sky", "tree"]'], ["car", '["sky"]'], [" [sky, tree] "], ['{"name": "sky"}']],
)
def test_a_list_in_the_place_of_one_class_is_refused_and_told_how_several_are_given(names: list[str]) -> None:
    with pytest.raises(InvalidValue, match=r"commas never split: say it again, got '.*sky"):
        refuse_unsplit(names, "say it again")


def test_what_cannot_be_counted_is_stuff() -> None:
    assert [entry.thing for entry in resolve(Question(classes=["Grass", "dog"]), LIMITS).classes] == [False, None]


def test_a_gloss_is_the_one_sense_of_its_class() -> None:
    [entry] = resolve(Question(classes=[ClassInput(name="crane", gloss=" large wading\u200b bird ")]), LIMITS).classes

    assert (entry.names, entry.senses) == (("crane",), ("large wading bird",))
    assert entry.texts == ("crane", "crane: large wading bird")


@pytest.mark.parametrize(
    ("gloss", "detail"),
    [
        ("x" * 10_000, "classes.0.gloss: expected at most 512, got '10000 characters'"),
        (" \u200b", "classes.0.gloss: expected a word, not blank"),
        ("a bird\nof marshes", "text without control characters"),
    ],
    ids=["long", "blank", "two lines"],
)
def test_what_is_no_gloss_is_refused(gloss: str, detail: str) -> None:
    assert detail in refusal(Question(classes=[ClassInput(name="crane", gloss=gloss)]))


def test_a_class_by_examples_alone_has_no_gloss() -> None:
    shown = ClassInput.model_validate({"name": "crane", "gloss": "a bird", "examples": [{"box": [0, 0, 5, 5]}]})

    assert "no gloss of a class by examples alone" in refusal(Question(classes=[shown]))
