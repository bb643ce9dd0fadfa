from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import SynonymRule
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.methods.tiny.words.synonyms import Projected, Synonyms
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import ClassEntry

RULE = SynonymRule(weight=0.5, of={"bicyclist": ["cyclist", "rider"], "horse": ["pony", "rider"], "unknown": ["odd"]})
WORDS = ("bicyclist", "horse", "cyclist")


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    network.text_level.normal_()
    return network


@pytest.fixture(scope="module")
def synonyms(network: TinyNetwork) -> Synonyms:
    rows = np.random.default_rng(0).normal(size=(len(WORDS), 384)).astype(np.float32)
    return Synonyms(RULE, Familiar(WORDS, rows, 0.6), network)


def projected(*classes: ClassEntry) -> tuple[Projected, NDArray[np.int64]]:
    """Vectors and levels, and whose they are."""
    owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
    vectors = F.normalize(torch.randn(len(owner), 96, generator=torch.Generator().manual_seed(1)), dim=1)
    return (vectors, torch.zeros(len(owner))), owner


def asked(*classes: ClassEntry) -> tuple[list[str], NDArray[np.float16]]:
    """Texts in small letters, and rows that belong to them."""
    texts = [text.lower() for entry in classes for text in entry.texts]
    return texts, np.array([np.random.default_rng(list(text.encode())).normal(size=384) for text in texts], np.float16)


def leant(synonyms: Synonyms, *classes: ClassEntry) -> list[bool]:
    """Which texts leaned."""
    (vectors, levels), owner = projected(*classes)
    before = vectors.clone()
    synonyms.lean((vectors, levels), owner, *asked(*classes))
    return (vectors != before).any(1).tolist()


def test_a_synonym_lies_between_itself_and_the_word_it_was_drawn_for(network: TinyNetwork) -> None:
    rows = torch.randn(1, 384, generator=torch.Generator().manual_seed(2))
    familiar = Familiar(["bicyclist"], rows.numpy(), 0.6)
    (vectors, levels), owner = projected(ClassEntry("cyclist"))
    before = vectors[0].clone()

    Synonyms(RULE, familiar, network).lean((vectors, levels), owner, *asked(ClassEntry("cyclist")))

    with torch.no_grad():
        word, level = network.project_texts(rows)[0], network.levels_of(rows)[0]
    assert torch.allclose(vectors[0], F.normalize(before + word, dim=0), atol=1e-5)
    assert levels[0].item() == pytest.approx(level.item() / 2, abs=1e-5)


def test_case_does_not_count(synonyms: Synonyms) -> None:
    assert leant(synonyms, ClassEntry("Cyclist")) == [True]


def test_words_and_strangers_stay_where_they_are(synonyms: Synonyms) -> None:
    assert leant(synonyms, ClassEntry("bicyclist"), ClassEntry("violin"), ClassEntry("odd")) == [False] * 3


def test_no_synonym_leans_towards_a_word_that_is_asked_for(synonyms: Synonyms) -> None:
    assert leant(synonyms, ClassEntry("cyclist"), ClassEntry("bicyclist")) == [False, False]
    assert leant(synonyms, ClassEntry("cyclist", ("bicyclist",))) == [False, False]


def test_two_classes_do_not_lean_towards_one_word(synonyms: Synonyms) -> None:
    assert leant(synonyms, ClassEntry("cyclist"), ClassEntry("rider"), ClassEntry("pony")) == [False] * 3
    assert leant(synonyms, ClassEntry("cyclist", ("rider",)), ClassEntry("pony")) == [True, True, False]


def test_without_the_words_of_training_nothing_leans(network: TinyNetwork) -> None:
    assert leant(Synonyms(RULE, None, network), ClassEntry("cyclist")) == [False]


def test_what_was_learned_as_a_class_is_no_synonym() -> None:
    assert RULE.without(["rider"]).of == {"bicyclist": ["cyclist"], "horse": ["pony"], "unknown": ["odd"]}


def test_a_cyclist_is_asked_of_the_bundled_model_nearly_as_a_bicyclist(tiny: TinySegmenter) -> None:
    cyclist, bicyclist = (ClassEntry(word) for word in ("cyclist", "bicyclist"))

    alone, word, beside = (bank_of_model(tiny, some) for some in ((cyclist,), (bicyclist,), (cyclist, bicyclist)))

    assert 1 - alone.vectors[0] @ word.vectors[0] < (1 - beside.vectors[0] @ word.vectors[0]) / 3
    assert torch.allclose(beside.vectors[1], word.vectors[0], atol=1e-6)


def bank_of_model(tiny: TinySegmenter, classes: tuple[ClassEntry, ...]) -> TextBank:
    return tiny.text_bank(classes, tiny.encode_texts(tiny.texts(classes)))


def test_what_leans_again_leans_alike_and_by_its_own_row(synonyms: Synonyms) -> None:
    texts, rows = asked(ClassEntry("pony"))
    (vectors, levels), owner = projected(ClassEntry("pony"))
    first, again, other = vectors.clone(), vectors.clone(), vectors.flip(1)

    for leaning, of in ((first, rows), (again, rows), (other, -rows)):
        synonyms.lean((leaning, levels.clone()), owner, texts, of)

    assert torch.equal(first, again)
    assert not torch.equal(other, first)
