"""Masks for points and boxes: rules, corrections, a closer look at small boxes, proposals by a grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.abilities import PromptMasks
from lexiseg_model.features import Derived, Features
from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.methods.tiny import prompting, proposing
from lexiseg_model.methods.tiny.closer_look import Crop, around, crop_for
from lexiseg_model.methods.tiny.mask_rules import smoothed
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.prompting import before_corrections
from lexiseg_model.methods.tiny.proposing import PER_PASS, propose
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import LookRule, ProposalSettings, TinySettings
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import Point, Prompt, Vocabulary
from tests.model.methods.tiny.small import HEIGHT, WIDTH

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


CUP = Point(250, 200)
BOX = (70.0, 30.0, 460.0, 380.0)
AWAY = Point(150, 200, positive=False)
MORE = Point(300, 250)


def mask_of(model: TinySegmenter, features: Features, prompt: Prompt) -> NDArray[np.bool_]:
    answer = tasks.segment("prompt", model, features, Vocabulary(()), tasks.Options(prompts=(prompt,)))
    return decode(answer.segments[0].mask).astype(bool)


def within(mask: NDArray[np.bool_], point: Point) -> bool:
    return bool(mask[int(point.y), int(point.x)])


@pytest.mark.parametrize("box", [None, BOX], ids=["click", "box"])
def test_a_negative_point_is_outside_and_the_click_stays_inside(
    tiny: TinySegmenter, coffee: Features, box: tuple[float, float, float, float] | None
) -> None:
    before = mask_of(tiny, coffee, Prompt((CUP,), box))
    ys, xs = np.nonzero(before)
    at = np.argsort(np.hypot(xs - CUP.x, ys - CUP.y))[-len(xs) // 4]  # farther than most, and not on the outline
    away = Point(float(xs[at]), float(ys[at]), positive=False)

    after = mask_of(tiny, coffee, Prompt((CUP, away), box))

    assert within(before, away)
    assert not within(after, away)
    assert within(after, CUP)


@pytest.mark.parametrize(
    ("points", "box", "first", "corrections"),
    [
        ((CUP, MORE), None, (CUP, MORE), ()),
        ((CUP, AWAY, MORE), None, (CUP,), (AWAY, MORE)),
        ((AWAY, CUP), None, (CUP,), (AWAY,)),
        ((AWAY, CUP), BOX, (), (AWAY, CUP)),
        ((AWAY,), None, (AWAY,), ()),
    ],
)
def test_points_correct_from_the_first_negative_one_on(
    points: tuple[Point, ...],
    box: tuple[float, float, float, float] | None,
    first: tuple[Point, ...],
    corrections: tuple[Point, ...],
) -> None:
    assert before_corrections(Prompt(points, box)) == (Prompt(first, box), corrections)


@pytest.mark.parametrize("point", [replace(MORE, positive=False), Point(80, 60)], ids=["removes", "adds"])
def test_a_point_changes_a_given_mask_on_its_side_alone(tiny: TinySegmenter, coffee: Features, point: Point) -> None:
    before = mask_of(tiny, coffee, Prompt(box=BOX))

    after = mask_of(tiny, coffee, Prompt((point,), mask=encode_mask(before)))

    assert within(after, point) == point.positive
    assert not (before & ~after if point.positive else after & ~before).any()
    assert (before != after).any()


RULE = LookRule()
MULTIPLE = 32
SMALL = Prompt(box=(100, 100, 140, 130))


def whole() -> Features:
    """An image of 288 x 384 pixels, as large as the network's input."""
    return Features(
        (288, 384), {"picture": torch.zeros(288, 384, 3, dtype=torch.uint8), "pixels": torch.zeros(1, 72, 96)}
    )


def test_a_closer_look_covers_twice_the_box() -> None:
    look = crop_for(SMALL, whole(), MULTIPLE, RULE)

    assert look is not None
    assert (look.left, look.right, look.top, look.bottom) == (80, 160, 85, 145)
    assert look.input == (160, 192)  # 2.5 times 60 and 80, to multiples


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=(0, 0, 200, 150)), replace(SMALL, rough=True), replace(SMALL, single_pass=True),
        replace(SMALL, points=(Point(10, 10),)), Prompt((Point(10, 10),)),
    ],
    ids=["large", "rough", "single pass", "point outside", "click"],
)  # fmt: skip
def test_large_rough_and_corrected_prompts_get_no_closer_look(prompt: Prompt) -> None:
    assert crop_for(prompt, whole(), MULTIPLE, RULE) is None


def test_a_closer_look_changes_the_mask_and_keeps_it_in_its_box(tiny: TinySegmenter, coffee: Features) -> None:
    spoon = Prompt(box=(170, 130, 230, 180))
    [close] = tiny.prompt(coffee, [spoon])
    [whole] = tiny.prompt(coffee, [replace(spoon, single_pass=True)])

    rows, columns = torch.nonzero(close.masks[0] > 0).T * 4
    height, width = (4 * side for side in close.masks.shape[1:])
    scale = width / coffee.size[1], height / coffee.size[0]
    assert close.masks.shape == whole.masks.shape
    assert not torch.equal(close.masks, whole.masks)
    assert 170 * scale[0] - 4 <= columns.min()
    assert columns.max() <= 230 * scale[0]
    assert 130 * scale[1] - 4 <= rows.min()
    assert rows.max() <= 180 * scale[1]


def test_a_corrected_box_reuses_its_closer_look(tiny: TinySegmenter, coffee: Features) -> None:
    fresh = replace(coffee, derived=Derived())
    spoon = Prompt(box=(170, 130, 230, 180))
    before = fresh.nbytes
    [first] = tiny.prompt(fresh, [spoon])
    grown = fresh.nbytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "encode_tiles", None)
        [again] = tiny.prompt(fresh, [spoon])
        tiny.prompt(fresh, [replace(spoon, points=(Point(180, 140, positive=False),))])

    assert torch.equal(again.masks, first.masks)
    looks: Lru[Crop, Features] = fresh.derived.once("looks", lambda: Lru[Crop, Features](1))
    [look] = looks.values()
    assert grown - before == look.nbytes > 100_000  # what the look holds weighs with the image


def test_the_mask_by_the_surroundings_is_that_of_the_whole_image(tiny: TinySegmenter, coffee: Features) -> None:
    height, width = coffee.size
    cup = (0.25 * width, 0.15 * height, 0.78 * width, 0.85 * height)
    prompts = [Prompt(box=cup, single_pass=True)]
    [whole] = tiny.prompt(coffee, prompts)
    fresh = replace(coffee, derived=Derived())

    [nearby] = tiny.near(fresh, np.array([cup]))(prompts)

    one, other = nearby.masks > 0, whole.masks > 0
    assert one.shape == other.shape
    assert (one & other).sum() > 0.95 * (one | other).sum()
    assert torch.allclose(nearby.quality, whole.quality, atol=0.1)
    assert not fresh.derived.nbytes


def test_the_part_around_boxes_is_of_whole_blocks_inside_the_image() -> None:
    part = around(np.array([[300.0, 100.0, 340.0, 140.0], [400.0, 120.0, 511.0, 150.0]]), (72, 128))

    assert (part.rows, part.columns) == (slice(16, 48), slice(64, 128))


ALL = ProposalSettings(grid=6, quality=0.0, rule=OverlapRule(overlap=1.0, inside=None), explains=0, min_expected=0)


def asked(head: PromptHead, shared: SharedMaps, settings: ProposalSettings) -> list[tuple[float, float]]:
    """The points that proposals ask, in order."""
    points: list[Tensor] = []
    click_masks = head.click_masks

    def counted(maps: SharedMaps, prompts: Prompts) -> MaskAnswers:
        points.append(prompts.points[0, :, 0])
        return click_masks(maps, prompts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "click_masks", counted)
        propose(head, shared, settings)
    assert max(map(len, points)) <= PER_PASS
    return [(x, y) for x, y in torch.cat(points).tolist()]


@pytest.mark.parametrize(
    "sparing", [{"explains": 0.5}, {"min_expected": 0.5}], ids=["well inside a mask", "of low expected quality"]
)
def test_points_inside_masks_or_of_little_hope_are_skipped(
    head: PromptHead, shared: SharedMaps, sparing: dict[str, float]
) -> None:
    points = asked(head, shared, ALL.model_copy(update=sparing))

    assert len(set(points)) == len(points) < ALL.grid**2


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


NARROW = 4  # cells of a window's sides, of the six by eight of the image


def test_masks_of_windows_are_placed_at_their_windows(
    head: PromptHead, shared: SharedMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "MIN_SIDE", NARROW)

    found = propose(head, shared, ALL)

    assert found.masks.shape[1:] == (HEIGHT // 4, WIDTH // 4)
    beyond = (found.masks == proposing.NOTHING).flatten(1).sum(1)
    n_outside = HEIGHT * WIDTH // 16 - (proposing.FINER * NARROW) ** 2
    assert set(beyond.tolist()) <= {0, n_outside}
    assert n_outside in beyond.tolist()
