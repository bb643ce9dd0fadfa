"""Tracks of a video, as CVAT and Label Studio export them, as pictures of a user's set."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.masks import OwnPictures

HEIGHT, WIDTH = 48, 64
CORNERS = "8,8;24,8;24,24;8,24"
META = (
    "<version>1.1</version><meta><task><labels><label><name>dog</name></label></labels><original_size>"
    f"<width>{WIDTH}</width><height>{HEIGHT}</height></original_size></task><source>clip.avi</source></meta>"
)


def clip(path: Path, n_frames: int = 8) -> None:
    """A video of gray frames: number N has the brightness 20 N."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for number in range(n_frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8))
    writer.release()


def polygon(frame: object, points: str = CORNERS, **attributes: object) -> str:
    given = {"frame": frame, "outside": 0, "occluded": 0, "keyframe": 1, "points": points, **attributes}
    return f"<polygon {' '.join(f'{name}={str(value)!r}' for name, value in given.items())}/>"


def box(frame: int, left: float, **attributes: object) -> str:
    return polygon(frame, "", xtl=left, ytl=8, xbr=left + 16, ybr=24, **attributes).replace("polygon", "box")


def cvat(folder: Path, *tracks: str, meta: str = META) -> Path:
    shapes = "".join(f"<track id='{number}' label='dog'>{track}</track>" for number, track in enumerate(tracks))
    (folder / "annotations.xml").write_text(f"<?xml version='1.0'?><annotations>{meta}{shapes}</annotations>")
    clip(folder / "clip.avi")
    return folder


def label_studio(folder: Path, *sequences: list[dict[str, Any]], kind: str = "videorectangle") -> Path:
    results = [
        {"id": f"r{number}", "type": kind, "to_name": "video", "value": {"sequence": sequence, "labels": ["dog"]}}
        for number, sequence in enumerate(sequences)
    ]
    task = {"data": {"video": "/data/upload/1/0a1b2c3d-clip.avi"}, "annotations": [{"result": results}]}
    (folder / "project.json").write_text(json.dumps([task]))
    clip(folder / "clip.avi")
    return folder


def keyframe(frame: int, left: float, **others: object) -> dict[str, Any]:
    """A box of 16 x 16 pixels, from row 8 on."""
    share = {"x": 100 * left / WIDTH, "y": 100 * 8 / HEIGHT, "width": 100 * 16 / WIDTH, "height": 100 * 16 / HEIGHT}
    return {"frame": frame, "enabled": True, "rotation": 0, **share, **others}


def masks(own: OwnPictures) -> dict[str, NDArray[np.uint8]]:
    return {picture.image.relative_to(own.folder).as_posix(): picture.read().mask for picture in own.train}


def squares(left: float) -> NDArray[np.bool_]:
    region = np.zeros((HEIGHT, WIDTH), np.bool_)
    region[8:24, round(left) : round(left) + 16] = True
    return region


def test_frames_with_a_keyframe_of_cvat_are_pictures_until_the_object_is_outside(tmp_path: Path) -> None:
    moved = "32,8;48,8;48,24;32,24"
    track = polygon(1) + polygon(2, keyframe=0) + polygon(3, moved) + polygon(4, moved, outside=1)

    own = read_own(cvat(tmp_path, track))

    assert (own.layout, own.classes) == ("CVAT", ("background", "dog"))
    seen = masks(own)
    assert [*seen] == [f"clip.avi/frame_{number:06}.png" for number in (1, 3, 4)]
    assert [np.array_equal(mask == 1, squares(left)) for mask, left in zip([*seen.values()][:2], (8, 32), strict=True)]
    assert not seen["clip.avi/frame_000004.png"].any()
    assert [round(picture.read().image.mean() / 20) for picture in own.train] == [1, 3, 4]


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_boxes_move_between_keyframes(tool: str, tmp_path: Path) -> None:
    """A second object has a keyframe in the middle, so that this frame is a picture."""
    if tool == "cvat":
        still = box(2, 44, outside=1)
        read_own(cvat(tmp_path, box(0, 4) + box(4, 20), still))
    else:
        label_studio(tmp_path, [keyframe(1, 4), keyframe(5, 20, enabled=False)], [keyframe(3, 44, enabled=False)])

    seen = masks(read_own(tmp_path))

    assert [*seen] == [f"clip.avi/frame_{number:06}.png" for number in (0, 2, 4)]
    second = squares(44) if tool == "label-studio" else np.zeros((HEIGHT, WIDTH), np.bool_)
    assert np.array_equal(seen["clip.avi/frame_000002.png"] == IGNORE, squares(12) | second)  # boxes have no outline


def test_an_outline_between_keyframes_is_unknown_around_both(tmp_path: Path) -> None:
    moved = "32,8;48,8;48,24;32,24"

    seen = masks(read_own(cvat(tmp_path, polygon(0) + polygon(4, moved), polygon(2, "50,30;60,30;60,40;50,40"))))

    middle = seen["clip.avi/frame_000002.png"]
    assert (middle[8:24, 8:48] == IGNORE).all()
    assert (middle[30:40, 50:60] == 1).all()
    assert (middle == IGNORE).sum() < 50 * 20


def test_a_box_of_label_studio_ends_where_it_is_not_enabled(tmp_path: Path) -> None:
    label_studio(tmp_path, [keyframe(1, 4), keyframe(2, 4, enabled=False)], [keyframe(3, 40)], [keyframe(8, 20)])

    seen = masks(read_own(tmp_path))

    assert np.array_equal(seen["clip.avi/frame_000002.png"] == IGNORE, squares(40))
    assert np.array_equal(seen["clip.avi/frame_000007.png"] == IGNORE, squares(40) | squares(20))


@pytest.mark.parametrize("listed", ["a track", "images without a suffix"])
def test_frames_that_cvat_exports_are_found_without_the_video(listed: str, tmp_path: Path) -> None:
    cvat(tmp_path, polygon(3))
    (tmp_path / "clip.avi").unlink()
    if listed != "a track":
        shape = f"<polygon label='dog' points='{CORNERS}'/>"
        image = f"<image id='3' name='frame_000003' width='{WIDTH}' height='{HEIGHT}'>{shape}</image>"
        (tmp_path / "annotations.xml").write_text(f"<annotations>{image}</annotations>")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "frame_000003.PNG", "PNG")

    (picture,) = read_own(tmp_path).train

    assert picture.image.name == "frame_000003.PNG"
    assert np.array_equal(picture.read().mask == 1, squares(8))


def test_a_frame_is_of_its_own_video_and_no_picture_of_its_name_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "one/images").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    cvat(tmp_path / "one", polygon(2))
    (tmp_path / "one/clip.avi").unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "one/images/frame_000002.png")
    cvat(tmp_path / "two", polygon(2, "32,8;48,8;48,24;32,24"))

    drawn = masks(read_own(tmp_path))

    assert {
        name: np.array_equal(mask == 1, squares(left))
        for (name, mask), left in zip(drawn.items(), (8, 32), strict=True)
    } == {
        "one/images/frame_000002.png": True,
        "two/clip.avi/frame_000002.png": True,
    }


def test_a_mark_of_label_studio_without_an_area_leaves_its_frame_unknown(tmp_path: Path) -> None:
    vertices = [{"x": 10, "y": 10}, {"x": 20, "y": 20}]
    label_studio(tmp_path, [{"frame": 2, "enabled": True, "vertices": vertices}], kind="videovector")

    with pytest.raises(DatasetError, match="0 categories have annotations"):
        read_own(tmp_path)


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (polygon("here"), "a shape of a track in frame 'here'"),
        (polygon(99), "the video has no frame 99"),
        (f"{polygon(1)}</track><track id='8' label='dog' task_id='2'>{polygon(1)}", "tracks of several tasks"),
    ],
)
def test_a_track_that_cannot_be_placed_is_named(track: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=reason):
        read_own(cvat(tmp_path, track))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "image clip.avi/frame_000001.png: there is no such file"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n", "no MP4, MOV, Matroska, WebM or AVI"),
        (b"RIFF\0\0\0\0AVI LIST", "the video has no frame 1, or cannot be decoded"),
    ],
)
def test_a_video_that_is_none_costs_its_frames_and_opens_nothing_else(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    cvat(tmp_path, polygon(1))
    (tmp_path / "clip.avi").unlink()
    if content is not None:
        (tmp_path / "clip.avi").write_bytes(content)

    with pytest.raises(DatasetError, match=reason):
        read_own(tmp_path)


def test_a_renamed_upload_of_label_studio_is_found_in_a_folder(tmp_path: Path) -> None:
    label_studio(tmp_path, [keyframe(1, 4)])
    (tmp_path / "upload").mkdir()
    shutil.move(tmp_path / "clip.avi", tmp_path / "upload" / "0a1b2c3d-clip.avi")

    assert [*masks(read_own(tmp_path))] == ["upload/0a1b2c3d-clip.avi/frame_000000.png"]
