"""Prompts of a request put to one image: coordinates, order, which head answers; proposals of a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.methods.tiny.asking import LEAST_CELLS, PER_PASS, as_tensors, ask, check, grid, propose, ranks
from lexiseg_model.methods.tiny.prompt_head import MASKS, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ProposalSettings
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, filled
from lexiseg_model.types import Point, Prompt
from lexiseg_model.weights import read_weights

HEIGHT, WIDTH = 96, 128  # pixels of the network's input
CPU = torch.device("cpu")
BOX = Prompt(box=(10, 10, 40, 30))
POINT = Prompt((Point(20, 20),))
ALL = ProposalSettings(grid=6, quality=0.0, rule=OverlapRule(overlap=1.0, inside=None), explains=0, hope=0)


@pytest.fixture(scope="module")
def head() -> PromptHead:
    return filled(PromptHead(), TinyState.of(read_weights(BUNDLED, None)).prompts, BUNDLED)


@pytest.fixture(scope="module")
def shared(head: PromptHead, tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]) -> SharedMaps:
    """Of a cup on a saucer, small."""
    plan = tiny.plan(photographs["coffee"], InferenceOptions(max_side=WIDTH))
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    assert plan.bucket == (HEIGHT, WIDTH)
    return head.maps(features.tensors["pixels"][None].float(), tiny.guide(features)[None])


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


def test_the_best_answer_comes_first(head: PromptHead, shared: SharedMaps) -> None:
    for answer in ask(head, shared, [POINT, Prompt((Point(80, 50),))], (1.0, 1.0)):
        assert answer.quality.tolist() == sorted(answer.quality.tolist(), reverse=True)
        assert (answer.quality > 0).all()
        assert (answer.quality < 1).all()


def test_answers_come_in_the_order_of_the_prompts(head: PromptHead, shared: SharedMaps) -> None:
    prompts = [BOX, POINT, Prompt(box=(0, 0, 128, 96)), Prompt((Point(80, 50),))]

    together = ask(head, shared, prompts, (1.0, 1.0))

    for prompt, answer in zip(prompts, together, strict=True):
        [alone] = ask(head, shared, [prompt], (1.0, 1.0))
        torch.testing.assert_close(answer.masks, alone.masks, atol=1e-3, rtol=1e-3)


def test_more_prompts_than_one_pass_holds_are_all_answered(head: PromptHead, shared: SharedMaps) -> None:
    prompts = [Prompt(box=(index % 40, 0, 50 + index % 40, 60)) for index in range(PER_PASS + 3)]

    answers = ask(head, shared, prompts, (1.0, 1.0))

    [last] = ask(head, shared, prompts[-1:], (1.0, 1.0))
    assert len(answers) == len(prompts)
    torch.testing.assert_close(answers[-1].masks, last.masks, atol=1e-3, rtol=1e-3)


def test_no_prompts_have_no_answers(head: PromptHead, shared: SharedMaps) -> None:
    assert ask(head, shared, [], (1.0, 1.0)) == []


def test_a_prompt_of_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="prompt 1 has neither points nor a box"):
        check([BOX, Prompt()])


def test_coordinates_are_brought_to_the_networks_input() -> None:
    prompts = as_tensors([Prompt((Point(10, 20),), (1, 2, 3, 4))], (0.5, 0.25), CPU)

    assert prompts.points.tolist() == [[[[5.0, 5.0]]]]
    assert prompts.boxes.tolist() == [[[0.5, 0.5, 1.5, 1.0]]]


def test_prompts_of_unequal_length_stand_side_by_side() -> None:
    prompts = as_tensors([Prompt((Point(1, 1), Point(2, 2, False), Point(3, 3))), BOX], (1.0, 1.0), CPU)

    assert prompts.signs.tolist() == [[[1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]]
    assert prompts.has_box.tolist() == [[0.0, 1.0]]


def test_a_grid_has_its_points_in_the_middle_of_equal_parts(shared: SharedMaps) -> None:
    assert grid(2, shared).tolist() == [[32.0, 24.0], [96.0, 24.0], [32.0, 72.0], [96.0, 72.0]]


def test_proposals_come_best_first(head: PromptHead, shared: SharedMaps) -> None:
    found = propose(head, shared, ALL)

    assert len(found.masks) == len(found.quality) > 1
    assert found.quality.tolist() == sorted(found.quality.tolist(), reverse=True)


def test_every_point_of_a_grid_has_its_rank() -> None:
    for n in (1, 2, 3, 6, 20):
        assert sorted(torch.cat(ranks(n)).tolist()) == list(range(n * n))


@pytest.mark.parametrize("sparing", [{"explains": 0.5}, {"hope": 0.5}], ids=["well inside a mask", "beside bad masks"])
def test_points_that_are_not_asked(head: PromptHead, shared: SharedMaps, sparing: dict[str, float]) -> None:
    asked: list[Tensor] = []
    body = head.body

    def counted(maps: SharedMaps, prompts: Prompts) -> Tensor:
        asked.append(prompts.points[0, :, 0])
        return body(maps, prompts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "body", counted)
        propose(head, shared, ALL.model_copy(update=sparing))

    points = torch.cat(asked).tolist()
    *first, _ = ranks(ALL.grid)
    assert len({tuple(point) for point in points}) == len(points) < ALL.grid**2
    assert "hope" not in sparing or grid(ALL.grid, shared)[torch.cat(first)].tolist() == points[: len(torch.cat(first))]


def test_proposals_below_the_threshold_are_left_out(head: PromptHead, shared: SharedMaps) -> None:
    every = propose(head, shared, ALL)
    middle = every.quality.median().item()

    good = propose(head, shared, ALL.model_copy(update={"quality": middle}))

    assert 0 < len(good.quality) < len(every.quality)
    assert (good.quality >= middle).all()


def test_proposals_that_cover_the_same_are_one(head: PromptHead, shared: SharedMaps) -> None:
    every = propose(head, shared, ALL)

    fewer = propose(head, shared, ALL.model_copy(update={"rule": OverlapRule()}))

    assert 0 < len(fewer.masks) < len(every.masks)


def test_a_speck_is_no_proposal(head: PromptHead, shared: SharedMaps) -> None:
    masks = propose(head, shared, ALL).masks

    assert ((masks > 0).sum((1, 2)) >= LEAST_CELLS).all()


def test_where_nothing_is_good_enough_there_are_no_proposals(head: PromptHead, shared: SharedMaps) -> None:
    found = propose(head, shared, ALL.model_copy(update={"quality": 1.0}))

    assert found.masks.shape == (0, HEIGHT // 4, WIDTH // 4)
    assert found.quality.shape == (0,)
