from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import Segment
from lexiseg_model.video.motion import Motion
from lexiseg_model.video.tracking import Tracker

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
    tracker = begun((0, 2, 10), (0, 20, 10))

    assert follow(tracker, frame((0, 21, 10), (0, 3, 10))) == (2, 1)


def test_a_small_thing_that_jumps_with_the_picture_keeps_its_number() -> None:
    tracker = begun((0, 30, 4))

    assert follow(tracker, frame((0, 18, 4)), still(x=12.0)) == (1,)


def test_a_number_survives_two_missed_frames() -> None:
    tracker = begun((0, 2, 10), (1, 20, 10))
    for _ in range(2):
        assert follow(tracker, frame((1, 20, 10))) == (2,)

    assert follow(tracker, frame((0, 2, 10), (1, 20, 10))) == (1, 2)


def test_a_number_does_not_survive_three() -> None:
    tracker = begun((0, 2, 10), (1, 20, 10))
    for _ in range(3):
        follow(tracker, frame((1, 20, 10)))

    assert follow(tracker, frame((0, 2, 10), (1, 20, 10))) == (3, 2)


def test_without_motion_every_segment_is_new_and_no_number_is_given_twice() -> None:
    tracker = begun((0, 2, 10))

    assert tracker.follow(*frame((0, 2, 10)), None, SIZE) == (2,)
