"""The client's own run lengths, PNG and polygons."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from lexiseg_client import Ring, UnreadableAnswer
from lexiseg_labels.masks import png, rle
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.polygons import fill, rings_of, simplified
from lexiseg_model.masks.encodings import rings_of as rings_of_model
from lexiseg_model.masks.rle import encode_mask
from tests import coco as reference
from tests import pictures


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_any_run_lengths_are_read_as_pycocotools_reads_them(runs: list[int]) -> None:
    # Long runs beside short ones: large steps, both ways, in the differences that the text holds.
    height, width = sum(runs) + 1, 1
    packed: dict[str, Any] = coco.frPyObjects({"size": [height, width], "counts": [*runs, 1]}, height, width)
    text = packed["counts"].decode()

    assert np.array_equal(rle.decode(text, (height, width)), reference.decode({**packed, "counts": text}))


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_area_box_and_changes_are_read_from_the_runs(mask: NDArray[np.bool_]) -> None:
    encoded = encode_mask(mask)
    runs = rle.runs_of(rle.encode(mask), (mask.shape[0], mask.shape[1]))

    assert rle.extent_of(runs, mask.shape[0]) == (encoded.area, encoded.bbox)
    assert rle.changes_across(runs, mask.shape[0]) == np.diff(np.pad(mask, ((0, 0), (1, 1))), axis=1).sum()


@pytest.mark.parametrize("counts", ["", "0", "05", "o", "0d4>^Ki7b4\x7f", "ooooooooo0", "0é4"])
def test_a_damaged_text_is_no_mask(counts: str) -> None:
    with pytest.raises(UnreadableAnswer):
        rle.decode(counts, (4, 4))


GRAY = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
)
FILTERS = {name: getattr(cv2, f"IMWRITE_PNG_FILTER_{name}") for name in ("NONE", "SUB", "UP")}


def opened(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


@given(GRAY, st.sampled_from(sorted(FILTERS)))
def test_any_gray_picture_of_a_server_s_filters_is_read(pixels: NDArray[Any], name: str) -> None:
    _, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_FILTER, FILTERS[name]])

    found = png.decode_gray(content.tobytes())

    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pixels_are_written_without_loss(mode: str) -> None:
    pixels = np.asarray(pictures.small("flower", 77).convert("L" if mode == "I;16" else mode))
    pixels = pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels

    assert np.array_equal(opened(png.encode(pixels)), pixels)


def test_a_damaged_or_coloured_file_is_no_map() -> None:
    whole = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    coloured = pictures.encoded(pictures.small("china", 32))
    flipped = whole[:45] + bytes([whole[45] ^ 1]) + whole[46:]
    _, filtered = cv2.imencode(
        ".png", np.eye(8, dtype=np.uint8), [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    )

    for content in (b"", b"GIF89a", whole[:-20], flipped, coloured, filtered.tobytes()):
        with pytest.raises(UnreadableAnswer):
            png.decode_gray(content)


masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16))


@given(masks)
def test_the_rings_are_those_of_the_service(mask: NDArray[np.bool_]) -> None:
    of_service = rings_of_model(encode_mask(mask))
    theirs = {(tuple(ring.exterior), tuple(sorted(tuple(hole) for hole in ring.holes))) for ring in of_service}

    assert {
        (tuple(ring.exterior.ravel().tolist()), tuple(sorted(tuple(hole.ravel().tolist()) for hole in ring.holes)))
        for ring in rings_of(mask)
    } == theirs


@given(masks)
def test_a_mask_comes_back_from_its_rings_and_from_one_line(mask: NDArray[np.bool_]) -> None:
    outlined = rings_of(mask)

    assert np.array_equal(fill(outlined, mask.shape), mask)
    assert np.array_equal(fill([Ring(joined_contour(outlined))], mask.shape), mask)


@given(masks)
def test_each_ring_is_joined_to_those_before_it_by_the_shortest_bridge(mask: NDArray[np.bool_]) -> None:
    contours = [contour for ring in rings_of(mask) for contour in (ring.exterior, *ring.holes)]
    joined = joined_contour(rings_of(mask))

    before = [np.concatenate(contours[:k]) for k in range(1, len(contours))]
    bridges = [np.hypot(*(each[:, None] - here).T).min() for each, here in zip(before, contours[1:], strict=True)]
    assert length(joined) == pytest.approx(sum(map(length, contours)) + 2 * sum(bridges))


def length(contour: NDArray[np.int64]) -> float:
    return float(np.hypot(*(contour - np.roll(contour, -1, 0)).T).sum())


def test_a_mask_of_thousands_of_parts_is_joined_too() -> None:
    mask = np.zeros((160, 160), bool)
    mask[::2, ::2] = True

    assert np.array_equal(fill([Ring(joined_contour(rings_of(mask)))], mask.shape), mask)


@pytest.mark.parametrize("tolerance", [1.0, 2.0])
def test_a_disc_with_a_hole_keeps_its_shape_with_far_fewer_corners(tolerance: float) -> None:
    y, x = np.mgrid[:400, :400]
    distance = np.hypot(x - 200, y - 200)
    mask = (distance < 180) & (distance > 60)
    (exact,) = rings_of(mask)

    (ring,) = simplified((exact,), tolerance)

    assert len(ring.exterior) + len(ring.holes[0]) < (len(exact.exterior) + len(exact.holes[0])) / 5
    again = fill([ring], mask.shape)
    assert (again & mask).sum() > 0.97 * (again | mask).sum()


@pytest.mark.parametrize("corners", [[[0, 0], [9, 0], [9, 2], [0, 2]], [[-1, 0], [1, 0]]])
def test_a_ring_that_leaves_the_image_is_refused(corners: list[list[int]]) -> None:
    with pytest.raises(UnreadableAnswer):
        fill([Ring(np.array(corners))], (4, 4))
