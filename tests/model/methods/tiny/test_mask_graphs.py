"""What the browser's graphs compute of a prompt's masks is what the service does with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny import closer_look
from lexiseg_model.methods.tiny.mask_graphs import ChooseMask, FinishMask, LookAt, Palette
from lexiseg_model.methods.tiny.prompting import as_tensors
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.types import Point, Prompt

CLICK = Prompt((Point(200.0, 150.0),))
BOX = Prompt((), (100.0, 60.0, 420.0, 320.0))
OUTSIDE = Prompt((Point(500.0, 380.0),), (100.0, 60.0, 420.0, 320.0))
SURE = Prompt((Point(200.0, 150.0), Point(300.0, 200.0)), (100.0, 60.0, 420.0, 320.0))
BOTH = Prompt((Point(200.0, 150.0), Point(30.0, 20.0, False)), (100.0, 60.0, 420.0, 320.0))


@pytest.mark.parametrize("prompt", [CLICK, BOX, SURE])
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
    mask, sure = ChooseMask()(masks, quality, *(part[0, 0] for part in tensors), *palette)

    (expected,) = tiny._refined_masks(features, [prompt])
    assert torch.equal(guide, features.tensors["guide"])
    assert sure.item() == pytest.approx(expected.quality[0].item())
    assert torch.allclose(mask, expected.masks[0], atol=1e-2)
    assert ((mask > 0) == (expected.masks[0] > 0)).float().mean() > 0.999


@pytest.mark.parametrize("prompt", [CLICK, BOX, BOTH, OUTSIDE])
@torch.inference_mode()
def test_the_finished_mask_is_the_services(tiny: TinySegmenter, coffee: Features, prompt: Prompt) -> None:
    whole = replace(prompt, single_pass=True)
    (refined,), (expected,) = tiny._refined_masks(coffee, [whole]), tiny.prompt(coffee, [whole])
    tensors = as_tensors([prompt], tiny._scale_of(coffee), torch.device("cpu"))
    inputs = [refined.masks[0], refined.quality[:1], *(part[0, 0] for part in tensors), torch.tensor(0.0)]

    (mask,) = FinishMask(tiny.settings)(*inputs)

    assert ((mask > 0) == (expected.masks[0] > 0)).float().mean() > 0.9999


def test_a_graph_looks_at_a_small_box_where_the_service_does() -> None:
    rule = TinySettings()
    whole = Features((300, 400), {"picture": torch.zeros(450, 600, 3), "pixels": torch.zeros(1, 72, 96)})
    prompt = Prompt((Point(50.0, 40.0), Point(390.0, 290.0, False)), (40.0, 30.0, 80.0, 60.0))
    crop = closer_look.crop_for(prompt, whole, 32, rule.looks)
    assert crop is not None
    moved = closer_look.to_crop(prompt, whole, crop)
    places = torch.tensor([[50.0, 40.0], [390.0, 290.0]], dtype=torch.float64)
    signs, box = torch.tensor([1.0, -1.0]).double(), torch.tensor(prompt.box).double()
    sizes = [torch.tensor(size).double() for size in ((300, 400), (288, 384), (450, 600))]

    span, shape, looks, moved_box, points, inside = LookAt(rule, 32)(places, signs, box, *sizes)

    assert looks == 1
    assert (*map(int, span), tuple(map(int, shape))) == crop
    assert tuple(moved_box.tolist()) == moved.box
    assert inside.tolist() == [1, 0]
    assert [(point.x, point.y) for point in moved.points] == [tuple(points[0].tolist())]
