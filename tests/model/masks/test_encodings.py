"""Run lengths and polygons of masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.encodings import rings_of
from lexiseg_model.masks.rle import decode, encode_label_map, encode_mask, encode_spans
from lexiseg_model.types import LabelMap, Ring, Rle

pytestmark = pytest.mark.usefixtures("each_way")

SHAPES = st.tuples(st.integers(1, 41), st.integers(1, 41))


def label_maps(largest: int = 6) -> st.SearchStrategy[LabelMap]:
    """Small maps of both types, values 0..largest, with long and short runs."""
    return st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays(dtype, SHAPES, elements=st.integers(0, largest), fill=st.integers(0, largest))
    )


def reference(mask: NDArray[np.bool_]) -> Rle:
    """What pycocotools makes of one mask."""
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    x, y, width, height = (int(side) for side in coco.toBbox(encoded))
    return Rle(mask.shape, encoded["counts"].decode(), int(coco.area(encoded)), (x, y, width, height))


def references(labels: LabelMap, n_classes: int) -> list[Rle]:
    return [reference(labels == value) for value in range(n_classes)]


@given(label_maps(), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_every_class_of_a_map_has_the_bytes_area_and_box_of_pycocotools(labels: LabelMap, n_classes: int) -> None:
    assert encode_label_map(labels, n_classes) == references(labels, n_classes)


@given(arrays(np.bool_, SHAPES))
@settings(max_examples=200, deadline=None)
def test_runs_have_the_bytes_area_and_box_of_their_mask_which_is_read_back(mask: NDArray[np.bool_]) -> None:
    spans = np.flatnonzero(np.diff(mask.T.reshape(-1), prepend=False, append=False)).reshape(-1, 2)

    encoded = encode_spans(spans, mask.shape)

    assert encoded == encode_mask(mask) == reference(mask)
    np.testing.assert_array_equal(decode(encoded), mask)


def test_runs_of_millions_of_pixels_equal_pycocotools() -> None:
    mask = np.zeros((3001, 2003), bool)
    mask[17:2950, 40:1980] = True
    mask[:, 1200:1700] = True

    assert encode_mask(mask) == reference(mask)


def test_a_map_that_is_a_view_with_strides_is_read_in_its_own_order() -> None:
    labels = np.random.default_rng(2).integers(0, 5, (60, 80)).astype(np.uint16)[::-2, 3::3]

    assert encode_label_map(labels, 5) == references(labels, 5)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((4, 5, 1), np.uint8), np.zeros(20, np.uint8), np.zeros((0, 5), np.uint8),
        np.zeros((4, 0), np.uint16), np.zeros((4, 5), np.int64), np.zeros((4, 5), np.float32), np.zeros((4, 5), bool),
    ],
    ids=["three axes", "one axis", "no rows", "no columns", "signed", "real", "boolean"],
)  # fmt: skip
def test_what_is_no_label_map_is_refused(labels: LabelMap) -> None:
    with pytest.raises(ShapeError, match=r"\[H, W\] map of unsigned integers"):
        encode_label_map(labels, 2)


# "d0" is 20, "5" is 5, "K" is -5: 20 + 5 - 5 would be the 20 pixels of a 4 x 5 mask.
@pytest.mark.parametrize("counts", ["5", "d0e0", "d05K"], ids=["too short", "too long", "a negative run"])
def test_a_text_that_does_not_fill_the_mask_is_refused(counts: str) -> None:
    with pytest.raises(ShapeError, match="RLE"):
        decode(Rle((4, 5), counts, 0, (0, 0, 0, 0)))


masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def rings(mask: NDArray[np.bool_]) -> list[Ring]:
    return rings_of(encode_mask(mask))


def shoelace(flat: list[int]) -> float:
    x, y = np.array(flat).reshape(-1, 2).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


@given(masks)
def test_exteriors_run_clockwise_and_holes_against_it(mask: NDArray[np.bool_]) -> None:
    found = rings(mask)

    assert all(shoelace(ring.exterior) > 0 for ring in found)
    assert all(shoelace(hole) < 0 for ring in found for hole in ring.holes)


def test_parts_come_largest_first() -> None:
    mask = np.zeros((4, 8), bool)
    mask[0, 0] = True
    mask[1:4, 3:7] = True

    assert [shoelace(ring.exterior) for ring in rings(mask)] == [12, 1]


def test_a_simplified_border_keeps_near_the_mask_and_every_part() -> None:
    y, x = np.mgrid[:80, :80]
    mask = (np.hypot(x - 40, y - 40) < 30) & (np.hypot(x - 40, y - 40) > 12)
    mask[2, 2] = True  # too small for anything to be left of it

    exact, simple = rings(mask), rings_of(encode_mask(mask), simplify=2.0)

    assert [len(ring.holes) for ring in simple] == [1, 0]
    assert len(simple[0].exterior) < len(exact[0].exterior) / 4
    assert abs(shoelace(simple[0].exterior) - shoelace(exact[0].exterior)) < 0.1 * mask.sum()
