"""The rule of asked words is fitted so that a word is found that another one exceeds everywhere."""

import pytest
import torch

from lexiseg_model.methods.tiny.settings import TogetherRule
from lexiseg_train.methods.tiny.together import Question, fit, loss

SCALE = 13.0


@pytest.mark.parametrize(("eaten", "higher"), [(True, True), (False, False)])
def test_words_are_raised_as_far_as_it_helps(eaten: bool, higher: bool) -> None:
    is_left = (torch.arange(24) < 12).expand(24, 24)
    pixels = torch.stack([is_left, ~is_left]).float()
    scores = torch.stack([torch.where(is_left, 10.0, 9.0), torch.where(is_left, 2.0, 5.0)])
    labels = torch.where(is_left, 0, 1 if eaten else 0)
    question = Question(scores, torch.full((24, 24), 3.0), pixels, labels)
    before = TogetherRule(raised=0.3, mixed=0.1)

    after = fit([question], SCALE, before)

    assert (after.raised > before.raised) == higher
    assert loss([question], after, torch.tensor(SCALE)) < loss([question], before, torch.tensor(SCALE))
