"""Masks follow the edges of the image and end at their box."""

import pytest
import torch

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny import prompting
from lexiseg_model.methods.tiny.mask_rules import smoothed
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.types import Point, Prompt

SIZE = (24, 32)  # cells of a mask


def test_a_shifted_mask_is_moved_to_the_edge_of_its_object() -> None:
    left = (torch.arange(SIZE[1]) < 16).expand(SIZE)
    cells = torch.where(left, 1.5, -1.5).expand(3, *SIZE)
    off = torch.where(torch.arange(SIZE[1]) < 17, 1.5, -1.5).expand(SIZE)[None]

    [moved] = smoothed(off, cells)

    assert ((off[0] > 0) != left).any()
    assert torch.equal(moved > 0, left)


AROUND = (150, 100, 400, 300)


@pytest.mark.parametrize(
    ("prompt", "is_smoothed", "ends"),
    [
        (Prompt((Point(250, 200),)), True, False),
        (Prompt((Point(250, 200), Point(20, 20, False))), True, False),
        (Prompt(box=AROUND), True, True),
        (Prompt((Point(250, 200), Point(20, 20, False)), AROUND), True, True),
        (Prompt(box=AROUND, rough=True), False, False),
        (Prompt((Point(500, 380),), AROUND), False, False),
    ],
    ids=["click", "points", "box", "points inside", "rough box", "point outside"],
)
def test_masks_are_smoothed_and_end_at_their_box_unless_it_is_rough_or_has_a_point_outside(
    tiny: TinySegmenter,
    coffee: Features,
    prompt: Prompt,
    is_smoothed: bool,
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [as_served] = tiny.prompt(coffee, [prompt])
    monkeypatch.setattr(prompting, "smoothed", lambda masks, cells: masks)

    [without] = tiny.prompt(coffee, [prompt])

    assert torch.equal(as_served.masks, without.masks) != is_smoothed
    assert (as_served.masks[0, -1, -1].item() < -100) == ends  # in the corner the ramp is steepest
    if all(point.positive for point in prompt.points):  # a correction is judged afterwards
        assert sorted(as_served.quality.tolist()) == sorted(without.quality.tolist())
    assert isinstance(as_served, PromptMasks)


def test_masks_of_a_click_are_ordered_by_quality(tiny: TinySegmenter, coffee: Features) -> None:
    prompts = [Prompt((Point(x, y),)) for x in (100.0, 250.0, 400.0) for y in (80.0, 200.0, 320.0)]

    answers = tiny.prompt(coffee, prompts)

    assert all((answer.quality.diff() <= 0).all() for answer in answers)


def test_a_card_of_before_may_state_rules_that_are_gone() -> None:
    settings = TinySettings.model_validate({"clicks": {"stability": 0.3}, "colours": {"weight": 3.0}, "presence": 0.4})

    assert settings == TinySettings(presence=0.4)
