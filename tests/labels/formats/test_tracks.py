"""Tracks of a video in CVAT's and Label Studio's forms: what is written is read back, also by the tools' own code."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_labels.formats import cvat, label_studio
from lexiseg_labels.formats.marks import Listed
from lexiseg_labels.tracks import Clip
from lexiseg_train.data.annotations import drawing
from tests.integration.adapters.tools import ask_with
from tests.labels.formats import made

SIZE = (40, 60)
# Left sides by frame; the dog leaves and comes back, nothing is in frame 5.
SHOWN = {(1, "dog"): {0: 2, 1: 6, 3: 10}, (2, "cat & \x01"): {2: 30, 3: 30, 4: 34, 6: 34}}
N_FRAMES = 8


def region(left: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[10:30, left : left + 12] = True
    return mask


@pytest.fixture
def clip() -> Clip:
    clip = Clip("a clip.mp4", 25.0)
    for frame in range(N_FRAMES):
        there = [
            replace(made.segment(track - 1, label, region(lefts[frame])), track_id=track)
            for (track, label), lefts in SHOWN.items()
            if frame in lefts
        ]
        clip.add(frame, made.answer(segments=tuple(there), size=SIZE))
    return clip


def json_pictures(content: bytes) -> Iterable[Listed]:
    return label_studio.pictures_of(json.loads(content))


@pytest.mark.parametrize(
    ("write", "read", "is_outline"),
    [
        (cvat.video_xml, cvat.pictures_of, True),
        (lambda clip: label_studio.video_tasks(clip, "tiny"), json_pictures, False),
    ],
)
def test_each_object_is_in_its_frames(
    clip: Clip, write: Callable[[Clip], bytes], read: Callable[[bytes], Iterable[Listed]], is_outline: bool
) -> None:
    listed = [*read(write(clip))]

    assert {each.video for each in listed} == {"a clip.mp4"}
    by_frame = {int(each.name[6:12]): each.read(SIZE, str, drawing) for each in listed}
    seen = {frame: marks.annotations for frame, marks in by_frame.items() if marks.annotations}
    assert not any(marks.faults for marks in by_frame.values())
    for frame, annotations in seen.items():
        expected = [(key[1].replace("\x01", "\\u0001" if is_outline else "\x01"), lefts[frame])
                    for key, lefts in SHOWN.items() if frame in lefts]  # fmt: skip
        drawn = [drawing.draw(each.outline, SIZE) for each in annotations]
        assert [(each.category, rle.bbox[0], rle.area) for each, rle in zip(annotations, drawn, strict=True)] == [
            (label, left, 240) for label, left in expected
        ]
        assert all(each.ignored is not is_outline for each in annotations)
    assert [*seen] == [0, 1, 2, 3, 4, 6]


@pytest.mark.slow
@pytest.mark.tools
def test_datumaro_reads_the_polygons_of_each_frame(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_bytes(cvat.video_xml(clip))

    (read,) = ask_with("datumaro_reads", str(tmp_path), "cvat")

    shapes = sorted(entry for item in read["items"].values() for entry in item)
    labels = [key[1].replace("\x01", "\\u0001") for key, lefts in SHOWN.items() for _ in lefts]
    assert shapes == sorted(["polygon", label, 240] for label in labels)


@pytest.mark.slow
@pytest.mark.tools
def test_label_studios_sdk_takes_the_boxes_and_finds_their_frames(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_bytes(label_studio.video_tasks(clip, "tiny"))

    read = ask_with("label_studio_tracks", str(tmp_path / "tasks.json"))

    assert read["wrong"] == []
    assert read["frames"] == [[1, 2, 4], [3, 4, 5, 7]]
