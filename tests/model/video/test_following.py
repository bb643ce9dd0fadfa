"""Objects that are followed from frame to frame, and lost at a scene cut."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.features import Features
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Sight, Start
from tests.model.stand_in import COLOURS, ColourSegmenter
from tests.model.video.moving import HEIGHT, SIDE, WIDTH, box, scene, square

HERE = (20, 10)


class WholeColours(ColourSegmenter):
    """Answers any box by all red pixels."""

    prompted: Sequence[Prompt] = ()

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        self.prompted = prompts
        pixels = features.tensors["pixels"].float()
        return [PromptMasks((pixels[:1] - pixels[1:2] - 0.5) * 20, torch.tensor([0.8])) for _ in prompts]


class LeakyBoxes(ColourSegmenter):
    """Answers a tight box by its red pixels, a larger one by all of its pixels."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        red = features.tensors["pixels"].float()[:1] > 0.99
        answers = []
        for prompt in prompts:
            assert prompt.box is not None
            left, top, right, bottom = (round(edge) for edge in prompt.box)
            inside = torch.zeros_like(red)
            inside[:, top:bottom, left:right] = True
            mask = inside & red if bottom - top <= SIDE + 1 else inside
            answers.append(PromptMasks(mask.float() * 16 - 8, torch.tensor([0.8])))
        return answers


@pytest.fixture
def model() -> WholeColours:
    return WholeColours(tasks=("prompt",))


@pytest.fixture
def follower(model: WholeColours) -> Follower:
    """After the first frame, with a red square."""
    follower = Follower()
    follower.step(model, model.encode(scene(red=HERE)), [Start(1, Prompt(box=box(HERE)))])
    return follower


def follow(follower: Follower, model: ColourSegmenter, rgb: NDArray[np.uint8]) -> Sight:
    (sight,) = follower.step(model, model.encode(rgb))
    return sight


def test_an_object_is_lost_at_a_scene_cut(follower: Follower, model: WholeColours) -> None:
    assert follow(follower, model, np.full((HEIGHT, WIDTH, 3), COLOURS["green"], np.uint8)).mask is None


def test_an_object_that_is_in_both_scenes_is_followed_through_the_cut(follower: Follower, model: WholeColours) -> None:
    other = np.full((HEIGHT, WIDTH, 3), COLOURS["green"], np.uint8)
    other[square((30, 18))] = COLOURS["red"]

    follow(follower, model, other)

    assert follow(follower, model, other).mask is not None


def test_a_mask_does_not_spread_over_surroundings_a_little_like_its_object() -> None:
    model, follower = LeakyBoxes(tasks=("prompt",)), Follower()
    cross = np.zeros((HEIGHT, WIDTH), np.bool_)
    cross[HERE[1] + 5 : HERE[1] + 7, HERE[0] : HERE[0] + SIDE] = True
    cross[HERE[1] : HERE[1] + SIDE, HERE[0] + 5 : HERE[0] + 7] = True
    first, later = scene(), scene()
    later[square((HERE[0] - SIDE // 2, HERE[1] - SIDE // 2), 2 * SIDE)] = (190, 0, 180)
    for rgb in (first, later):
        rgb[cross] = COLOURS["red"]
    follower.step(model, model.encode(first), [Start(1, Prompt(box=box(HERE)))])

    sights = [follow(follower, model, later) for _ in range(5)]

    sizes = [0 if sight.mask is None else int((sight.mask.masks > 0).sum()) for sight in sights]
    assert sizes == [cross.sum()] * 5


def test_boxes_are_taken_literally_without_a_closer_look(follower: Follower, model: WholeColours) -> None:
    follow(follower, model, scene(red=(22, 11)))

    assert model.prompted
    assert not any(prompt.rough for prompt in model.prompted)
    assert all(prompt.single_pass for prompt in model.prompted)
