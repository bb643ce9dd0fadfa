"""prompt: what a promptable method makes of points and boxes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.abilities import Places, Prompts
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.testing.suite import BOX, CLICK, PAIR, Suite, blocks
from lexiseg_model.types import (
    Point,
    Prompt,
)
from lexiseg_model.video.following import Follower, Remembers, Start


def in_range(quality: Tensor) -> bool:
    """In 0..1."""
    return bool(((quality >= 0) & (quality <= 1)).all())


class PromptTests(Suite):
    """Of methods that take points and boxes."""

    def test_prompts_are_answered_in_order_with_a_quality_for_each_mask(
        self, prompts: Prompts, features: Features
    ) -> None:
        answers = prompts.prompt(features, [PAIR, CLICK, BOX])

        assert len(answers) == 3
        assert {answer.masks.shape[1:] for answer in answers} == {answers[0].masks.shape[1:]}
        for answer in answers:
            assert len(answer.masks) == len(answer.quality) >= 1
            assert in_range(answer.quality)
            assert answer.masks.isfinite().all()

    def test_the_answer_to_a_prompt_does_not_depend_on_the_others(self, prompts: Prompts, features: Features) -> None:
        together = prompts.prompt(features, [PAIR, CLICK, BOX])

        for prompt, answer in zip((PAIR, CLICK, BOX), together, strict=True):
            [alone] = prompts.prompt(features, [prompt])
            torch.testing.assert_close(alone.quality, answer.quality, atol=2e-2, rtol=0)
            assert ((alone.masks > 0) == (answer.masks > 0)).float().mean() > 0.99

    def test_prompts_count_pixels_of_the_image_as_sent(
        self, segmenter: Segmenter, prompts: Prompts, features: Features
    ) -> None:
        plan = segmenter.plan(blocks())
        # Decoded at half of its size, as large photographs are.
        halved = segmenter.assemble(plan.of_size((120, 200)), segmenter.encode_tiles(plan.tiles))
        doubled = Prompt((Point(140, 40),)), Prompt(box=(20.0, 16.0, 180.0, 100.0))

        of_halved, of_whole = prompts.prompt(halved, doubled), prompts.prompt(features, [CLICK, BOX])

        for ours, theirs in zip(of_halved, of_whole, strict=True):
            assert torch.equal(ours.masks, theirs.masks)
            assert torch.equal(ours.quality, theirs.quality)

    def test_a_second_prompt_about_an_image_keeps_nothing_more(self, segmenter: Segmenter, prompts: Prompts) -> None:
        features = segmenter.encode(blocks())
        prompts.prompt(features, [BOX])
        between = features.nbytes

        prompts.prompt(features, [CLICK])

        assert features.nbytes == between

    def test_a_prompt_of_nothing_is_refused(self, prompts: Prompts, features: Features) -> None:
        with pytest.raises(OptionError):
            prompts.prompt(features, [BOX, Prompt()])

    def test_no_prompts_have_no_answers(self, prompts: Prompts, features: Features) -> None:
        assert prompts.prompt(features, []) == []

    @pytest.mark.usefixtures("prompts")
    def test_what_a_prompt_shows_can_be_followed(self, segmenter: Segmenter, features: Features) -> None:
        if not isinstance(segmenter, Places | Remembers):
            pytest.skip(f"{segmenter.card.name} does not follow objects")
        follower = Follower()
        (began,) = follower.step(segmenter, features, [Start(7, BOX)])
        (followed,) = follower.step(segmenter, features)

        assert (began.number, followed.number) == (7, 7)
        assert began.mask is not None
        if isinstance(segmenter, Remembers):
            return
        places = segmenter.places(features)
        assert places.dtype == torch.float32
        assert torch.allclose(places.norm(dim=0), torch.ones(places.shape[1:]), atol=1e-3)
        across, down = places.shape[2] / features.size[1], places.shape[1] / features.size[0]
        assert across == pytest.approx(down, rel=0.25)  # the picture's shape, but for what rounding does
