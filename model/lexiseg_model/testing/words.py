"""class_scores, presence, background_score, texts, text_bank: what a method with words makes of an image and words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.abilities import Guided
from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank, TextRows, Words
from lexiseg_model.testing.suite import CLASSES, SIZE, Suite, bank_of, blocks
from lexiseg_model.types import ClassEntry, Precision, Vocabulary

NAMES = [text for entry in CLASSES for text in entry.texts]


class WordTests(Suite):
    """Of methods with text classes."""

    def test_there_is_one_map_of_scores_and_a_presence_for_each_class(
        self, segmenter: Segmenter, words: Words, features: Features, bank: TextBank
    ) -> None:
        scores, presence = words.class_scores(features, bank), segmenter.presence(features, bank)

        assert (scores.ndim, scores.shape[0], presence.shape) == (3, len(CLASSES), (len(CLASSES),))
        for part in (scores, presence):
            assert part.dtype == torch.float32
            assert part.isfinite().all()
        assert segmenter.probability_scale > 0

    def test_asking_changes_nothing_that_is_kept(self, segmenter: Segmenter, words: Words, bank: TextBank) -> None:
        features = segmenter.encode(blocks())
        before = {name: tensor.clone() for name, tensor in features.tensors.items()}
        first = words.class_scores(features, bank)

        segmenter.presence(features, bank)
        segmenter.refined_scores(features, bank)
        words.background_score(first, None, "none", features)

        assert torch.equal(words.class_scores(features, bank), first)
        assert all(torch.equal(features.tensors[name], tensor) for name, tensor in before.items())

    def test_concurrent_questions_have_the_scores_of_one_alone(
        self, segmenter: Segmenter, words: Words, bank: TextBank
    ) -> None:
        # Sums are rounded by the number of threads that share them: one each, as in the worker's finish stage.
        with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            features = threads.submit(segmenter.encode, blocks()).result()
            answers = list(threads.map(lambda _: words.class_scores(features, bank), range(4)))
            alone = threads.submit(lambda: words.class_scores(segmenter.encode(blocks()), bank)).result()

        assert all(torch.equal(answer, alone) for answer in answers)

    def test_a_class_is_what_the_best_of_its_texts_is_in_any_order(self, words: Words, features: Features) -> None:
        def scores(name: str, *synonyms: str) -> Tensor:
            return words.class_scores(features, bank_of(words, (ClassEntry(name, synonyms), ClassEntry("green"))))

        both = scores("red", "blue")

        torch.testing.assert_close(scores("blue", "red"), both)
        torch.testing.assert_close(scores("red", "blue", "red"), both)
        assert not (torch.allclose(scores("red"), both) and torch.allclose(scores("blue"), both))

    def test_scores_refined_by_the_method_itself_are_finer_maps_of_the_same_classes(
        self, segmenter: Segmenter, words: Words, features: Features, bank: TextBank
    ) -> None:
        refined = segmenter.refined_scores(features, bank)

        if refined is not None:
            coarse = words.class_scores(features, bank)
            assert refined.shape[0] == len(CLASSES)
            assert refined.dtype == torch.float32
            assert refined.isfinite().all()
            assert (refined.shape[1] >= coarse.shape[1], refined.shape[2] >= coarse.shape[2]) == (True, True)

    def test_a_stricter_threshold_leaves_more_to_the_background(
        self, segmenter: Segmenter, words: Words, features: Features, bank: TextBank
    ) -> None:
        logits = words.class_scores(features, bank) * segmenter.probability_scale

        owned = []
        for threshold in (0.0, 0.1, 0.5, 0.9, 1.0, None):
            background = words.background_score(logits, threshold, "none", features)
            assert not background.isnan().any()
            assert background.shape in ((), logits.shape[1:])
            owned.append(int((logits.amax(0) > background).sum()))

        assert owned[:5] == sorted(owned[:5], reverse=True)

    @pytest.mark.parametrize("n_regions", [1, 5])
    def test_regions_have_a_background_score_too(self, words: Words, features: Features, n_regions: int) -> None:
        logits = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, n_regions)).astype(np.float32))

        assert words.background_score(logits, 0.5, "none", features).shape in ((), (1, n_regions))

    def test_texts_come_class_by_class_name_first(self, words: Words) -> None:
        texts = words.texts(CLASSES)

        n_templates, rest = divmod(len(texts), len(NAMES))
        assert (n_templates >= 1, rest) == (True, 0)
        in_order = [name for name in NAMES for _ in range(n_templates)]
        assert all(name in text for name, text in zip(in_order, texts, strict=True))

    def test_there_is_one_row_for_each_text_in_the_type_that_is_kept(self, words: Words, precision: Precision) -> None:
        texts = words.texts(CLASSES)

        rows = words.encode_texts(texts)

        assert (rows.ndim, len(rows)) == (2, len(texts))
        assert rows.dtype in ((np.float16,) if precision == "fast" else (np.float16, np.float32))
        assert np.isfinite(rows).all()

    def test_a_row_in_company_is_the_row_alone(self, words: Words) -> None:
        texts = words.texts(CLASSES)[::7] + words.texts((ClassEntry("an old wooden rowing boat"),))[:1]

        together = words.encode_texts(texts).astype(np.float32)

        alone = np.concatenate([words.encode_texts([text]) for text in texts]).astype(np.float32)
        np.testing.assert_allclose(together, alone, atol=2e-3, rtol=2e-3)  # some steps of fp16

    def test_a_bank_says_of_each_vector_whose_it_is(self, words: Words) -> None:
        bank = bank_of(words)

        n_each, rest = divmod(len(bank.vectors), len(NAMES))
        assert (n_each >= 1, rest) == (True, 0)
        assert bank.n_classes == len(CLASSES)
        assert bank.vectors.dtype == torch.float32
        assert bank.owner.tolist() == [k for k, entry in enumerate(CLASSES) for _ in range(n_each * len(entry.texts))]

    def test_the_vectors_of_a_class_do_not_depend_on_the_others(self, words: Words) -> None:
        rows = words.encode_texts(words.texts(CLASSES))
        per_text = len(rows) // len(NAMES)

        together = words.text_bank(CLASSES, rows)

        last = rows[-per_text * len(CLASSES[-1].texts) :]
        alone = words.text_bank(CLASSES[-1:], last)
        torch.testing.assert_close(together.vectors[-len(alone.vectors) :], alone.vectors)

    @pytest.mark.parametrize("wrong", ["a row too few", "a row too many", "a number too few", "a flat list"])
    def test_rows_that_are_not_those_of_the_classes_are_refused(self, words: Words, wrong: str) -> None:
        rows = words.encode_texts(words.texts(CLASSES))
        broken = {
            "a row too few": rows[1:],
            "a row too many": np.concatenate([rows, rows[:1]]),
            "a number too few": rows[:, 1:],
            "a flat list": rows.reshape(-1),
        }[wrong]

        with pytest.raises(ShapeError):
            words.text_bank(CLASSES, cast(TextRows, broken))

    def test_what_texts_mean_is_a_unit_vector_for_each(self, segmenter: Segmenter, words: Words) -> None:
        rows = words.encode_texts(words.texts(CLASSES))

        units = segmenter.meaning(CLASSES, rows)

        assert units.dtype == np.float32
        assert len(units) == len(NAMES)
        np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=2e-3)

    def test_a_model_that_refines_has_a_normalised_guide_or_a_way_of_its_own(
        self, segmenter: Segmenter, features: Features, bank: TextBank
    ) -> None:
        if not isinstance(segmenter, Guided):
            assert segmenter.card.refine == "none" or segmenter.refined_scores(features, bank) is not None
            return
        guide = segmenter.guide(features)
        assert guide.dtype == torch.float32
        assert guide.shape[0] == 3
        assert guide.abs().max() < 4

    @pytest.mark.usefixtures("words")
    def test_every_refinement_of_the_card_is_done(self, segmenter: Segmenter, features: Features) -> None:
        assert segmenter.card.refine in segmenter.card.refinements
        for refine in segmenter.card.refinements:
            vocabulary = Vocabulary(CLASSES, background=None)
            answer = tasks.segment("semantic", segmenter, features, vocabulary, tasks.Options(refine=refine))

            assert sum(segment.area for segment in answer.segments) == SIZE[0] * SIZE[1]
