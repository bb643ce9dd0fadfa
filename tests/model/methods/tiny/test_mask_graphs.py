"""What the browser's graphs compute of a prompt's masks is what the service does with them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.mask_graphs import ChooseMask, Palette
from lexiseg_model.methods.tiny.prompting import as_tensors
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Point, Prompt

CLICK = Prompt((Point(200.0, 150.0),))
BOX = Prompt((), (100.0, 60.0, 420.0, 320.0))
BOTH = Prompt((Point(200.0, 150.0), Point(30.0, 20.0, False)), (100.0, 60.0, 420.0, 320.0))


@pytest.mark.parametrize("prompt", [CLICK, BOX, BOTH])
@torch.inference_mode()
def test_the_chosen_mask_is_the_services_first(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]], prompt: Prompt
) -> None:
    plan = tiny.plan(photographs["coffee"])
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    scale = tiny._scale_of(features)
    tensors = as_tensors([prompt], scale, torch.device("cpu"))
    predict = tiny._predictor().click_masks if prompt.is_lone_click else tiny._predictor().prompt_mask
    masks, quality = (part[0, 0].float() for part in predict(tiny._shared(features), tensors))

    guide, *palette = Palette()(torch.from_numpy(plan.tiles[0]))
    mask, sure = ChooseMask(tiny.settings)(masks, quality, tensors.boxes[0, 0], tensors.has_box[0, 0], *palette)

    (expected,) = tiny._refined_masks(features, [prompt])
    assert torch.equal(guide, features.tensors["guide"])
    assert sure.item() == pytest.approx(expected.quality[0].item())
    assert torch.allclose(mask, expected.masks[0], atol=1e-2)
    assert ((mask > 0) == (expected.masks[0] > 0)).float().mean() > 0.999
