"""Prompts of a request on one image: number of masks, order and batches."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.methods.tiny.asking import MAX_BATCH, ask
from lexiseg_model.methods.tiny.prompt_head import MASKS, PromptHead, SharedMaps
from lexiseg_model.types import Point, Prompt
from tests.model.methods.tiny.small import HEIGHT, WIDTH

BOX = Prompt(box=(10, 10, 40, 30))
POINT = Prompt((Point(20, 20),))


def test_a_lone_positive_point_has_four_answers(head: PromptHead, shared: SharedMaps) -> None:
    [answer] = ask(head, shared, [POINT], (1.0, 1.0))

    assert answer.masks.shape == (MASKS, HEIGHT // 4, WIDTH // 4)
    assert answer.quality.shape == (MASKS,)


@pytest.mark.parametrize(
    "prompt",
    [
        BOX,
        Prompt((Point(20, 20),), (10, 10, 40, 30)),
        Prompt((Point(20, 20), Point(30, 20))),
        Prompt((Point(20, 20), Point(30, 20, False))),
        Prompt((Point(20, 20, False),)),
    ],
    ids=["box", "box and point", "two points", "point and negative", "negative"],
)
def test_any_other_prompt_has_one(head: PromptHead, shared: SharedMaps, prompt: Prompt) -> None:
    [answer] = ask(head, shared, [prompt], (1.0, 1.0))

    assert len(answer.masks) == len(answer.quality) == 1


def test_more_prompts_than_one_pass_holds_are_all_answered(head: PromptHead, shared: SharedMaps) -> None:
    prompts = [Prompt(box=(index % 40, 0, 50 + index % 40, 60)) for index in range(MAX_BATCH + 3)]

    answers = ask(head, shared, prompts, (1.0, 1.0))

    [last] = ask(head, shared, prompts[-1:], (1.0, 1.0))
    assert len(answers) == len(prompts)
    torch.testing.assert_close(answers[-1].masks, last.masks, atol=1e-3, rtol=1e-3)
