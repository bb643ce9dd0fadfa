"""Banks of classes and background words, words of other languages, logits refined by colours."""

from functools import partial

import pytest
import torch
from torch import Tensor

from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.clip.segmenter import MAX_CHECKED, foreign_classes
from lexiseg_model.errors import OptionError
from lexiseg_model.masks import pamr
from lexiseg_model.masks.upsample import winners
from lexiseg_model.resources.lru import Lru
from lexiseg_model.segmenter import RowsOf, TextRows, Unfamiliar
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import MAX_BANKS, KnownRows, bank_of, competing_words, unfamiliar_classes
from lexiseg_model.vocabulary.scoring import refine_logits, score_vocabulary
from tests.model.methods.dense_clip import small as dense_clip
from tests.model.stand_in import ColourSegmenter, picture

COLOURS = Vocabulary((ClassEntry("red"), ClassEntry("green", ("lime",))), Background(words=("blue", "crimson")))
WORDS = tuple(map(ClassEntry, ("red", "green", "blue")))


@pytest.fixture
def served() -> ColourSegmenter:
    segmenter = ColourSegmenter()
    segmenter.banks = Lru(MAX_BANKS)
    return segmenter


def refused(texts: list[str]) -> TextRows:
    raise AssertionError(f"rows of {texts} were asked for")


def competing(segmenter: ColourSegmenter, *classes: ClassEntry) -> list[str]:
    rows = segmenter.encode_texts(segmenter.texts(classes)) if classes else None
    word_rows = segmenter.encode_texts(segmenter.texts(WORDS))
    words, of_words = competing_words(segmenter, (WORDS, word_rows), (classes, rows), {})
    assert of_words.tolist() == segmenter.encode_texts(segmenter.texts(words)).tolist()
    return [word.name for word in words]


def test_the_same_words_share_a_bank_and_ask_for_no_rows_again(served: ColourSegmenter) -> None:
    first = bank_of(served, COLOURS, served.encode_texts)

    assert bank_of(served, Vocabulary(COLOURS.classes, COLOURS.background, name="mine"), refused) is first


@pytest.mark.parametrize(
    "other",
    [
        COLOURS,
        Vocabulary(COLOURS.classes, None),
        Vocabulary(COLOURS.classes, Background(words=("blue",))),
        Vocabulary(COLOURS.classes[::-1], COLOURS.background),
        Vocabulary((ClassEntry("red"), ClassEntry("green"), ClassEntry("lime")), COLOURS.background),
    ],
    ids=["the same", "no background", "other background", "other order", "a synonym as a class"],
)
def test_a_cache_changes_no_bank(served: ColourSegmenter, other: Vocabulary) -> None:
    bank_of(served, COLOURS, served.encode_texts)

    bank = bank_of(served, other, served.encode_texts)

    plain = bank_of(ColourSegmenter(), other, served.encode_texts)
    assert torch.equal(bank.vectors, plain.vectors)
    assert bank.owner.tolist() == plain.owner.tolist()
    assert bank.n_classes == plain.n_classes


def test_the_unfamiliar_classes_of_a_bank_are_computed_once() -> None:
    class Reader(ColourSegmenter):
        def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
            rows_of(self.texts(classes))
            return [Unfamiliar(len(classes) - 1, "red", 0.2, 0.6)]

    reader = Reader()
    bank = bank_of(reader, COLOURS, reader.encode_texts)

    first = unfamiliar_classes(reader, COLOURS, reader.encode_texts, bank)

    assert unfamiliar_classes(reader, COLOURS, refused, bank) == first == [Unfamiliar(1, "red", 0.2, 0.6)]


def test_the_bytes_of_cached_banks_are_counted(served: ColourSegmenter) -> None:
    assert served.kept_bytes == 0

    kept = bank_of(served, COLOURS, served.encode_texts)

    assert served.kept_bytes >= kept.vectors.nbytes > 0


@pytest.mark.parametrize(
    ("classes", "left"),
    [
        ((ClassEntry("crimson"),), ["green", "blue"]),
        ((ClassEntry("wood", ("lime",)), ClassEntry("red")), ["blue"]),
        ((), ["red", "green", "blue"]),
    ],
    ids=["a name", "a synonym", "no texts"],
)
def test_a_background_word_that_means_a_class_does_not_compete(
    served: ColourSegmenter, classes: tuple[ClassEntry, ...], left: list[str]
) -> None:
    assert competing(served, *classes) == left


def test_a_synonym_on_the_card_does_not_compete_whatever_its_row_says(served: ColourSegmenter) -> None:
    rule = served.card.background.model_copy(update={"synonyms": {"green": ["concrete"], "blue": ["concrete"]}})
    served.card = served.card.model_copy(update={"background": rule})

    assert competing(served, ClassEntry("Concrete")) == ["red"]


def test_a_text_is_encoded_once() -> None:
    segmenter = ColourSegmenter()
    rows = KnownRows(segmenter)

    rows(["red", "blue"])
    rows(["blue", "green", "blue"])

    assert segmenter.asked == ["red", "blue", "green"]


FOREIGN = tuple(map(ClassEntry, ("dog", "Hund", "rickshaw", "cielo")))


def test_a_model_that_reads_english_warns_of_other_words() -> None:
    segmenter = dense_clip.segmenter("fast")
    assert isinstance(segmenter, PatchTextSegmenter)

    strange = segmenter.unfamiliar(FOREIGN, segmenter.encode_texts)

    assert [each.class_index for each in strange] == [1, 3]


def test_an_english_synonym_explains_a_foreign_name() -> None:
    assert foreign_classes([ClassEntry("Hund", ("dog",))]) == []


def test_a_long_list_is_not_looked_at() -> None:
    assert foreign_classes([ClassEntry("Hund")] * (MAX_CHECKED + 1)) == []


SIZE = (24, 32)
GUIDE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
BY_PAMR = partial(pamr.refine, image=GUIDE)


def close() -> Tensor:
    """Four rows, two of which win, one half each and not by much; the others come last everywhere. [4, 12, 16]."""
    logits = torch.zeros(4, 12, 16)
    logits[1], logits[3] = 0.8, 1.0
    logits[1, :, :8] = 1.3
    logits[0, :, 0] = 0.4
    return logits


def crossing() -> Tensor:
    """Rows 0 and 1 are sure of a half each, and one that never wins is second everywhere. [3, 12, 16]."""
    logits = torch.full((3, 12, 16), -8.0)
    logits[0, :, :8] = logits[1, :, 8:] = 4.0
    logits[2] = 3.5
    return logits


def plain(logits: Tensor) -> Tensor:
    """Every row refined, none left out."""
    return pamr.refine(logits.softmax(0), GUIDE)


@pytest.mark.parametrize("logits", [close(), crossing()], ids=["close", "crossing"])
@pytest.mark.parametrize("size", [SIZE, (240, 320), (37, 50), (7, 9)])
def test_rows_that_won_nowhere_win_nowhere_at_any_size(logits: Tensor, size: tuple[int, int]) -> None:
    refined = refine_logits(logits, BY_PAMR)
    winning = torch.tensor(sorted(set(logits.argmax(0).flatten().tolist())))

    found = winners(refined, size).labels

    assert (found == winning.numpy()[winners(refined[winning], size).labels]).all()


def test_where_the_rest_would_win_the_winner_is_more_probable_than_refined_and_never_less() -> None:
    best = refine_logits(crossing(), BY_PAMR).softmax(0).amax(0)

    assert best.max() <= 1
    assert (best >= plain(crossing())[:2].amax(0) - 1e-5).all()


def test_a_method_without_regions_says_what_it_offers() -> None:
    segmenter = ColourSegmenter()
    features = segmenter.encode(picture(["rg"]))

    with pytest.raises(OptionError, match="has no regions; refine must be one of none"):
        score_vocabulary(segmenter, features, Vocabulary((ClassEntry("red"),)), segmenter.encode_texts, "regions")
