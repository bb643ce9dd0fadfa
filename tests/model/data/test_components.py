"""Components of label maps: what is one object, what is a speck, what becomes void."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.components import SMALLEST_AREA, components, objects_of, panoptic_of
from lexiseg_model.data.scenes import NOTHING, VOID, TruthSegment

IGNORED = 255


def board(size: tuple[int, int] = (60, 60)) -> NDArray[np.uint8]:
    return np.zeros(size, np.uint8)


def test_two_blocks_of_one_class_are_two_objects_with_their_areas() -> None:
    labels = board()
    labels[0:10, 0:10] = 3
    labels[20:40, 20:30] = 3

    found = components(labels, {3})

    assert (found.labels, found.areas) == ((3, 3), (100, 200))
    assert (found.ids[0, 0], found.ids[20, 20], found.ids[50, 50]) == (1, 2, 0)


def test_blocks_that_meet_at_a_corner_are_one() -> None:
    labels = board()
    labels[0:10, 0:10] = labels[10:20, 10:20] = 3

    assert components(labels, {3}).areas == (200,)


def test_neighbours_of_different_classes_stay_apart() -> None:
    labels = board()
    labels[0:10, 0:10], labels[0:10, 10:20] = 1, 2

    assert components(labels, {1, 2}).labels == (1, 2)


def test_classes_that_nobody_asks_for_have_no_components() -> None:
    labels = board()
    labels[0:10, 0:10], labels[20:30, 0:10] = 1, 2

    assert components(labels, {2}).labels == (2,)


def test_an_object_has_a_hundred_pixels_at_least() -> None:
    labels = board()
    labels[0:10, 0:10] = 1
    labels[20:31, 0:9] = 1  # 99

    assert components(labels, {1}).areas == (SMALLEST_AREA,)


def test_an_object_has_a_thousandth_of_the_picture_at_least() -> None:
    labels = board((400, 500))
    labels[0:10, 0:20] = 1
    labels[20:30, 0:19] = 1

    assert components(labels, {1}).areas == (200,)


def test_objects_carry_classes_and_what_is_ignored() -> None:
    labels = board()
    labels[0:10, 0:10], labels[20:40, 20:40], labels[50:, 50:] = 1, 2, IGNORED

    found = objects_of(labels, range(1, 5), IGNORED)

    assert found.labels == (1, 2)
    assert np.array_equal(found.ignored, labels == IGNORED)
    assert np.array_equal(found.ids == 2, labels == 2)


def test_things_are_segments_by_component_and_stuff_by_class() -> None:
    labels = board()
    labels[0:10, 0:10] = labels[0:10, 20:30] = 1
    labels[30:40, 0:10] = labels[30:40, 20:30] = 2

    truth = panoptic_of(labels, things={1}, stuff={2}, ignored=IGNORED)

    assert truth.segments == (TruthSegment(1, 1, 100), TruthSegment(2, 1, 100), TruthSegment(3, 2, 200))
    assert (truth.ids[0, 0], truth.ids[0, 20], truth.ids[30, 0], truth.ids[30, 20]) == (1, 2, 3, 3)


def test_a_background_is_nothing_and_no_void() -> None:
    truth = panoptic_of(board(), things={1}, stuff={2}, ignored=IGNORED)

    assert truth.segments == ()
    assert (truth.ids == NOTHING).all()


def test_specks_of_things_and_ignored_pixels_are_void() -> None:
    labels = board()
    labels[0:3, 0:3], labels[50:, 50:] = 1, IGNORED

    truth = panoptic_of(labels, things={1}, stuff=set(), ignored=IGNORED)

    assert truth.segments == ()
    assert np.array_equal(truth.ids == VOID, labels > 0)


def test_a_speck_of_stuff_belongs_to_its_segment() -> None:
    labels = board()
    labels[0:3, 0:3] = 2

    assert panoptic_of(labels, things={1}, stuff={2}, ignored=IGNORED).segments == (TruthSegment(1, 2, 9),)
