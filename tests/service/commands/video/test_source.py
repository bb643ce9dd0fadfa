import struct
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from lexiseg_service.commands.video.source import SourceFailure, VideoSource, is_live
from tests.service.commands.video import clips


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


def test_a_clip_of_a_phone_that_was_held_upright_is_turned(tmp_path: Path) -> None:
    content = clips.halves(tmp_path / "clip.mp4", 3).read_bytes()
    as_it_lies, a_quarter_to_the_right = (
        struct.pack(">9i", *rows) for rows in (
            (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
        )
    )  # fmt: skip
    whole_file, track = content.index(as_it_lies), content.rindex(as_it_lies)
    assert whole_file < track
    turned = content[:track] + a_quarter_to_the_right + content[track + len(as_it_lies) :]
    (tmp_path / "turned.mp4").write_bytes(turned)

    with closing(VideoSource(str(tmp_path / "turned.mp4"))) as source:
        frame = next(source.frames())

    assert frame.rgb.shape == (64, 48, 3)
    assert frame.rgb[10, 24].argmax() == 0
    assert frame.rgb[50, 24].argmax() == 2


def test_a_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    noise = [chance.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(20)]
    whole = clips.written(tmp_path / "whole.mkv", noise, codec="mpeg4").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])

    with closing(VideoSource(str(tmp_path / "cut.mkv"))) as source:
        n_frames = sum(1 for _ in source.frames())

    assert 5 <= n_frames < 20


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
    expected = {
        tmp_path / "words.mp4": "not a video", tmp_path / "empty.mp4": "not a video",
        tmp_path / "none.mp4": "no such file", tmp_path: "cannot be opened", sound: "holds no video",
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
