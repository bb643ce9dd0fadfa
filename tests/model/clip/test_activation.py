"""QuickGELU or GELU: decided by what is known, corrected aloud, refused where it contradicts."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from lexiseg_model.clip.activation import Evidence, decide
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.towers import from_state
from lexiseg_model.clip.vision import image_embedding, require_plain_vit, tokens_before_last_block
from lexiseg_model.errors import WeightsError
from tests.golden import golden_inputs
from tests.golden.weights import FOLDER, SEED, openai_clip_vitb16_state

QUICK = Evidence(True, "a file that OpenAI published")
EXACT = Evidence(False, "pretrained tag laion2b_s34b_b88k")


@pytest.mark.parametrize(("explicit", "evidence"), [(False, QUICK), (True, EXACT)])
def test_a_setting_against_the_weights_is_refused(explicit: bool, evidence: Evidence) -> None:
    with pytest.raises(WeightsError, match=evidence.reason):
        decide("ViT-B-16", explicit, evidence, unmarked=False)


@pytest.mark.parametrize(("architecture", "evidence"), [("ViT-B-16", QUICK), ("ViT-B-16-quickgelu", EXACT)])
def test_a_name_against_the_weights_is_corrected_aloud(
    architecture: str, evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert decide(architecture, None, evidence, unmarked=False) is evidence.quick_gelu

    assert evidence.reason in caplog.text


@pytest.mark.parametrize("unmarked", [False, True])
def test_an_assumption_is_made_aloud(unmarked: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert decide("ViT-B-16", None, None, unmarked) is unmarked

    assert "is assumed" in caplog.text


@torch.inference_mode()
def test_the_wrong_activation_is_far_from_the_reference() -> None:
    image = golden_inputs.image(SEED, "dense/image224", 224, 224)
    reference = torch.from_numpy(np.load(FOLDER / "dense_clip.npz")["clip_image_embedding_224"])
    visual = require_plain_vit(from_state("ViT-B-16", openai_clip_vitb16_state(), quick_gelu=False).visual)

    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    tokens = tokens_before_last_block(visual, normalise(pixels, "clip_rounded"), "size")
    vector = torch.nn.functional.normalize(image_embedding(visual, tokens), dim=1)[0]

    # The right one is within 3e-6 of it (test_golden of dense_clip); this is a hundred times that.
    assert (vector - reference).abs().max() > 3e-4
