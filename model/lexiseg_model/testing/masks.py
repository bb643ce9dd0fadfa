"""propose, embed_masks, region_scores: what a method with masks of its own makes of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from lexiseg_model.abilities import Proposing, Regions
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank, Words
from lexiseg_model.testing.suite import CLASSES, Suite, bank_of, blocks


def in_range(quality: Tensor) -> bool:
    """In 0..1."""
    return bool(((quality >= 0) & (quality <= 1)).all())


class MaskTests(Suite):
    """Of methods that propose masks and classify them."""

    def test_proposals_are_masks_with_what_they_show_best_first(self, proposing: Proposing, features: Features) -> None:
        masks, embeddings, quality = proposing.propose(features)

        assert masks.ndim == 3
        assert embeddings.ndim == 2
        assert len(masks) == len(embeddings) == len(quality) > 0
        assert quality.tolist() == sorted(quality.tolist(), reverse=True)
        assert in_range(quality)
        assert masks.isfinite().all()
        assert embeddings.isfinite().all()

    def test_proposals_are_made_once_and_counted_with_the_features(
        self, segmenter: Segmenter, proposing: Proposing
    ) -> None:
        features = segmenter.encode(blocks())
        before = features.nbytes

        first = proposing.propose(features)
        between = features.nbytes
        second = proposing.propose(features)

        assert before < between == features.nbytes
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))

    def test_those_who_propose_at_once_get_the_same(self, segmenter: Segmenter, proposing: Proposing) -> None:
        features = segmenter.encode(blocks())

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: proposing.propose(features), range(4)))
            alone = threads.submit(proposing.propose, segmenter.encode(blocks())).result()

        for answer in answers:
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(answer, alone, strict=True))

    def test_any_masks_show_something_whatever_their_resolution(
        self, proposing: Proposing, regions: Regions, features: Features
    ) -> None:
        width = proposing.propose(features).embeddings.shape[1]
        masks = torch.full((3, 24, 40), -5.0)
        masks[0, :10, :24] = masks[1, 10:] = 5.0  # the last is empty

        embeddings = regions.embed_masks(features, masks)
        finer = regions.embed_masks(features, masks.repeat_interleave(2, 1).repeat_interleave(2, 2))

        assert embeddings.shape == finer.shape == (3, width)
        assert embeddings.isfinite().all()
        assert finer.isfinite().all()

    def test_no_masks_show_nothing(
        self, proposing: Proposing, regions: Regions, features: Features, bank: TextBank
    ) -> None:
        embeddings = regions.embed_masks(features, torch.zeros(0, 24, 40))

        assert embeddings.shape == (0, proposing.propose(features).embeddings.shape[1])
        assert regions.region_scores(features, embeddings, bank).shape == (len(CLASSES), 0)

    def test_regions_have_a_score_for_each_class(
        self, words: Words, proposing: Proposing, regions: Regions, features: Features, bank: TextBank
    ) -> None:
        embeddings = proposing.propose(features).embeddings

        scores = regions.region_scores(features, embeddings, bank)

        assert scores.shape == (len(CLASSES), len(embeddings))
        assert scores.dtype == torch.float32
        assert scores.isfinite().all()
        backwards = regions.region_scores(features, embeddings, bank_of(words, CLASSES[::-1]))
        torch.testing.assert_close(backwards.flip(0), scores, atol=1e-4, rtol=1e-4)
        alone = regions.region_scores(features, embeddings[:1], bank)
        torch.testing.assert_close(alone, scores[:, :1], atol=1e-4, rtol=1e-4)
