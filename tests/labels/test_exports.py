"""The list of formats: names, what is refused, and formats from outside."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Segment
from lexiseg_labels.data_set import REVIEWED_LIST, DataSet, Picture
from lexiseg_labels.exports import format_of, formats, pieces
from lexiseg_labels.formats import coco, datumaro, label_studio, voc
from lexiseg_labels.segments import RunLengths
from lexiseg_model.masks.rle import encode_label_map
from tests.command import ended
from tests.labels.formats import made

OUTSIDE = """
from lexiseg_labels.data_set import Format
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed, shape_reader

SHAPE = {"label": "cat", "points": [[0, 0], [9, 0], [9, 9]]}


def pictures_of(content):
    if "counts" not in content:
        raise UnreadableLabels("no counts")
    return [Listed(name, None, None, shape_reader(lambda size: [SHAPE] * count)) for name, count in content["counts"]]


def of_picture(picture, classes):
    yield f"{picture.name}.count", b"%d" % len(picture.segments)


FORMAT = Format("count", "NAME.count", of_picture, pictures_of=pictures_of, title="counts")
"""
PROGRAM = """
from lexiseg_labels.data_set import DataSet, Picture
from lexiseg_labels.exports import format_of

print(dict(format_of("count").write(DataSet([], lambda: [Picture("a", (2, 2), [])]))))
"""
READING = """
from pathlib import Path

from lexiseg_train.data.own.layouts import read_own

own = read_own(Path("mine"))
print(own.layout, own.classes)
"""


def test_a_name_of_before_stands_for_its_format() -> None:
    assert format_of("labelmap") is formats()["label-maps"]


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"one of coco, .*, datumaro, parquet, got 'pascal'"):
        format_of("pascal", "parquet")


def test_a_format_of_another_package_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting.py").write_text(OUTSIDE)
    (tmp_path / "counting-1.dist-info").mkdir()
    (tmp_path / "counting-1.dist-info/METADATA").write_text("Name: counting\nVersion: 1\n")
    (tmp_path / "counting-1.dist-info/entry_points.txt").write_text("[lexiseg.exports]\ncount = counting:FORMAT\n")

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/all.json").write_text('{"counts": [["a.png", 1]]}')
    Image.new("RGB", (9, 9)).save(tmp_path / "mine/a.png")
    monkeypatch.chdir(tmp_path)

    answer = ended([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}{READING}"])

    assert answer.stdout.splitlines() == ["{'a.count': b'0'}", "counts ('background', 'cat')"], answer.stderr


def marks_of(name: str, files: dict[str, bytes]) -> list[bool]:
    """Whether each of two pictures, a and b, is reviewed, as the files of a format say."""
    if name == "labelme":
        return [json.loads(files[f"{one}.json"])["flags"]["reviewed"] for one in "ab"]
    if name == "coco":
        return [one["reviewed"] for one in json.loads(files[coco.ANNOTATIONS])["images"]]
    if name == "datumaro":
        return [one["attr"]["reviewed"] for one in json.loads(files[datumaro.ANNOTATIONS])["items"]]
    if name == "label-studio":
        kinds = [one.keys() & {"annotations", "predictions"} for one in json.loads(files[label_studio.LISTING])]
        return [{"annotations"} == one for one in kinds]
    return [f"{one}.jpg" in files[REVIEWED_LIST].decode().splitlines() for one in "ab"]


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_format_says_which_pictures_are_reviewed(name: str) -> None:
    segments = made.answer(task="panoptic").segments
    pictures = [Picture(one, made.SIZE, segments, reviewed=one == "b") for one in "ab"]
    data = DataSet([*made.MASKS], lambda: pictures, [True, True])

    files = {path: b"".join(pieces(content)) for path, content in format_of(name).write(data)}

    assert marks_of(name, files) == [False, True]


@pytest.mark.parametrize("name", sorted(formats()))
def test_no_format_has_doubtful_segments(name: str) -> None:
    sure, doubtful = [made.segment(index, label, made.MASKS[label]) for index, label in enumerate(made.MASKS)]

    def files(*segments: Segment) -> dict[str, bytes]:
        data = DataSet([*made.MASKS], lambda: [Picture("a", made.SIZE, segments)])
        return {path: b"".join(pieces(content)) for path, content in format_of(name).write(data)}

    assert files(sure, replace(doubtful, doubtful=True)) == files(sure)


def test_more_classes_than_a_format_has_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 253 classes, got 254"):
        list(voc.FORMAT.write(DataSet([str(number) for number in range(254)], lambda: ())))


@pytest.mark.parametrize(("n_objects", "expected"), [(254, [*range(1, 255), 0, 0]), (255, None)])
def test_objects_of_voc_have_a_value_each_or_no_map(n_objects: int, expected: list[int] | None) -> None:
    ids = np.arange(1, 257, dtype=np.uint16).reshape(16, 16)
    rles = encode_label_map(ids, 257)
    # From 3 on, as where segments were dropped.
    segments = [
        Segment(n + 2, "car", 1, 0.9, 1, rles[n].bbox, RunLengths((16, 16), rles[n].counts))
        for n in range(1, n_objects + 1)
    ]

    files = dict(voc.FORMAT.files_of(Picture("a", (16, 16), segments), ["sky", "car"]))

    assert ("SegmentationObject/a.png" in files) == (expected is not None)
    if expected is not None:
        content = files["SegmentationObject/a.png"]
        assert isinstance(content, bytes)
        with Image.open(io.BytesIO(content)) as picture:
            assert np.asarray(picture).ravel().tolist() == expected
