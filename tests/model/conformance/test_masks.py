"""propose, prompt, embed_masks, region_scores: what every model that has masks of its own makes of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank
from lexiseg_model.types import Point, Prompt
from lexiseg_model.video.following import Follower, Remembers, Start
from tests.model.conformance.asking import BOX, CLASSES, CLICK, PAIR, bank_of, blocks
from tests.model.conformance.models import asked_of

proposing = asked_of(lambda model: model.masks)
promptable = asked_of(lambda model: model.prompts)


@asked_of(lambda model: not (model.masks or model.proposes) and not (model.prompts and model.words))
def test_a_model_without_masks_names_none_either_and_its_card_does_not_count_on_them(
    segmenter: Segmenter, features: Features, bank: TextBank
) -> None:
    name = segmenter.card.name
    with pytest.raises(TaskError, match=f"{name} proposes no masks"):
        segmenter.propose(features)
    with pytest.raises(TaskError, match=f"{name} does not classify masks"):
        segmenter.embed_masks(features, torch.zeros(1, 4, 4))
    with pytest.raises(TaskError, match=f"{name} does not classify masks"):
        segmenter.region_scores(features, torch.zeros(1, 4), bank)
    assert segmenter.card.panoptic.source != "proposals"


@asked_of(lambda model: not model.prompts)
def test_a_model_that_takes_no_prompts_says_so_on_its_card(segmenter: Segmenter, features: Features) -> None:
    with pytest.raises(TaskError, match=f"{segmenter.card.name} takes no prompts"):
        segmenter.prompt(features, [CLICK])
    assert "prompt" not in segmenter.card.tasks


def in_range(quality: Tensor) -> bool:
    """In 0..1."""
    return bool(((quality >= 0) & (quality <= 1)).all())


@proposing
def test_proposals_are_masks_with_what_they_show_best_first(segmenter: Segmenter, features: Features) -> None:
    masks, embeddings, quality = segmenter.propose(features)

    assert masks.ndim == 3
    assert embeddings.ndim == 2
    assert len(masks) == len(embeddings) == len(quality) > 0
    assert quality.tolist() == sorted(quality.tolist(), reverse=True)
    assert in_range(quality)
    assert masks.isfinite().all()
    assert embeddings.isfinite().all()


@proposing
def test_proposals_are_made_once_and_counted_with_the_features(segmenter: Segmenter) -> None:
    features = segmenter.encode(blocks())
    before = features.nbytes

    first = segmenter.propose(features)
    between = features.nbytes
    second = segmenter.propose(features)

    assert before < between == features.nbytes
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


@proposing
def test_those_who_propose_at_once_get_the_same(segmenter: Segmenter) -> None:
    features = segmenter.encode(blocks())

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: segmenter.propose(features), range(4)))
        alone = threads.submit(segmenter.propose, segmenter.encode(blocks())).result()

    for answer in answers:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(answer, alone, strict=True))


@proposing
def test_any_masks_show_something_whatever_their_resolution(segmenter: Segmenter, features: Features) -> None:
    width = segmenter.propose(features).embeddings.shape[1]
    masks = torch.full((3, 24, 40), -5.0)
    masks[0, :10, :24] = masks[1, 10:] = 5.0  # the last is empty

    shown = segmenter.embed_masks(features, masks)
    finer = segmenter.embed_masks(features, masks.repeat_interleave(2, 1).repeat_interleave(2, 2))

    assert shown.shape == finer.shape == (3, width)
    assert shown.isfinite().all()
    assert finer.isfinite().all()


@proposing
def test_no_masks_show_nothing(segmenter: Segmenter, features: Features, bank: TextBank) -> None:
    shown = segmenter.embed_masks(features, torch.zeros(0, 24, 40))

    assert shown.shape == (0, segmenter.propose(features).embeddings.shape[1])
    assert segmenter.region_scores(features, shown, bank).shape == (len(CLASSES), 0)


@proposing
def test_regions_have_a_score_for_each_class(segmenter: Segmenter, features: Features, bank: TextBank) -> None:
    embeddings = segmenter.propose(features).embeddings

    scores = segmenter.region_scores(features, embeddings, bank)

    assert scores.shape == (len(CLASSES), len(embeddings))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    backwards = segmenter.region_scores(features, embeddings, bank_of(segmenter, CLASSES[::-1]))
    torch.testing.assert_close(backwards.flip(0), scores, atol=1e-4, rtol=1e-4)
    alone = segmenter.region_scores(features, embeddings[:1], bank)
    torch.testing.assert_close(alone, scores[:, :1], atol=1e-4, rtol=1e-4)


@promptable
def test_prompts_are_answered_in_order_with_a_quality_for_each_mask(segmenter: Segmenter, features: Features) -> None:
    answers = segmenter.prompt(features, [PAIR, CLICK, BOX])

    assert len(answers) == 3
    assert {answer.masks.shape[1:] for answer in answers} == {answers[0].masks.shape[1:]}
    for answer in answers:
        assert len(answer.masks) == len(answer.quality) >= 1
        assert in_range(answer.quality)
        assert answer.masks.isfinite().all()


@promptable
def test_the_answer_to_a_prompt_does_not_depend_on_the_others(segmenter: Segmenter, features: Features) -> None:
    together = segmenter.prompt(features, [PAIR, CLICK, BOX])

    for prompt, answer in zip((PAIR, CLICK, BOX), together, strict=True):
        [alone] = segmenter.prompt(features, [prompt])
        torch.testing.assert_close(alone.quality, answer.quality, atol=2e-2, rtol=0)
        assert ((alone.masks > 0) == (answer.masks > 0)).float().mean() > 0.99


@promptable
def test_prompts_count_pixels_of_the_image_as_sent(segmenter: Segmenter, features: Features) -> None:
    plan = segmenter.plan(blocks())
    # Decoded at half of its size, as large photographs are.
    halved = segmenter.assemble(plan.of_size((120, 200)), segmenter.encode_tiles(plan.tiles))
    doubled = Prompt((Point(140, 40),)), Prompt(box=(20.0, 16.0, 180.0, 100.0))

    of_halved, of_whole = segmenter.prompt(halved, doubled), segmenter.prompt(features, [CLICK, BOX])

    for ours, theirs in zip(of_halved, of_whole, strict=True):
        assert torch.equal(ours.masks, theirs.masks)
        assert torch.equal(ours.quality, theirs.quality)


@promptable
def test_a_second_prompt_about_an_image_keeps_nothing_more(segmenter: Segmenter) -> None:
    features = segmenter.encode(blocks())
    segmenter.prompt(features, [BOX])
    between = features.nbytes

    segmenter.prompt(features, [CLICK])

    assert features.nbytes == between


@promptable
def test_a_prompt_of_nothing_is_refused(segmenter: Segmenter, features: Features) -> None:
    with pytest.raises(OptionError, match="prompt 1 has neither points nor a box"):
        segmenter.prompt(features, [BOX, Prompt()])


@promptable
def test_no_prompts_have_no_answers(segmenter: Segmenter, features: Features) -> None:
    assert segmenter.prompt(features, []) == []


@promptable
def test_what_a_prompt_shows_can_be_followed(segmenter: Segmenter, features: Features) -> None:
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


@asked_of(lambda model: not model.prompts)
def test_a_model_that_takes_no_prompts_follows_none(segmenter: Segmenter, features: Features) -> None:
    with pytest.raises(TaskError, match="does not track objects"):
        segmenter.places(features)
