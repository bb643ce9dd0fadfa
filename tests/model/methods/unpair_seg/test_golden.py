"""Every array of the authors' own outputs on random weights, within the fixtures' tolerances; the trunk is apart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.masks.nms import OverlapRule, suppress
from lexiseg_model.methods.unpair_seg import compatibility, regions
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.layers.prompts import Places, PromptTokens
from lexiseg_model.methods.unpair_seg.proposals import grid_points, propose
from lexiseg_model.methods.unpair_seg.settings import ProposalSettings
from tests.golden import golden_inputs
from tests.golden.weights import SEED
from tests.model.methods.unpair_seg import golden
from tests.model.methods.unpair_seg.golden import assert_close
from tests.once import kept

IMAGE = (300, 400)  # of the grid's case


@kept
@torch.inference_mode()
def tokens(kind: str) -> PromptTokens:
    encoder, maps = golden.masks().predictor.prompt_encoder, golden.features().masks
    if kind == "multi":
        places = Places.of_points(golden.prompt("multi_points"), golden.prompt("multi_sign") > 0)
        return encoder.together(places, maps, golden.SIZE)
    encode = encoder.points if kind == "points" else encoder.boxes
    return encode(golden.prompt(kind), maps, golden.SIZE)


@kept
@torch.inference_mode()
def layers() -> list[Prediction]:
    """Of the three points, after every layer."""
    return golden.masks().predictor.every_layer(golden.features(), tokens("points"))


@kept
def grid() -> Tensor:
    return grid_points(6, IMAGE, golden.SIZE)


@kept
def logits() -> Tensor:
    """Forty overlapping masks [40, 96, 128]."""
    blobs = golden.blobs("uni/nms_blobs", 24, 96, 128).numpy()
    blobs = np.concatenate([blobs, np.roll(blobs[:8], 3, 2), blobs[8:16] * np.roll(blobs[8:16], 9, 1)])
    noise = golden_inputs.normal(SEED, "uni/nms_noise", blobs.shape)
    return torch.from_numpy((2 * blobs.astype(np.float32) - 1) * 4 + 0.5 * noise)


def test_the_pixel_decoder_gives_the_reference_s_features() -> None:
    features = golden.features()

    assert_close(features.masks[0, ::8, 1::3, 1::3], "mask_features", golden.FEATURES)
    assert_close(features.levels[0][0, ::4], "multi_scale_s32", golden.FEATURES)
    assert_close(features.levels[1][0, ::4], "multi_scale_s16", golden.FEATURES)
    assert_close(features.levels[2][0, ::8, ::2, ::2], "multi_scale_s8", golden.FEATURES)


@pytest.mark.parametrize("kind", ["points", "boxes", "multi"])
def test_prompts_become_the_reference_s_tokens(kind: str) -> None:
    assert_close(tokens(kind).tokens[0, :, :, ::2], f"tokens_{kind}", golden.TOKENS)


@pytest.mark.parametrize("layer", [0, 4])
def test_layers_in_between_predict_as_the_reference_s(layer: int) -> None:
    between = layers()[layer]

    assert_close(between.masks[0, :, :, ::4, ::4], f"point_aux{layer}_masks", golden.MASKS)
    assert_close(between.quality[0].sigmoid(), f"point_aux{layer}_ious", golden.QUALITY)


@torch.inference_mode()
def test_several_points_read_as_released_give_the_released_mask() -> None:
    found = golden.masks().decode(golden.features(), compatibility.misread(tokens("multi")))

    assert_close(found.masks[0, :, :, 2::4, 2::4], "multi_masks_quirk", golden.MASKS)
    assert_close(found.quality[0].sigmoid(), "multi_ious_quirk", golden.QUALITY)


def test_the_grid_lies_over_the_image_alone() -> None:
    assert_close(Places.of_points(grid()[None, :, None]).boxes[0, :, 0], "grid_points", golden.PLACES)


@torch.inference_mode()
def test_the_grid_s_qualities_are_the_reference_s() -> None:
    encoder, features = golden.masks().predictor.prompt_encoder, golden.features()

    found = golden.masks().decode(features, encoder.points(grid()[None], features.masks, golden.SIZE))

    assert_close(found.quality.sigmoid().flatten(), "grid_ious_all", golden.QUALITY)


@pytest.mark.parametrize("per_pass", [36, 7])
def test_a_grid_proposes_what_the_released_code_does_however_it_is_cut(per_pass: int) -> None:
    settings = ProposalSettings(points_per_pass=per_pass)

    found = propose(golden.masks(), golden.features(), grid(), golden.SIZE, settings, "released")

    every = golden.masks().decode(
        golden.features(),
        golden.masks().predictor.prompt_encoder.points(grid()[None], golden.features().masks, golden.SIZE),
    )
    assert golden.places_among(found.masks, every.masks) == golden.reference()["grid_keep"].tolist()


def test_masks_suppress_each_other_as_in_the_reference() -> None:
    scores = golden.uniform("uni/nms_scores", (40,))
    np.testing.assert_array_equal(scores.numpy(), golden.reference()["nms_scores"])

    inner = suppress(compatibility.halved(logits()), scores)
    plain = suppress(logits().sigmoid() >= 0.5, scores, OverlapRule(overlap=0.7, inside=None))

    assert inner.tolist() == golden.reference()["nms_keep"].tolist()
    assert plain.tolist() == golden.reference()["nms_keep_plain"].tolist()


def test_masks_come_to_the_size_of_the_image_as_in_the_reference() -> None:
    assert_close(compatibility.to_image(logits()[:4], (75, 100))[:, 2::5, 2::5], "postprocess", golden.UPSAMPLED)


def test_features_are_averaged_under_masks_as_in_the_reference() -> None:
    assert_close(regions.pool(golden.maps()[2], logits()[None, :5])[0, :, ::4], "mask_pooling", golden.FEATURES)
