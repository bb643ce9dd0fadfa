"""Negative points, over models that ignore them or answer them with more."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.tasks.negative_points import MAX_ANSWERS, n_asked
from lexiseg_model.types import Point, Prompt, Refinement
from tests.model.stand_in import INSIDE, ColourSegmenter
from tests.model.tasks.asking import ALL, features_of, vocabulary

ROWS = [24 * "r" + 16 * "b" for _ in range(24)]
CLICK = Point(6, 12)
NEGATIVES = (Point(18, 12, positive=False), Point(18.2, 3.5, positive=False), Point(18, 19, positive=False))


class Deaf(ColourSegmenter):
    """Answers as if there were no negative points; notes how many prompts came."""

    def __init__(self) -> None:
        super().__init__(tasks=ALL)
        self.prompted: list[Prompt] = []

    def guide(self, features: Features) -> torch.Tensor:
        return features.tensors["pixels"][:3].float()

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        self.prompted += prompts
        heard = [Prompt(tuple(point for point in prompt.points if point.positive), prompt.box) for prompt in prompts]
        return super().prompt(features, heard)


class Greedy(Deaf):
    """A negative point makes it answer with the whole picture, but for two rows through the newest point."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        answers = super().prompt(features, prompts)
        for place, prompt in enumerate(prompts):
            negatives = [point for point in prompt.points if not point.positive]
            if negatives:
                masks = torch.full_like(answers[place].masks, INSIDE)
                masks[:, int(negatives[-1].y) :][:, :2] = -INSIDE
                answers[place] = answers[place]._replace(masks=masks)
        return answers


def mask_of(model: ColourSegmenter, prompt: Prompt, refine: Refinement = "none") -> NDArray[np.bool_]:
    options = tasks.Options(prompts=(prompt,), refine=refine)
    answer = tasks.segment("prompt", model, features_of(model, ROWS), vocabulary(), options)
    return decode(answer.segments[0].mask).astype(bool)


@pytest.mark.parametrize("refine", ["none", "pamr"])
@pytest.mark.parametrize("box", [None, (0, 0, 24, 24)], ids=["click", "box"])
@pytest.mark.parametrize("model", [Deaf, Greedy])
def test_each_negative_point_removes_what_is_around_it_and_adds_nothing(
    model: type[Deaf], box: tuple[float, float, float, float] | None, refine: Refinement
) -> None:
    points = (CLICK,) if box is None else ()
    before = mask_of(model(), Prompt(points, box), refine)

    for n in range(1, len(NEGATIVES) + 1):
        after = mask_of(model(), Prompt(points + NEGATIVES[:n], box), refine)

        assert not any(after[int(point.y), int(point.x)] for point in NEGATIVES[:n])
        assert all(after[int(point.y), int(point.x)] for point in points)
        assert not (after & ~before).any()
        assert after.sum() < before.sum() - 4  # more than the cells next to the point
        before = after


def test_only_the_part_around_the_point_is_removed() -> None:
    left_out = mask_of(Greedy(), Prompt((CLICK, NEGATIVES[1])))

    expected = np.zeros((24, 40), bool)
    expected[:, :24] = True
    expected[3:5, :24] = False
    np.testing.assert_array_equal(left_out, expected)


def test_the_number_of_questions_to_the_model_is_bounded() -> None:
    model = Deaf()
    points = tuple(Point(x + 0.5, 20.5, positive=False) for x in range(20))
    prompt = Prompt((CLICK, *points))

    mask = mask_of(model, prompt)

    assert len(model.prompted) == n_asked(prompt) == 1 + MAX_ANSWERS
    assert not mask[20, :20].any()
