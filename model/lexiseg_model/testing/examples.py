"""example_rows, example_vectors: what a method that takes classes by example makes of regions."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.abilities import Examples
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter, Words
from lexiseg_model.testing.suite import Suite
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_vocabulary


def halves(size: tuple[int, int]) -> list[Region]:
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


def encoded_red(examples: Examples, features: Features) -> list[bytes]:
    """Rows of `halves` as a class keeps them."""
    return [row.tobytes() for row in examples.example_rows(features, halves(features.size))]


class ExampleTests(Suite):
    """Of methods that take classes by example."""

    def test_a_region_has_one_row_which_does_not_depend_on_those_beside_it(
        self, examples: Examples, features: Features
    ) -> None:
        together = examples.example_rows(features, halves(features.size))
        alone = [examples.example_rows(features, [region])[0] for region in halves(features.size)]

        assert together.dtype == np.float16
        assert np.isfinite(together).all()
        assert np.allclose(together, np.stack(alone), atol=2e-3)

    def test_a_class_scores_higher_on_its_own_examples_than_on_what_it_is_not(
        self, examples: Examples, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        vectors = examples.example_vectors(*(np.frombuffer(row, np.float16)[None] for row in (left, right)))
        other = examples.example_vectors(np.frombuffer(right, np.float16)[None], np.zeros((0, 0), np.float16))

        assert float((vectors.vectors @ vectors.means.T).max()) > float((vectors.vectors @ other.means.T).max())

    def test_examples_stand_beside_words_and_need_none(
        self, segmenter: Segmenter, words: Words, examples: Examples, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        alone = ClassEntry("mascot", shown=Shown((left,), (right,)), named=False)
        both = ClassEntry("sky", ("heaven",), shown=Shown((right,)))
        for classes in ((alone,), (ClassEntry("red"), alone, both)):
            for background in (None, Background(), Background(words=())):
                vocabulary = Vocabulary(classes, background)

                logits = score_vocabulary(segmenter, features, vocabulary, words.encode_texts)

                assert len(logits) == len(classes) + (background is not None)
                assert logits.isfinite().all()

    def test_a_background_word_that_says_what_examples_show_steps_aside(
        self, segmenter: Segmenter, words: Words, examples: Examples, features: Features
    ) -> None:
        left, *_ = encoded_red(examples, features)
        mascot = ClassEntry("mascot", shown=Shown((left,)), named=False)
        background = ("red", "green", "blue", "sky", "dog")
        bank = bank_of(segmenter, Vocabulary((mascot,), Background(words=background)), words.encode_texts)

        assert 1 <= bank.n_classes <= 1 + len(background)
        assert bank.has_examples
        assert (np.diff(bank.owner) >= 0).all()

    def test_rows_of_another_model_are_refused(self, examples: Examples) -> None:
        with pytest.raises(OptionError):
            examples.example_vectors(np.ones((1, 3), np.float16), np.zeros((0, 0), np.float16))
