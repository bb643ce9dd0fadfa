"""Segments that keep their numbers from frame to frame, and objects that are followed."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import Prompt, Segment
from lexiseg_model.video.appearance import FIRST, LATER, LATER_FRAMES, SCENE_CELLS
from lexiseg_model.video.following import MAX_MISSES, MAX_OBJECTS, Follower, Sight, Start
from lexiseg_model.video.memory import Motion, Tracker
from tests.model.stand_in import COLOURS, ColourSegmenter
from tests.model.video.moving import HEIGHT, SIDE, WIDTH, Corner, Mask, box, features, iou, scene, square

SIZE = (20, 40)
Frame = tuple[NDArray[np.uint8], tuple[Segment, ...]]


def still(x: float = 0.0) -> Motion:
    """Everything was `x` pixels further right."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    return Motion(np.stack([columns + np.float32(x), rows], 2), np.ones(SIZE, np.float32), False)


def frame(*boxes: tuple[int, int, int], height: int = 10) -> Frame:
    """Segments as (class index, left edge, width), painted in their order."""
    labels = np.zeros(SIZE, np.uint8)
    for number, (_, left, width) in enumerate(boxes, 1):
        labels[5 : 5 + height, left : left + width] = number
    rles = encode_label_map((labels - 1).astype(np.uint8), len(boxes))
    segments = tuple(
        Segment(number, f"class {index}", index, 1.0, rle)
        for number, ((index, _, _), rle) in enumerate(zip(boxes, rles, strict=True), 1)
    )
    return labels, segments


def follow(tracker: Tracker, frame: Frame, motion: Motion | None = None) -> tuple[int | None, ...]:
    return tracker.follow(*frame, motion or still(), SIZE)


def begun(*boxes: tuple[int, int, int]) -> Tracker:
    """A tracker that has seen these."""
    tracker = Tracker()
    assert tracker.follow(*frame(*boxes), None, SIZE) == tuple(range(1, len(boxes) + 1))
    return tracker


def test_a_segment_that_stays_keeps_its_number() -> None:
    assert follow(begun((0, 2, 10), (0, 20, 10)), frame((0, 21, 10), (0, 3, 10))) == (2, 1)


def test_a_small_thing_that_jumps_with_the_picture_keeps_its_number() -> None:
    assert follow(begun((0, 30, 4)), frame((0, 18, 4)), still(x=12.0)) == (1,)


@pytest.mark.parametrize(("missed", "number"), [(2, 1), (3, 3)])
def test_a_number_survives_two_missed_frames_and_not_three(missed: int, number: int) -> None:
    tracker = begun((0, 2, 10), (1, 20, 10))
    for _ in range(missed):
        assert follow(tracker, frame((1, 20, 10))) == (2,)

    assert follow(tracker, frame((0, 2, 10), (1, 20, 10))) == (number, 2)


def test_without_motion_every_segment_is_new_and_no_number_is_given_twice() -> None:
    assert begun((0, 2, 10)).follow(*frame((0, 2, 10)), None, SIZE) == (2,)


GOOD = 0.5  # intersection over union of a mask that is on its object; colours answer a box with nothing beside it


@pytest.fixture
def model() -> ColourSegmenter:
    return ColourSegmenter(tasks=("prompt",))


def shown(number: int, corner: Corner) -> Start:
    return Start(number, Prompt(box=box(corner)))


def following(model: ColourSegmenter, corner: Corner) -> Follower:
    """After the first frame, with a red square."""
    follower = Follower()
    follower.step(model, features(model, red=corner), [shown(1, corner)])
    return follower


def mask_of(sight: Sight) -> Mask:
    assert sight.mask is not None, f"object {sight.number} is lost"
    mask = (sight.mask.masks[0] > 0).numpy()
    assert mask.shape == (HEIGHT, WIDTH)
    return np.asarray(mask, np.bool_)


def test_an_object_is_followed_wherever_it_moves(model: ColourSegmenter) -> None:
    follower = Follower()
    path = [(2 + 2 * step, 4 + step) for step in range(20)]
    (first,) = follower.step(model, features(model, red=path[0]), [shown(7, path[0])])

    sights = [follower.step(model, features(model, red=corner)) for corner in path[1:]]

    assert (first.number, first.start) == (7, 0)
    for corner, (sight,) in zip(path[1:], sights, strict=True):
        assert (sight.number, sight.start) == (7, None)
        assert iou(mask_of(sight), square(corner)) > GOOD


def test_objects_that_cross_keep_their_numbers(model: ColourSegmenter) -> None:
    follower = Follower()
    paths = [((4 + 3 * step, 8), (46 - 3 * step, 22)) for step in range(15)]
    red, green = paths[0]
    follower.step(model, features(model, red=red, green=green), [shown(1, red), shown(2, green)])

    for red, green in paths[1:]:
        sights = follower.step(model, features(model, red=red, green=green))

    assert [sight.number for sight in sights] == [1, 2]
    assert iou(mask_of(sights[0]), square(red)) > GOOD
    assert iou(mask_of(sights[1]), square(green)) > GOOD


def test_an_object_that_leaves_is_lost_and_found_where_it_comes_back(model: ColourSegmenter) -> None:
    follower = following(model, (4, 4))

    gone = [follower.step(model, features(model))[0] for _ in range(MAX_MISSES + 2)]
    back = [follower.step(model, features(model, red=(48, 24)))[0] for _ in range(2)]

    assert [sight.mask is None for sight in gone[MAX_MISSES - 1 :]] == [True] * 3
    assert [sight.number for sight in (*gone, *back)] == [1] * (MAX_MISSES + 4)
    assert iou(mask_of(back[-1]), square((48, 24))) > GOOD


def test_an_object_that_is_hidden_for_a_moment_is_not_lost(model: ColourSegmenter) -> None:
    follower = following(model, (20, 10))
    follower.step(model, features(model))

    (sight,) = follower.step(model, features(model, red=(22, 10)))

    assert iou(mask_of(sight), square((22, 10))) > GOOD


def test_something_else_in_its_place_is_not_the_object(model: ColourSegmenter) -> None:
    follower = following(model, (20, 10))

    for _ in range(MAX_MISSES):
        (sight,) = follower.step(model, features(model, green=(20, 10)))

    assert sight.mask is None


def test_objects_come_and_go(model: ColourSegmenter) -> None:
    follower = Follower()
    frame = features(model, red=(4, 4), green=(40, 20))
    alone = follower.step(model, frame, [shown(1, (4, 4))])
    together = follower.step(model, frame, [shown(9, (40, 20))])
    left = follower.step(model, frame, ends=[1, 5])

    assert [sight.number for sight in alone] == [1]
    assert [(sight.number, sight.start) for sight in together] == [(1, None), (9, 0)]
    assert [sight.number for sight in left] == [9]
    assert iou(mask_of(left[0]), square((40, 20))) > GOOD


def test_memory_does_not_grow_with_the_frames(model: ColourSegmenter) -> None:
    follower = following(model, (4, 4))
    held = []
    for step in range(40):
        follower.step(model, features(model, red=(4 + step, 4 + step // 3)))
        held.append(follower.nbytes)

    n_channels = 4
    most = 3 * (FIRST + LATER_FRAMES * LATER) * n_channels * np.dtype(np.float16).itemsize
    frame_before = -(-HEIGHT // SCENE_CELLS) * -(-WIDTH // SCENE_CELLS) * n_channels * np.dtype(np.float32).itemsize
    assert 0 < max(held) <= most + frame_before
    follower.forget()
    assert follower.nbytes == 0


def test_too_many_objects_are_refused_and_the_others_stay(model: ColourSegmenter) -> None:
    follower = Follower()
    frame = features(model, red=(4, 4))
    follower.step(model, frame, [shown(number, (4, 4)) for number in range(1, MAX_OBJECTS + 1)])

    with pytest.raises(OptionError, match=f"at most {MAX_OBJECTS}"):
        follower.step(model, frame, [shown(99, (4, 4))])
    sights = follower.step(model, frame, [shown(99, (4, 4))], ends=[1])

    assert [sight.number for sight in sights] == [*range(2, MAX_OBJECTS + 1), 99]


def test_an_object_that_comes_nearer_grows(model: ColourSegmenter) -> None:
    follower, sides = Follower(), range(10, 33)
    for side in sides:
        grown = square((20, 4), side)
        rgb = scene()
        rgb[grown] = (255, 0, 0)
        starts = [] if len(follower) else [Start(1, Prompt(box=box((20, 4), side)))]
        (sight,) = follower.step(model, model.encode(rgb), starts)

    assert iou(mask_of(sight), grown) > GOOD
    assert mask_of(sight).sum() > 2 * sides[0] ** 2


def test_of_a_mask_in_pieces_the_largest_is_followed(model: ColourSegmenter) -> None:
    follower = following(model, (20, 10))
    rgb = scene(red=(20, 10))
    rgb[:, 27:29] = COLOURS["blue"]  # a gap: 7 columns on its left, 3 on its right
    pieces = (rgb == COLOURS["red"]).all(-1)

    (sight,) = follower.step(model, model.encode(rgb))

    assert not mask_of(sight)[:, 29:].any()
    assert iou(mask_of(sight), pieces & (np.arange(WIDTH) < 27)) > GOOD


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
def whole() -> WholeColours:
    return WholeColours(tasks=("prompt",))


@pytest.fixture
def follower(whole: WholeColours) -> Follower:
    return following(whole, HERE)


def next_sight(follower: Follower, whole: ColourSegmenter, rgb: NDArray[np.uint8]) -> Sight:
    (sight,) = follower.step(whole, whole.encode(rgb))
    return sight


def test_an_object_is_lost_at_a_scene_cut(follower: Follower, whole: WholeColours) -> None:
    assert next_sight(follower, whole, np.full((HEIGHT, WIDTH, 3), COLOURS["green"], np.uint8)).mask is None


def test_an_object_that_is_in_both_scenes_is_followed_through_the_cut(follower: Follower, whole: WholeColours) -> None:
    other = np.full((HEIGHT, WIDTH, 3), COLOURS["green"], np.uint8)
    other[square((30, 18))] = COLOURS["red"]

    next_sight(follower, whole, other)

    assert next_sight(follower, whole, other).mask is not None


def test_a_mask_does_not_spread_over_surroundings_a_little_like_its_object() -> None:
    whole, follower = LeakyBoxes(tasks=("prompt",)), Follower()
    cross = np.zeros((HEIGHT, WIDTH), np.bool_)
    cross[HERE[1] + 5 : HERE[1] + 7, HERE[0] : HERE[0] + SIDE] = True
    cross[HERE[1] : HERE[1] + SIDE, HERE[0] + 5 : HERE[0] + 7] = True
    first, later = scene(), scene()
    later[square((HERE[0] - SIDE // 2, HERE[1] - SIDE // 2), 2 * SIDE)] = (190, 0, 180)
    for rgb in (first, later):
        rgb[cross] = COLOURS["red"]
    follower.step(whole, whole.encode(first), [Start(1, Prompt(box=box(HERE)))])

    sights = [next_sight(follower, whole, later) for _ in range(5)]

    sizes = [0 if sight.mask is None else int((sight.mask.masks > 0).sum()) for sight in sights]
    assert sizes == [cross.sum()] * 5


def test_boxes_are_taken_literally_without_a_closer_look(follower: Follower, whole: WholeColours) -> None:
    next_sight(follower, whole, scene(red=(22, 11)))

    assert whole.prompted
    assert not any(prompt.rough for prompt in whole.prompted)
    assert all(prompt.single_pass for prompt in whole.prompted)
