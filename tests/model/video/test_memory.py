from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from benchmarks.clips.stability import flicker
from lexiseg_model import tasks
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import ClassEntry, LabelMap, Segmentation, Vocabulary
from lexiseg_model.video.memory import VideoMemory
from lexiseg_model.video.picture import Picture
from lexiseg_model.vocabulary.rows import KnownRows
from tests.model.conftest import Photographs
from tests.model.video.scenes import noisy, plan_of, window
from tests.model.video.test_tracking import frame


def test_a_still_scene_flickers_less_than_half_as_much(tiny: TinySegmenter, photographs: Photographs) -> None:
    scene = photographs["china"][:, :480]
    frames = [noisy(scene, seed) for seed in range(8)]

    as_it_is, steadied = (labels_of(tiny, frames, VideoMemory(weight)) for weight in (0.0, 0.8))

    assert 0 < changes(steadied) <= changes(as_it_is) / 2


def test_what_a_frame_shows_is_not_lost_in_the_average(tiny: TinySegmenter, photographs: Photographs) -> None:
    scene = photographs["china"][:, :480]
    frames = [noisy(scene, seed) for seed in range(6)]

    as_it_is, steadied = (labels_of(tiny, frames, VideoMemory(weight)) for weight in (0.0, 0.8))

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


def labels_of(segmenter: TinySegmenter, frames: list[Picture], memory: VideoMemory) -> list[LabelMap]:
    """Label maps of the frames of one stream."""
    vocabulary = Vocabulary(tuple(ClassEntry(name) for name in ("building", "tree", "sky", "water")))
    rows = KnownRows(segmenter)
    maps = []
    for rgb in frames:
        plan = segmenter.plan(rgb)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
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
