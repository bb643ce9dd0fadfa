"""The authors' outputs of what no question shows: predictions between layers, and which masks suppress others."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.masks.nms import OverlapRule, suppress
from lexiseg_model.methods.unpair_seg import compatibility
from tests.golden import golden_inputs
from tests.golden.weights import SEED
from tests.model.methods.unpair_seg import golden
from tests.model.methods.unpair_seg.golden import assert_close
from tests.once import kept


@kept
def logits() -> Tensor:
    """Forty overlapping masks [40, 96, 128]."""
    blobs = golden.blobs("uni/nms_blobs", 24, 96, 128).numpy()
    blobs = np.concatenate([blobs, np.roll(blobs[:8], 3, 2), blobs[8:16] * np.roll(blobs[8:16], 9, 1)])
    noise = golden_inputs.normal(SEED, "uni/nms_noise", blobs.shape)
    return torch.from_numpy((2 * blobs.astype(np.float32) - 1) * 4 + 0.5 * noise)


@pytest.mark.parametrize("layer", [0, 4])
@torch.inference_mode()
def test_layers_in_between_predict_as_the_reference_s(layer: int) -> None:
    network, features = golden.masks(), golden.features()
    tokens = network.predictor.prompt_encoder.points(golden.prompt("points"), features.masks, golden.SIZE)

    between = network.predictor.every_layer(features, tokens)[layer]

    assert_close(between.masks[0, :, :, ::4, ::4], f"point_aux{layer}_masks", golden.MASKS)
    assert_close(between.quality[0].sigmoid(), f"point_aux{layer}_ious", golden.QUALITY)


def test_masks_suppress_each_other_as_in_the_reference() -> None:
    scores = golden.uniform("uni/nms_scores", (40,))
    np.testing.assert_array_equal(scores.numpy(), golden.reference()["nms_scores"])

    inner = suppress(compatibility.halved(logits()), scores)
    plain = suppress(logits().sigmoid() >= 0.5, scores, OverlapRule(overlap=0.7, inside=None))

    assert inner.tolist() == golden.reference()["nms_keep"].tolist()
    assert plain.tolist() == golden.reference()["nms_keep_plain"].tolist()
