"""Image passes, and masks: plan, encode_tiles, assemble; propose, embed_masks, region_scores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.abilities import Proposing, Regions
from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import Segmenter, TextBank, Words
from lexiseg_model.testing.suite import CLASSES, SIZE, Suite, bank_of, blocks, in_range
from lexiseg_model.types import Precision

NO_IMAGES = {
    "gray": np.zeros((30, 40), np.uint8),
    "four channels": np.zeros((30, 40, 4), np.uint8),
    "real": np.zeros((30, 40, 3), np.float32),
    "empty": np.zeros((0, 40, 3), np.uint8),
    "a batch": np.zeros((1, 30, 40, 3), np.uint8),
}


class ImageTests(Suite):
    """Of every method."""

    @pytest.mark.parametrize("size", [SIZE, (100, 60), (16, 16), (16, 800), (800, 17), (333, 450)])
    def test_a_plan_is_tiles_of_one_bucket_and_how_to_put_them_back(
        self, segmenter: Segmenter, size: tuple[int, int]
    ) -> None:
        plan = segmenter.plan(np.zeros((*size, 3), np.uint8))

        assert plan.size == size
        assert plan.tiles.dtype == np.uint8
        assert plan.tiles.ndim == 4
        assert plan.tiles.shape[1] == 3
        assert plan.tiles.size > 0
        if plan.layout is None:
            assert len(plan.tiles) == 1
        else:
            assert len(plan.layout.offsets) == len(plan.tiles)
            assert plan.layout.tile == plan.bucket

    @pytest.mark.parametrize("rgb", NO_IMAGES.values(), ids=NO_IMAGES)
    def test_what_is_no_image_is_refused(self, segmenter: Segmenter, rgb: NDArray[np.uint8]) -> None:
        with pytest.raises(ShapeError):
            segmenter.plan(rgb)

    def test_max_side_caps_the_input_and_not_the_masks_and_beyond_the_cards_changes_nothing(
        self, segmenter: Segmenter
    ) -> None:
        plan, capped, whole = (
            segmenter.plan(blocks(), InferenceOptions(max_side=side)) for side in (None, 64, 100_000)
        )

        assert max(capped.bucket if capped.layout is None else capped.layout.canvas) <= 64
        assert capped.size == SIZE
        np.testing.assert_array_equal(whole.tiles, plan.tiles)

    def test_a_plan_reads_a_view_with_strides_and_leaves_the_image_as_it_was(self, segmenter: Segmenter) -> None:
        view, image = blocks()[:, ::-1], np.ascontiguousarray(blocks()[:, ::-1])

        plan = segmenter.plan(view)

        np.testing.assert_array_equal(plan.tiles, segmenter.plan(image).tiles)
        np.testing.assert_array_equal(view, image)

    def test_the_answer_for_a_tile_does_not_depend_on_its_neighbours(self, segmenter: Segmenter) -> None:
        plans = [segmenter.plan(blocks(letters)) for letters in ("rgba", "bbga", "xrxg")]

        together = segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
        ends = np.cumsum([len(plan.tiles) for plan in plans]).tolist()
        for plan, end in zip(plans, ends, strict=True):
            company = [part[end - len(plan.tiles) : end] for part in together]
            alone = segmenter.encode_tiles(plan.tiles)
            assert [len(part) for part in alone] == [len(plan.tiles)] * len(alone)
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(company, alone, strict=True))

    def test_every_bucket_that_is_warmed_up_is_one_that_images_have(self, segmenter: Segmenter) -> None:
        for bucket in segmenter.buckets[:3]:
            assert segmenter.plan(np.zeros((*bucket, 3), np.uint8)).bucket == bucket
            parts = segmenter.encode_tiles(np.zeros((1, 3, *bucket), np.uint8))
            assert all(len(part) == 1 for part in parts)

    def test_features_are_kept_in_one_number_type_and_know_their_bytes(
        self, features: Features, precision: Precision
    ) -> None:
        kinds = {tensor.dtype for tensor in features.tensors.values() if tensor.is_floating_point()}
        assert kinds <= {torch.float16} if precision == "fast" else kinds <= {torch.float16, torch.float32}
        assert len(kinds) == 1
        assert features.size == SIZE
        assert features.nbytes == features.derived.nbytes + sum(
            tensor.untyped_storage().nbytes() for tensor in features.tensors.values()
        )

    def test_features_are_of_the_image_as_sent_when_it_was_decoded_smaller(self, segmenter: Segmenter) -> None:
        plan = segmenter.plan(blocks()).of_size((120, 200))

        assert segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles)).size == (120, 200)


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
