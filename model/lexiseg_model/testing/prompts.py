"""Prompts and classes by example: prompt, example_rows, example_vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexiseg_model.abilities import Examples, Places, Prompts
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter, Words
from lexiseg_model.testing.suite import BOX, CLICK, PAIR, Suite, blocks, in_range
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Region, Shown, Vocabulary
from lexiseg_model.video.following import Follower, Remembers, Start
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_vocabulary


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

    def test_no_prompts_have_no_answers_and_one_of_nothing_is_refused(
        self, prompts: Prompts, features: Features
    ) -> None:
        assert prompts.prompt(features, []) == []
        with pytest.raises(OptionError):
            prompts.prompt(features, [BOX, Prompt()])

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


def halves(size: tuple[int, int]) -> list[Region]:
    """The left half as a box, as a mask, and by a click; then the right half."""
    height, width = size
    mask = np.zeros(size, bool)
    mask[:, : width // 2] = True
    click = Prompt((Point(width / 4, height / 2), Point(width * 3 / 4, height / 2, positive=False)))
    right = Prompt(box=(width / 2, 0.0, float(width), float(height)))
    return [
        Region(Prompt(box=(0.0, 0.0, width / 2, float(height)))),
        Region(mask=encode_mask(mask)),
        Region(click),
        Region(right),
    ]


def encoded_red(examples: Examples, features: Features) -> list[bytes]:
    """Rows of `halves` as a class keeps them."""
    return [row.tobytes() for row in examples.example_rows(features, halves(features.size))]


class ExampleTests(Suite):
    """Of methods that take classes by example."""

    def test_a_region_has_one_row_which_does_not_depend_on_those_beside_it(
        self, examples: Examples, features: Features
    ) -> None:
        together = examples.example_rows(features, halves(features.size))
        alone = [examples.example_rows(features, [region])[0] for region in halves(features.size)]

        assert together.dtype == np.float16
        assert np.isfinite(together).all()
        assert np.allclose(together, np.stack(alone), atol=2e-3)

    def test_a_class_scores_higher_on_its_own_examples_than_on_what_it_is_not(
        self, examples: Examples, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        vectors = examples.example_vectors(*(np.frombuffer(row, np.float16)[None] for row in (left, right)))
        other = examples.example_vectors(np.frombuffer(right, np.float16)[None], np.zeros((0, 0), np.float16))

        assert float((vectors.vectors @ vectors.means.T).max()) > float((vectors.vectors @ other.means.T).max())

    def test_examples_stand_beside_words_and_need_none(
        self, segmenter: Segmenter, words: Words, examples: Examples, features: Features
    ) -> None:
        left, _, _, right = encoded_red(examples, features)
        alone = ClassEntry("mascot", shown=Shown((left,), (right,)), named=False)
        both = ClassEntry("sky", ("heaven",), shown=Shown((right,)))
        for classes in ((alone,), (ClassEntry("red"), alone, both)):
            for background in (None, Background(), Background(words=())):
                vocabulary = Vocabulary(classes, background)

                logits = score_vocabulary(segmenter, features, vocabulary, words.encode_texts)

                assert len(logits) == len(classes) + (background is not None)
                assert logits.isfinite().all()

    def test_a_background_word_that_says_what_examples_show_steps_aside(
        self, segmenter: Segmenter, words: Words, examples: Examples, features: Features
    ) -> None:
        left, *_ = encoded_red(examples, features)
        mascot = ClassEntry("mascot", shown=Shown((left,)), named=False)
        background = ("red", "green", "blue", "sky", "dog")
        bank = bank_of(segmenter, Vocabulary((mascot,), Background(words=background)), words.encode_texts)

        assert 1 <= bank.n_classes <= 1 + len(background)
        assert bank.has_examples
        assert (np.diff(bank.owner) >= 0).all()

    def test_rows_of_another_model_are_refused(self, examples: Examples) -> None:
        with pytest.raises(OptionError):
            examples.example_vectors(np.ones((1, 3), np.float16), np.zeros((0, 0), np.float16))
