"""Numbers of boxes and colours are fitted to pictures whose best numbers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lexiseg_model.data.read_scenes import read_object_scenes
from lexiseg_model.data.scenes import Objects
from lexiseg_model.methods.tiny.boxes.fit import OFF, Boxes, Numbers, Photograph, fit, gather, table, worth
from lexiseg_model.methods.tiny.own_colours import palette
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule, OwnColours

SIDE = 96  # pixels of a picture, which is as large as the network's input
BLIND = Numbers(BoxRule(more=0, doubt=0), OwnColours(weight=0))


@pytest.fixture
def discs() -> list[Photograph]:
    """A red disc on blue, of which the head sees the middle alone and knows little."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    depth = 32 - np.hypot(x - SIDE / 2, y - SIDE / 2)
    objects = Objects((depth > 0).astype(np.int32), (0,), np.zeros((SIDE, SIDE), np.bool_))
    red, blue = np.array([1.5, -0.5, -1.0]), np.array([-1.0, -0.5, 1.5])
    picture = torch.from_numpy(np.where(depth > 0, red[:, None, None], blue[:, None, None])).float()
    logits = torch.from_numpy((depth[2::4, 2::4] - 16) / 8).float()[None]
    box = torch.tensor([[16.0, 16.0, 80.0, 80.0]])
    asked = [Boxes(box, logits, torch.tensor([0.3])) for _ in OFF]
    return [Photograph(objects, [0], palette(picture[:, ::2, ::2], (SIDE // 4, SIDE // 4)), asked)]


def test_colours_that_tell_an_object_get_weight(discs: list[Photograph]) -> None:
    fitted = fit({"discs": discs}, BLIND)

    assert fitted.colours.weight > 0 or fitted.boxes.doubt > 0
    assert worth({"discs": discs}, BLIND) < 0.5
    assert worth({"discs": discs}, fitted) > 0.85


def test_no_other_value_of_one_number_is_better(discs: list[Photograph]) -> None:
    sets = {"discs": discs}
    fitted = fit(sets, BLIND)

    assert fit(sets, fitted) == fitted


def test_a_name_replaces_the_number_of_that_name_alone() -> None:
    other = BLIND.replaced("ring", 0.75).replaced("slack", 0.1)

    assert other == Numbers(BoxRule(more=0, doubt=0, slack=0.1), OwnColours(weight=0, ring=0.75))


def test_objects_of_a_split_are_asked_by_boxes_that_are_off(tiny: TinySegmenter, cups: Path) -> None:
    scenes = read_object_scenes("cups", cups, "train", lambda _: True).scenes

    found = gather(tiny, scenes, 2)

    [only] = found
    sides = [(asked.boxes[0, 2:] - asked.boxes[0, :2]).tolist() for asked in only.asked]
    np.testing.assert_allclose(np.divide(sides[1:], sides[0]), [[0.88, 0.88], [1.12, 1.12]], rtol=1e-4)
    [reached] = table({"cups": found}, None).values()
    assert len(reached) == len(OFF)
    assert max(reached) > 0.5
