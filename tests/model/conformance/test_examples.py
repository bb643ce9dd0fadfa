"""example_rows, example_vectors: what every model that takes classes by example makes of regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_regions, score_vocabulary
from tests.model.conformance.models import asked_of

taking = asked_of(lambda model: model.examples)


def regions(size: tuple[int, int]) -> list[Region]:
    """The left half as a box, as a mask, and by a click; then the right half."""
    height, width = size
    mask = np.zeros(size, bool)
    mask[:, : width // 2] = True
    click = Prompt((Point(width / 4, height / 2), Point(width * 3 / 4, height / 2, positive=False)))
    right = Prompt(box=(width / 2, 0.0, float(width), float(height)))
    return [
        Region(Prompt(box=(0.0, 0.0, width / 2, float(height)))),
        Region(mask=encode_mask(mask)),
        Region(click),
        Region(right),
    ]


def shown(segmenter: Segmenter, features: Features) -> list[bytes]:
    return [row.tobytes() for row in segmenter.example_rows(features, regions(features.size))]


@asked_of(lambda model: not (model.examples or model.own_examples))
def test_a_model_that_takes_no_examples_says_so(segmenter: Segmenter, features: Features) -> None:
    with pytest.raises(TaskError, match="takes no classes by example"):
        segmenter.example_rows(features, regions(features.size))
    with pytest.raises(TaskError, match="takes no classes by example"):
        segmenter.example_vectors(np.zeros((1, 4), np.float16), np.zeros((0, 0), np.float16))


@taking
def test_a_region_has_one_row_which_does_not_depend_on_those_beside_it(
    segmenter: Segmenter, features: Features
) -> None:
    together = segmenter.example_rows(features, regions(features.size))
    alone = [segmenter.example_rows(features, [region])[0] for region in regions(features.size)]

    assert together.dtype == np.float16
    assert np.isfinite(together).all()
    assert np.allclose(together, np.stack(alone), atol=2e-3)


@taking
def test_a_class_scores_higher_on_its_own_examples_than_on_what_it_is_not(
    segmenter: Segmenter, features: Features
) -> None:
    left, _, _, right = shown(segmenter, features)
    made = segmenter.example_vectors(*(np.frombuffer(row, np.float16)[None] for row in (left, right)))
    other = segmenter.example_vectors(np.frombuffer(right, np.float16)[None], np.zeros((0, 0), np.float16))

    assert float((made.vectors @ made.means.T).max()) > float((made.vectors @ other.means.T).max())


@taking
def test_examples_stand_beside_words_and_need_none(segmenter: Segmenter, features: Features) -> None:
    left, _, _, right = shown(segmenter, features)
    alone = ClassEntry("mascot", shown=Shown((left,), (right,)), named=False)
    both = ClassEntry("sky", ("heaven",), shown=Shown((right,)))
    for classes in ((alone,), (ClassEntry("red"), alone, both)):
        for background in (None, Background(), Background(words=())):
            vocabulary = Vocabulary(classes, background)

            logits = score_vocabulary(segmenter, features, vocabulary, segmenter.encode_texts)

            assert len(logits) == len(classes) + (background is not None)
            assert logits.isfinite().all()


@asked_of(lambda model: model.fuses)
def test_words_and_examples_of_a_class_are_fused_with_the_picture(segmenter: Segmenter, features: Features) -> None:
    left, _, _, right = shown(segmenter, features)
    classes = (ClassEntry("sky", shown=Shown((left,))), ClassEntry("dog", shown=Shown((right,))), ClassEntry("red"))
    bank = bank_of(segmenter, Vocabulary(classes, None), segmenter.encode_texts)

    scores = segmenter.class_scores(features, bank)

    alone = segmenter.class_scores(features, replace(bank, support=None))
    assert scores.isfinite().all()
    assert not torch.allclose(scores, alone, atol=1e-3)


@asked_of(lambda model: model.examples and model.masks)
def test_examples_name_regions(segmenter: Segmenter, features: Features) -> None:
    left, _, _, right = shown(segmenter, features)
    classes = tuple(ClassEntry(name, shown=Shown((row,)), named=False) for name, row in (("l", left), ("r", right)))
    embeddings = segmenter.propose(features).embeddings
    vocabulary = Vocabulary(classes, None)
    bank = bank_of(segmenter, vocabulary, segmenter.encode_texts)

    logits = score_regions(segmenter, features, vocabulary, bank, embeddings)

    assert logits.shape == (2, len(embeddings))
    assert logits.isfinite().all()


@taking
def test_a_background_word_that_says_what_examples_show_steps_aside(segmenter: Segmenter, features: Features) -> None:
    left, *_ = shown(segmenter, features)
    mascot = ClassEntry("mascot", shown=Shown((left,)), named=False)
    words = ("red", "green", "blue", "sky", "dog")
    bank = bank_of(segmenter, Vocabulary((mascot,), Background(words=words)), segmenter.encode_texts)

    assert 1 <= bank.n_classes <= 1 + len(words)
    assert bank.has_examples
    assert (np.diff(bank.owner) >= 0).all()


@taking
def test_rows_of_another_model_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(OptionError, match="rows"):
        segmenter.example_vectors(np.ones((1, 3), np.float16), np.zeros((0, 0), np.float16))
