"""Answers for other tools, read back by independent means: the masks that come out are those that went in."""

import base64
import io
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import polygon2mask

from lexiseg_client import MissingLibrary, Segment
from lexiseg_labels.formats.label_studio import brush_mask, brush_runs
from tests.integration.adapters.tools import ask_with
from tests.labels.formats import made
from tests.labels.formats.made import MASKS, SIZE, answer

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def filled(corners: Any) -> NDArray[np.bool_]:
    """By scikit-image: what corners x, y enclose, tried at the centres of pixels."""
    rows_columns = np.asarray(corners, float)[:, ::-1] - 0.5
    mask: NDArray[np.bool_] = polygon2mask(SIZE, rows_columns)
    return mask


def test_labelme_gets_polygons_and_masks_where_there_are_holes() -> None:
    document = json.loads(json.dumps(answer().to_labelme("photo.jpg")))

    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("photo.jpg", *SIZE)
    frame, *pieces = document["shapes"]
    assert [shape["shape_type"] for shape in document["shapes"]] == ["mask", "polygon", "polygon"]
    assert [shape["group_id"] for shape in document["shapes"]] == [1, 2, 2]
    (left, top), (right, bottom) = np.array(frame["points"], int)
    with Image.open(io.BytesIO(base64.b64decode(frame["mask"]))) as picture:
        pixels = np.asarray(picture) > 0
    assert np.array_equal(pixels, MASKS["frame"][top : bottom + 1, left : right + 1])
    assert np.array_equal(filled(pieces[0]["points"]) | filled(pieces[1]["points"]), MASKS["pieces"])


def test_label_studio_gets_brushes() -> None:
    task = json.loads(json.dumps(answer().to_label_studio("/data/photo.jpg")))

    (prediction,) = task["predictions"]
    assert task["data"] == {"image": "/data/photo.jpg"}
    assert (prediction["score"], prediction["model_version"]) == (0.75, "lexiseg-tiny-c")
    for result, (label, mask) in zip(prediction["result"], MASKS.items(), strict=True):
        assert result["value"]["brushlabels"] == [label]
        assert (result["original_height"], result["original_width"]) == SIZE
        assert np.array_equal(brush_mask(bytes(result["value"]["rle"]), SIZE), mask)


@given(masks)
def test_any_brush_comes_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(brush_mask(brush_runs(mask), mask.shape), mask)


HEADER = f"{4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"  # of the brush of one pixel
# A run of three words, each written out, and one of a word that is repeated once.
BRUSH = f"{HEADER}0{0:02b}{2:03b}{255:08b}{0:08b}{7:08b}1{0:02b}{0:03b}"


def packed(bits: str) -> bytes:
    n_bytes = -(-len(bits) // 8)
    return int(f"{bits:0<{8 * n_bytes}}", 2).to_bytes(n_bytes, "big")


def test_a_brush_is_opaque_white() -> None:
    assert brush_runs(np.ones((1, 1), bool)) == packed(f"{HEADER}1{0:02b}{3:03b}{255:08b}")


@pytest.mark.parametrize(("alpha", "inside"), [(255, True), (0, False)])
def test_a_brush_with_words_written_out_is_read(alpha: int, inside: bool) -> None:
    assert brush_mask(packed(f"{BRUSH}{alpha:08b}"), (1, 1)).tolist() == [[inside]]


@pytest.mark.parametrize("content", [b"", brush_runs(MASKS["frame"])[:-9], brush_runs(MASKS["frame"][1:])])
def test_a_brush_that_is_cut_off_or_of_another_size_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="brush"):
        brush_mask(content, SIZE)


def test_cvat_gets_masks_in_their_boxes() -> None:
    image = ElementTree.fromstring(answer().to_cvat("a & b.jpg", image_id=7)).find("image")

    assert image is not None
    assert image.attrib == {"id": "7", "name": "a & b.jpg", "width": "60", "height": "40"}
    for entry, (label, mask) in zip(image, MASKS.items(), strict=True):
        assert (entry.tag, entry.get("label")) == ("mask", label)
        left, top, width, height = (int(entry.attrib[name]) for name in ("left", "top", "width", "height"))
        runs = [int(run) for run in entry.attrib["rle"].split(",")]
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        assert np.array_equal(pixels, mask[top : top + height, left : left + width])


def yolos() -> Iterator[NDArray[np.float64]]:
    for number, line in enumerate(answer().to_yolo().splitlines()):
        category, *corners = line.split()
        assert category == str(number)
        shares = np.array(corners, float).reshape(-1, 2)
        assert ((shares >= 0) & (shares <= 1)).all()
        yield shares * SIZE[::-1]


def label_studios() -> Iterator[NDArray[np.float64]]:
    task = answer().to_label_studio("x", shape="polygon", from_name="tag")
    for result in task["predictions"][0]["result"]:
        assert (result["type"], result["from_name"]) == ("polygonlabels", "tag")
        yield np.array(result["value"]["points"]) * SIZE[::-1] / 100


def cvats() -> Iterator[NDArray[np.float64]]:
    for entry in ElementTree.fromstring(answer().to_cvat("a.jpg", shape="polygon")).iter("polygon"):
        yield np.array([pair.split(",") for pair in entry.attrib["points"].split(";")], float)


@pytest.mark.parametrize("polygons", [yolos, label_studios, cvats])
def test_holes_and_parts_are_in_one_polygon(polygons: Callable[[], Iterator[NDArray[np.float64]]]) -> None:
    for corners, mask in zip(polygons(), MASKS.values(), strict=True):
        assert np.array_equal(filled(corners.round(4)), mask)


def test_geojson_keeps_holes_and_parts() -> None:
    document = json.loads(json.dumps(answer().to_geojson()))

    frame, pieces = document["features"]
    assert (frame["geometry"]["type"], pieces["geometry"]["type"]) == ("Polygon", "MultiPolygon")
    assert frame["properties"]["label"] == "frame"
    exterior, hole = frame["geometry"]["coordinates"]
    assert exterior[0] == exterior[-1]
    assert np.array_equal(filled(exterior[:-1]) & ~filled(hole[:-1]), MASKS["frame"])
    assert signed(exterior) > 0 > signed(hole)


def test_geojson_on_the_earth_runs_as_the_standard_wants() -> None:
    document = answer().to_geojson(transform=(0.5, 0, 100, 0, -0.5, 50))

    exterior, hole = document["features"][0]["geometry"]["coordinates"]
    assert signed(exterior) > 0 > signed(hole)
    assert [105.0, 47.5] in exterior
    with pytest.raises(ValueError, match="six numbers"):
        answer().to_geojson(transform=(1, 0))


def signed(ring: list[list[float]]) -> float:
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(ring))


@pytest.mark.parametrize("write", ["to_cvat", "to_label_studio"])
def test_an_unknown_shape_is_told(write: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        getattr(answer(), write)("a.jpg", shape="star")


@pytest.mark.slow
@pytest.mark.tools
def test_the_tools_own_readers_get_every_pixel(tmp_path: Path) -> None:
    exports = {"label_studio": answer().to_label_studio("x.jpg"), "cvat": answer().to_cvat("x.jpg")}
    (tmp_path / "exports.json").write_text(json.dumps(exports))
    np.savez(tmp_path / "masks.npz", allow_pickle=False, **MASKS)

    wrong = ask_with("masks_read", str(tmp_path / "exports.json"), str(tmp_path / "masks.npz"))

    assert wrong == {label: [0, 0] for label in MASKS}


def test_masks_and_boxes_are_the_pixels_themselves_where_fiftyone_cuts_fractions_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("fiftyone")
    vars(module).update(Detection=SimpleNamespace, Detections=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "fiftyone", module)
    height, width = size = (427, 333)
    segments: list[Segment] = []
    for start in range(height - 7):
        mask = np.zeros(size, bool)
        mask[start : start + 7, 12:29] = True
        segments.append(made.segment(len(segments), "a", mask))
    assert any(int(height * (start / height)) < start for start in range(height))

    found: Any = made.answer(size=size, segments=tuple(segments)).to_fiftyone()

    for start, detection in enumerate(found.detections):
        left, top, across, down = detection.bounding_box
        assert (int(height * top), int(height * (top + down))) == (start, start + 7)
        assert (int(width * left), int(width * (left + across))) == (12, 29)
        assert np.array_equal(detection.mask, np.ones((7, 17), bool))
        assert (detection.label, detection.confidence) == ("a", 0.75)


@pytest.mark.parametrize("library", ["fiftyone", "pandas", "supervision"])
def test_without_a_library_the_error_says_what_to_install(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingLibrary, match=f"pip install {library}"):
        getattr(made.answer(), f"to_{library}")()
