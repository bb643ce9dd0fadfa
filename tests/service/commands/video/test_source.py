import struct
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from PIL import Image

from lexiseg_service.commands.video.source import SourceFailure, VideoSource, is_live
from tests.service.commands.video import clips

NOISE = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), np.uint8)


def test_every_frame_comes_with_its_time(tmp_path: Path) -> None:
    with closing(VideoSource(str(clips.halves(tmp_path / "clip.mp4", 5)))) as source:
        frames = list(source.frames())

        assert (source.n_frames, float(source.rate)) == (5, 10.0)
        assert source.broken is None
        assert not source.live
    assert [round(frame.seconds, 3) for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]
    for frame in frames:
        assert frame.rgb.shape == (48, 64, 3)
        assert frame.rgb[24, 10].argmax() == 0
        assert frame.rgb[24, 50].argmax() == 2


def test_what_ffmpeg_logs_does_not_wait_for_python(tmp_path: Path) -> None:
    with closing(VideoSource(str(clips.halves(tmp_path / "clip.mp4", 2)))):
        # With a level, its threads wait for the GIL, which PyAV has while it waits for them to end.
        assert av.logging.get_level() is None


def with_matrix(content: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """A clip whose track is displayed by (x, y) -> (ax + cy, bx + dy)."""
    as_it_lies, other = (
        struct.pack(">9i", *(value << 16 for value in (each[0], each[1], 0, each[2], each[3], 0, 0, 0)), 1 << 30)
        for each in ((1, 0, 0, 1), (a, b, c, d))
    )
    whole_file, track = content.index(as_it_lies), content.rindex(as_it_lies)
    assert whole_file < track
    return content[:track] + other + content[track + len(as_it_lies) :]


MATRICES = {
    "as it lies": (1, 0, 0, 1),
    "mirrored, as by front cameras": (-1, 0, 0, 1),
    "upside down": (-1, 0, 0, -1),
    "flipped": (1, 0, 0, -1),
    "along the diagonal": (0, 1, 1, 0),
    "a quarter to the right, of a phone held upright": (0, 1, -1, 0),
    "along the other diagonal": (0, -1, -1, 0),
    "a quarter to the left": (0, -1, 1, 0),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_clip_is_turned_and_mirrored_as_it_says(name: str, tmp_path: Path) -> None:
    a, b, c, d = MATRICES[name]
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    content = clips.written(tmp_path / "clip.mp4", [stored] * 3).read_bytes()
    (tmp_path / "turned.mp4").write_bytes(with_matrix(content, a, b, c, d))

    with closing(VideoSource(str(tmp_path / "turned.mp4"))) as source:
        shown = next(source.frames()).rgb

    height, width = shown.shape[:2]
    assert (height, width) == ((48, 64) if a else (64, 48))
    for colour, (x, y) in enumerate([(-1, -1), (1, -1), (-1, 1)]):  # corners of red, green and blue
        column, row = a * x + c * y, b * x + d * y
        assert shown[height // 4 * (2 + row), width // 4 * (2 + column)].argmax() == colour


@pytest.mark.parametrize(("orientation", "red_is_left"), [(1, True), (2, False), (3, False), (4, True)])
@pytest.mark.parametrize("name", ["clip.avi", "clip.mov", "clip.mkv"])
def test_frames_with_exif_are_shown_as_it_says(name: str, orientation: int, red_is_left: bool, tmp_path: Path) -> None:
    with closing(VideoSource(str(clips.motion_jpeg(tmp_path / name, orientation)))) as source:
        frames = [frame.rgb for frame in source.frames()]

    assert len(frames) == 3
    assert all((rgb[24, 10].argmax() == 0) == red_is_left for rgb in frames)


def test_frames_of_another_size_than_the_first_are_fitted(tmp_path: Path) -> None:
    clip = clips.motion_jpeg(tmp_path / "clip.mkv", 1, [(64, 48), (128, 96), (48, 64)])

    with closing(VideoSource(str(clip))) as source:
        assert [frame.rgb.shape for frame in source.frames()] == [(48, 64, 3)] * 3


def test_of_two_tracks_the_one_that_players_show_is_read(tmp_path: Path) -> None:
    with closing(VideoSource(str(clips.two_tracks(tmp_path / "clip.mp4")))) as source:
        assert {frame.rgb.shape for frame in source.frames()} == {(48, 64, 3)}


def test_a_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = clips.written(tmp_path / "whole.mkv", NOISE, codec="mpeg4").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])

    with closing(VideoSource(str(tmp_path / "cut.mkv"))) as source:
        n_frames = sum(1 for _ in source.frames())

    assert 5 <= n_frames < 20


def test_an_mp4_that_was_cut_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = clips.written(tmp_path / "whole.mp4", NOISE, movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])

    for name, problems in (("whole.mp4", 0), ("cut.mp4", 1)):
        with closing(VideoSource(str(tmp_path / name))) as source:
            assert list(source.frames())
            assert len(source.problems()) == problems
            assert not problems or "seconds are missing" in source.problems()[0]


def only_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_is_no_video_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("These are words, and no video.")
    (tmp_path / "empty.mp4").write_bytes(b"")
    sound = only_sound(tmp_path / "sound.wav")
    still = Image.new("RGB", (64, 48))
    still.save(tmp_path / "still.webp")
    still.save(tmp_path / "moving.webp", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")])
    expected = {
        tmp_path / "words.mp4": "not a video", tmp_path / "empty.mp4": "not a video",
        tmp_path / "none.mp4": "no such file", tmp_path: "cannot be opened", sound: "holds no video",
        tmp_path / "still.webp": "a still image", tmp_path / "moving.webp": "cannot decode, as an animated WebP",
    }  # fmt: skip

    for path, words in expected.items():
        with pytest.raises(SourceFailure, match=words) as failure:
            VideoSource(str(path))
        assert str(path) in failure.value.detail


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("/dev/video0", True), ("rtsp://camera/stream", True), ("RTSP://camera/stream", True),
        ("udp://0.0.0.0:5000", True), ("clip.mp4", False), ("https://example.org/clip.mp4", False),
        ("/dev/videos/clip.mp4", False),
    ],
)  # fmt: skip
def test_cameras_and_their_streams_are_live(name: str, live: bool) -> None:
    assert is_live(name) is live
