"""plan, encode_tiles, assemble: what every model makes of an image."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError, OptionError, ShapeError
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import Segmenter, TextBank
from tests.model.conformance.asking import SIZE, blocks, encoded_in_company
from tests.model.conformance.conftest import Loaded
from tests.model.conformance.models import asked_of

CAP = InferenceOptions(max_side=64)
NO_IMAGES = {
    "gray": np.zeros((30, 40), np.uint8),
    "four channels": np.zeros((30, 40, 4), np.uint8),
    "real": np.zeros((30, 40, 3), np.float32),
    "empty": np.zeros((0, 40, 3), np.uint8),
    "a batch": np.zeros((1, 30, 40, 3), np.uint8),
}


@pytest.mark.parametrize("size", [SIZE, (100, 60), (16, 16), (16, 800), (800, 17), (333, 450)])
def test_a_plan_is_tiles_of_one_bucket_and_how_to_put_them_back(segmenter: Segmenter, size: tuple[int, int]) -> None:
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
def test_what_is_no_image_is_refused(segmenter: Segmenter, rgb: NDArray[np.uint8]) -> None:
    with pytest.raises(ShapeError, match=r"expected uint8 \[H, W, 3\], got"):
        segmenter.plan(rgb)


def test_max_side_caps_the_input_and_not_the_masks(segmenter: Segmenter) -> None:
    plan = segmenter.plan(blocks(), CAP)

    assert max(plan.bucket if plan.layout is None else plan.layout.canvas) <= 64
    assert plan.size == SIZE


def test_a_max_side_beyond_the_cards_changes_nothing(segmenter: Segmenter) -> None:
    plan = segmenter.plan(blocks(), InferenceOptions(max_side=100_000))

    np.testing.assert_array_equal(plan.tiles, segmenter.plan(blocks()).tiles)


def test_a_plan_reads_a_view_with_strides_and_leaves_the_image_as_it_was(segmenter: Segmenter) -> None:
    view, image = blocks()[:, ::-1], np.ascontiguousarray(blocks()[:, ::-1])

    plan = segmenter.plan(view)

    np.testing.assert_array_equal(plan.tiles, segmenter.plan(image).tiles)
    np.testing.assert_array_equal(view, image)


def test_the_answer_for_a_tile_does_not_depend_on_its_neighbours(segmenter: Segmenter) -> None:
    plans = [segmenter.plan(blocks(letters)) for letters in ("rgba", "bbga", "xrxg")]

    for plan, company in zip(plans, encoded_in_company(segmenter, plans), strict=True):
        alone = segmenter.encode_tiles(plan.tiles)
        assert [len(part) for part in alone] == [len(plan.tiles)] * len(alone)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(company, alone, strict=True))


def test_every_bucket_that_is_warmed_up_is_one_that_images_have(segmenter: Segmenter) -> None:
    for bucket in segmenter.buckets[:3]:
        assert segmenter.plan(np.zeros((*bucket, 3), np.uint8)).bucket == bucket
        parts = segmenter.encode_tiles(np.zeros((1, 3, *bucket), np.uint8))
        assert all(len(part) == 1 for part in parts)


@asked_of(lambda _: True, "exact")
def test_another_runtime_is_given_the_pass_that_the_model_does(segmenter: Segmenter) -> None:
    if not isinstance(segmenter, Exportable):
        assert not hasattr(segmenter, "image_network")
        return
    try:
        network = segmenter.image_network()
    except ExportError:  # the pass is more than one network
        return
    tiles = segmenter.plan(blocks()).tiles

    with torch.inference_mode():
        exported = network(torch.from_numpy(tiles))

    own = segmenter.encode_tiles(tiles)
    assert [part.dtype for part in exported] == [torch.float32] * len(own)
    for theirs, ours in zip(exported, own, strict=True):
        torch.testing.assert_close(theirs, ours.float(), atol=5e-3, rtol=1e-3)


def test_features_are_kept_in_one_number_type_and_know_their_bytes(loaded: Loaded) -> None:
    features = loaded.segmenter.encode(blocks())

    kinds = {tensor.dtype for tensor in features.tensors.values() if tensor.is_floating_point()}
    assert kinds <= {torch.float16} if loaded.precision == "fast" else kinds <= {torch.float16, torch.float32}
    assert len(kinds) == 1
    assert features.size == SIZE
    assert features.nbytes == sum(tensor.numel() * tensor.element_size() for tensor in features.tensors.values()) > 0


def test_features_hold_no_more_memory_than_they_weigh(features: Features) -> None:
    for tensor in features.tensors.values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_features_are_of_the_image_as_sent_when_it_was_decoded_smaller(segmenter: Segmenter) -> None:
    plan = segmenter.plan(blocks()).of_size((120, 200))

    assert segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles)).size == (120, 200)


def test_a_model_that_refines_has_a_normalised_guide_or_a_way_of_its_own(
    segmenter: Segmenter, features: Features, bank: TextBank
) -> None:
    if type(segmenter).guide is Segmenter.guide:
        with pytest.raises(OptionError, match=f"{segmenter.card.name} cannot refine its masks; refine must be none"):
            segmenter.guide(features)
        assert segmenter.card.refine == "none" or segmenter.refined_scores(features, bank) is not None
        return
    guide = segmenter.guide(features)
    assert guide.dtype == torch.float32
    assert guide.shape[0] == 3
    assert guide.abs().max() < 4
