"""What can be made of an answer."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import supervision
from numpy.typing import NDArray
from PIL import Image, ImageShow

from lexiseg_client import Client, NoMasks, NoViewer, Segmentation
from lexiseg_labels.masks.polygons import rings_of
from lexiseg_labels.segments import Polygons
from tests import coco, pictures
from tests.labels.formats.made import SIZE, answer

CHINA = pictures.small("china", 200)
PIXELS = np.asarray(CHINA)
CLASSES = ["sky", "building", "tree"]


@pytest.fixture
def result(client: Client) -> Segmentation:
    return client.segment(PIXELS, CLASSES, overlay=True)


def test_masks_are_saved_one_a_file(result: Segmentation, tmp_path: Path) -> None:
    paths = result.save_masks(tmp_path / "masks")

    assert [path.name for path in paths] == [f"{segment.id}-{segment.label}.png" for segment in result]
    for path, segment in zip(paths, result, strict=True):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), segment.mask * 255)


def test_a_label_cannot_lead_out_of_the_folder(result: Segmentation, tmp_path: Path) -> None:
    segments = tuple(dataclasses.replace(segment, label="../../x/y") for segment in result)

    paths = dataclasses.replace(result, segments=segments).save_masks(tmp_path / "masks")

    assert {path.parent for path in paths} == {tmp_path / "masks"}


def test_painting_changes_segments_alone(result: Segmentation) -> None:
    painted = result.paint(CHINA)

    nobody = result.label_map == 0
    inside = np.zeros_like(nobody)
    inside[1:, 1:] = (np.diff(result.label_map.astype(int), axis=0)[:, 1:] == 0) & (
        np.diff(result.label_map.astype(int), axis=1)[1:] == 0
    )
    assert painted.dtype == np.uint8
    assert np.array_equal(painted[nobody & inside], PIXELS[nobody & inside])
    assert (painted != PIXELS).any(-1)[~nobody & inside].mean() > 0.99


def test_supervision_gets_boxes_masks_and_names(result: Segmentation) -> None:
    found = result.to_supervision()

    assert isinstance(found, supervision.Detections)
    assert list(found.data["class_name"]) == CLASSES
    assert found.mask is not None
    assert np.array_equal(np.asarray(found.mask[1]), result.segments[1].mask)
    assert found.xyxy[0].tolist() == list(result.segments[0].xyxy)
    assert found.class_id is not None
    assert found.class_id.tolist() == [0, 1, 2]
    assert found.area.tolist() == [segment.area for segment in result]


def test_supervision_gets_names_of_nothing() -> None:
    nothing = answer(segments=()).to_supervision()

    assert len(nothing) == 0
    assert np.asarray(nothing["class_name"]).tolist() == []


def test_coco_annotations_hold_the_masks(client: Client, result: Segmentation) -> None:
    annotations = result.to_coco(image_id=7)

    for annotation, segment in zip(annotations, result, strict=True):
        assert np.array_equal(coco.decode(annotation["segmentation"]), segment.mask)
        assert annotation["bbox"] == list(segment.bbox)
        assert (annotation["image_id"], annotation["category_id"]) == (7, 1 + CLASSES.index(segment.label or ""))
    as_map = client.segment(PIXELS, CLASSES, mask="png").to_coco(image_id=7)
    assert [each["segmentation"] for each in as_map] == [each["segmentation"] for each in annotations]
    with pytest.raises(NoMasks, match='mask="none"'):
        client.segment(PIXELS, CLASSES, mask="none").to_coco()


def test_polygons_with_holes_are_run_lengths_in_coco() -> None:
    as_polygons = [
        dataclasses.replace(segment, shape=Polygons(SIZE, rings_of(segment.mask))) for segment in answer().segments
    ]
    framed, pieces = answer(segments=tuple(as_polygons)).to_coco()

    assert np.array_equal(coco.decode(framed["segmentation"]), answer()["frame"].mask)
    assert isinstance(pieces["segmentation"], list)


GREEN = (10, 200, 30)


def shown(png: bytes | None) -> NDArray[np.uint8]:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def forms(folder: Path) -> dict[str, object]:
    picture = Image.new("RGB", SIZE[::-1], GREEN)
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    (folder / "turned.png").write_bytes(pictures.turned(sideways, 6))
    return {
        "array": np.asarray(picture),
        "Pillow": picture,
        "bytes": pictures.encoded(picture),
        "path, turned by EXIF": folder / "turned.png",
    }


def test_segments_are_painted_on_the_image_wherever_it_is(tmp_path: Path) -> None:
    for name, image in forms(tmp_path).items():
        pixels = shown(answer(image=image)._repr_png_())

        assert pixels.shape == (*SIZE, 3), name
        assert tuple(pixels[1, 1]) == GREEN, name
        assert tuple(pixels[20, 15]) != GREEN, name


def test_an_image_of_16_bits_is_not_painted_white(tmp_path: Path) -> None:
    grey = np.full(SIZE, 40, np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 257).save(path := tmp_path / "deep.png")

    for image in (path, Image.open(path)):
        assert tuple(answer(image=image).painted(opacity=0)[20, 15]) == (40, 40, 40)


def test_what_a_client_asks_is_what_is_shown(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "china.jpg"
    path.write_bytes(pictures.encoded(pictures.small("china", 200), "JPEG"))

    found = client.segment(path, ["sky"])

    assert found.image is path
    assert shown(found._repr_png_()).shape == (*found.size, 3)
    assert not (shown(found._repr_png_()) == 255).all()


def test_a_label_is_looked_up_in_an_answer() -> None:
    best = dataclasses.replace(answer().segments[0], id=3, score=0.9)
    found = answer(segments=(*answer().segments, best))

    assert found["frame"] is best
    assert found["pieces"] is found[1]
    assert "frame" in found
    assert "dog" not in found
    assert best in found
    with pytest.raises(KeyError, match="no segment 'dog'; there is: frame, pieces"):
        found["dog"]


def test_pandas_gets_a_row_for_each_segment() -> None:
    table = answer().to_pandas()

    assert list(table["label"]) == ["frame", "pieces"]
    assert list(table["area"]) == [segment.area for segment in answer()]
    assert table["share"].sum() == pytest.approx((answer().label_map > 0).mean())
    assert tuple(table.loc[0, ["x", "y", "width", "height"]]) == answer()[0].bbox
    assert "prompt_index" not in table


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.png", lambda path: path.read_bytes().startswith(b"\x89PNG")),
        ("a.JPG", lambda path: path.read_bytes().startswith(b"\xff\xd8")),
        ("a.webp", lambda path: path.read_bytes()[8:12] == b"WEBP"),
        ("a.json", lambda path: Segmentation.from_dict(json.loads(path.read_text())) == answer()),
        ("below/a.csv", lambda path: path.read_text().startswith("id,label,")),
        ("a.geojson", lambda path: len(json.loads(path.read_text())["features"]) == 2),
        ("a.txt", lambda path: path.read_text() == answer().to_yolo()),
        ("a.xml", lambda path: '<image id="0" name="photo.jpg"' in path.read_text()),
    ],
)
def test_the_suffix_says_what_is_saved(name: str, read: Callable[[Path], bool], tmp_path: Path) -> None:
    path = answer(image="photos/photo.jpg").save(tmp_path / name)

    assert path == tmp_path / name
    assert read(path)


def test_an_unknown_suffix_is_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a suffix of .png, .*, got '.doc'"):
        answer().save(tmp_path / "a.doc")


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")


@pytest.mark.usefixtures("desktop")
def test_an_answer_is_shown_in_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Viewer(ImageShow.Viewer):
        def show(self, image: Image.Image, **options: object) -> int:
            seen.append(image.size)
            return 1

    monkeypatch.setattr(ImageShow, "_viewers", [Viewer()])

    answer().show()

    assert seen == [SIZE[::-1]]


@pytest.mark.usefixtures("desktop")
def test_without_a_viewer_one_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(NoViewer, match=r"no program .* save\(path\)"):
        answer().show()
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(NoViewer, match=r"no display .* save\(path\)"):
        answer().show()
