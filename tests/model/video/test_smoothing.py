from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.clips.flicker import flicker
from lexiseg_model import tasks
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features, Plan
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import ClassEntry, LabelMap, Segmentation, Vocabulary
from lexiseg_model.video.memory import Motion, MotionEstimator, ScoreSmoother, VideoMemory
from lexiseg_model.vocabulary.bank import KnownRows
from tests.model.conftest import Photographs
from tests.model.video.scenes import WINDOW, noisy, plan_of, window
from tests.model.video.test_tracking import frame

SIZE = (8, 12)


def motion(x: float = 0.0, trust: float = 1.0) -> Motion:
    """Everything was `x` pixels further right."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    return Motion(np.stack([columns + np.float32(x), rows], 2), np.full(SIZE, trust, np.float32), False)


def flat(*values: float) -> Tensor:
    """One row of scores for each value, the same everywhere."""
    return torch.tensor(values).view(-1, 1, 1).expand(len(values), *SIZE).contiguous()


def test_the_past_counts_by_its_weight() -> None:
    smoother = ScoreSmoother(0.75)
    smoother.steady(flat(0.0, 4.0), None)

    assert torch.allclose(smoother.steady(flat(4.0, 0.0), motion()), flat(1.0, 3.0))


def test_where_the_motion_is_doubtful_the_frame_speaks_for_itself() -> None:
    smoother = ScoreSmoother(0.9)
    smoother.steady(flat(8.0), None)

    assert torch.allclose(smoother.steady(flat(1.0), motion(trust=0.0)), flat(1.0))


def test_the_past_moves_with_the_picture() -> None:
    smoother = ScoreSmoother(0.95)
    edge = torch.zeros(1, *SIZE)
    edge[:, :, 6:] = 1.0
    smoother.steady(edge, None)
    moved = torch.zeros(1, *SIZE)
    moved[:, :, 4:] = 1.0  # what is here was two pixels further right

    assert torch.allclose(smoother.steady(moved, motion(x=2.0)), moved, atol=1e-5)


@pytest.mark.parametrize("weight", [-0.1, 0.96, float("nan")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(OptionError, match=r"0 to 0\.95"):
        ScoreSmoother(weight)


INSIDE = (slice(16, -16), slice(16, -16))  # away from what came into view


def test_a_still_scene_comes_from_where_it_is_and_is_trusted() -> None:
    scene = window("china", 200, 150)

    motion = MotionEstimator().compare(noisy(scene, 1), noisy(scene, 2))

    rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]]
    assert np.median(np.hypot(motion.source[..., 0] - columns, motion.source[..., 1] - rows)) < 0.3
    assert motion.trust.mean() > 0.8
    assert not motion.cut


@pytest.mark.parametrize(("x", "y"), [(5, 0), (0, -4), (7, 3)])
def test_a_camera_that_turns_is_found_out(x: int, y: int) -> None:
    motion = MotionEstimator().compare(window("china", 200, 150), window("china", 200 + x, 150 + y))

    rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]]
    assert np.median((motion.source[..., 0] - columns)[INSIDE]) == pytest.approx(x, abs=0.5)
    assert np.median((motion.source[..., 1] - rows)[INSIDE]) == pytest.approx(y, abs=0.5)
    assert not motion.cut


def test_what_comes_into_view_is_not_trusted() -> None:
    motion = MotionEstimator().compare(window("china", 200, 150), window("china", 212, 150))

    assert motion.trust[:, -8:].mean() < 0.3 < 0.8 < motion.trust[INSIDE].mean()


@pytest.mark.parametrize("other", ["flower", "astronaut", "chelsea", "coffee"])
def test_another_photograph_is_another_scene(other: str) -> None:
    assert MotionEstimator().compare(window("china"), window(other, 100, 80)).cut


def test_a_still_scene_flickers_less_than_half_as_much_and_keeps_what_it_shows(
    tiny: TinySegmenter, photographs: Photographs
) -> None:
    scene = photographs["china"][:, :480]
    plans = [tiny.plan(noisy(scene, seed)) for seed in range(6)]
    frames = [(plan, tiny.assemble(plan, tiny.encode_tiles(plan.tiles))) for plan in plans]

    as_it_is, steadied = (labels_of(tiny, frames, VideoMemory(weight)) for weight in (0.0, 0.8))

    assert 0 < changes(steadied) <= changes(as_it_is) / 2
    assert flicker(as_it_is[-1], steadied[-1]) < 0.02


def test_another_scene_begins_anew() -> None:
    memory = VideoMemory(0.9, tracking=True)
    first, second = torch.zeros(2, 9, 12), torch.ones(2, 9, 12)
    assert not memory.look(plan_of(window("china")))
    memory.steady(first)
    number = memory.follow(one_segment())

    assert memory.look(plan_of(window("flower", 100, 80)))
    assert torch.equal(memory.steady(second), second)
    assert memory.follow(one_segment()) != number


def test_what_is_remembered_does_not_grow() -> None:
    memory = VideoMemory(0.9, tracking=True)
    sizes = []
    for index in range(20):
        memory.look(plan_of(noisy(window("china"), index)))
        memory.steady(torch.randn(4, 9, 12))
        memory.follow(one_segment())
        sizes.append(memory.nbytes)

    assert len(set(sizes)) == 1
    memory.forget()
    assert memory.nbytes == 0


def labels_of(segmenter: TinySegmenter, frames: list[tuple[Plan, Features]], memory: VideoMemory) -> list[LabelMap]:
    """Label maps of the frames of one stream."""
    vocabulary = Vocabulary(tuple(ClassEntry(name) for name in ("building", "tree", "sky", "water")))
    rows = KnownRows(segmenter)
    maps = []
    for plan, features in frames:
        memory.look(plan)
        options = tasks.Options(steady=memory.steady)
        segmentation = tasks.segment("semantic", segmenter, features, vocabulary, options, rows)
        of_class = np.array([0, *(1 + (segment.class_index or 0) for segment in segmentation.segments)], np.uint8)
        maps.append(of_class[segmentation.label_map])
    return maps


def changes(maps: list[LabelMap]) -> float:
    return sum(flicker(before, now) for before, now in pairwise(maps))


def one_segment() -> Segmentation:
    labels, segments = frame((0, 2, 10))
    return Segmentation((20, 40), "semantic", segments, labels)
