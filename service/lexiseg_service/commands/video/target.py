"""What frames are written to: a video, lines of JSON, tracks for annotation tools.

Videos are made by PyAV: H.264 where there is an encoder for it, else what the container takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
import orjson
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from lexiseg_client import FrameAnswer, ProblemError, Segment
from lexiseg_labels.data_set import model_version
from lexiseg_labels.exports import write_whole
from lexiseg_labels.formats import cvat, label_studio
from lexiseg_labels.segments import segment_json
from lexiseg_labels.tracks import Clip
from lexiseg_model.command_line.options import STDOUT
from lexiseg_service.errors import ServiceError

H264 = ("libx264", "libopenh264", "mpeg4")
# PyAV opens a GIF, a JPEG or a sound file as well, and fails at the first frame: what is taken is said here.
ENCODERS = dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".ts"), H264) | {
    ".avi": ("mpeg4",),
    ".webm": ("libvpx-vp9", "libvpx"),
}
OPTIONS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "32", "b": "0", "deadline": "realtime"},
}
MPEG4_BITS_PER_PIXEL = 0.15  # of a frame; the encoder's own default is a rate for stamps
TICKS = 60_000  # a second: whole numbers for 24, 25, 30, 50, 60 and the NTSC rates; mpeg4 takes at most 65,535
WriteLine = Callable[[FrameAnswer, float], None]  # of one frame, and from which second on it is shown


TRACKS = (".xml", ".json")  # of CVAT and of Label Studio


class TargetFailure(ServiceError):
    """A file that cannot be written."""


class VideoTarget(AbstractContextManager["VideoTarget"]):
    """A file that takes frames of one size; use it as a context manager. Without a frame no file is left."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path = path
        self._rate = rate.limit_denominator(1001)
        self._container = _created(path)
        self._stream: VideoStream | None = None
        self._last = -1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as failure:
            if kind is None:
                raise TargetFailure(f"{self.path}: cannot be finished ({failure})") from None
        if self._stream is None:
            self.path.unlink(missing_ok=True)

    def write(self, rgb: NDArray[np.uint8], seconds: float) -> None:
        try:
            if self._stream is None:
                self._stream = self._add_stream(rgb)
            size = (self._stream.width, self._stream.height)
            if (rgb.shape[1], rgb.shape[0]) != size:
                rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            self._last = max(round(seconds * TICKS), self._last + 1)  # a container takes no time twice
            frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise TargetFailure(f"{self.path}: cannot be written ({error})") from None

    def _add_stream(self, rgb: NDArray[np.uint8]) -> VideoStream:
        name = _encoder(self.path)
        stream = self._container.add_stream(name, rate=self._rate, options=OPTIONS.get(name, {}))
        assert isinstance(stream, VideoStream)
        # Colours are stored for two by two pixels.
        stream.width, stream.height = (max(2, side // 2 * 2) for side in (rgb.shape[1], rgb.shape[0]))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        if name == "mpeg4":
            stream.bit_rate = int(stream.width * stream.height * self._rate * MPEG4_BITS_PER_PIXEL)
        return stream


def _created(path: Path) -> OutputContainer:
    if not path.parent.is_dir():
        raise TargetFailure(f"{path}: the folder {path.parent} does not exist")
    _encoder(path)
    try:
        return av.open(str(path), "w")
    except (av.error.FFmpegError, OSError) as error:
        raise TargetFailure(f"{path}: cannot be written ({error.strerror or error})") from None


def _encoder(path: Path) -> str:
    names = ENCODERS.get(path.suffix.lower())
    if names is None:
        raise TargetFailure(
            f"{path}: {path.suffix or 'no ending'} is no video format that can be written; there is: "
            + ", ".join(sorted(ENCODERS))
        )
    for name in names:
        if name in av.codecs_available:
            return name
    raise TargetFailure(f"{path}: no encoder for it here; looked for {', '.join(names)}")


@contextmanager
def track_file(path: Path, name: str, rate: Fraction) -> Iterator[Callable[[FrameAnswer], None]]:
    """Take the answers about the frames of a video, and write their tracks at the end, also of an interrupted block."""
    clip = Clip(name, float(rate))
    model = ""

    def add(answer: FrameAnswer) -> None:
        nonlocal model
        if answer.answer is not None:
            model = model_version(answer.answer.model, answer.answer.model_digest)
            clip.add(int(answer.frame_id), answer.answer)

    try:
        yield add
    finally:
        if clip.n_frames:
            is_cvat = path.suffix.lower() == TRACKS[0]
            write_whole(path, cvat.video_xml(clip) if is_cvat else label_studio.video_tasks(clip, model))


@contextmanager
def json_lines(path: Path) -> Iterator[WriteLine]:
    """Write one line a frame, into a file or to the standard output (`-`), while the block runs."""
    with nullcontext(sys.stdout.buffer) if str(path) == STDOUT else path.open("wb") as file:
        yield partial(_write_line, file)
        file.flush()


def _write_line(file: BinaryIO, answer: FrameAnswer, seconds: float) -> None:
    segmentation, failure = answer.answer, answer.error
    assert failure is None or isinstance(failure, ProblemError)  # encoded frames can be sent
    line = {
        "frame": int(answer.frame_id),
        "seconds": round(seconds, 6),
        "size": segmentation and segmentation.size,
        "segments": segmentation and [_segment(segment) for segment in segmentation],
        "dropped": answer.dropped,
        "error": failure and {"type": failure.type, "detail": failure.problem.detail},
        "state_reset": answer.state_reset,
        "lost": answer.lost,
        "timings_ms": segmentation and asdict(segmentation.timings_ms),
    }
    file.write(orjson.dumps(line) + b"\n")


def _segment(segment: Segment) -> dict[str, Any]:
    names = ("id", "label", "class_index", "score", "area", "bbox", "is_thing", "track_id", "mask")
    content = segment_json(segment)
    return {name: content[name] for name in names} | {"score": round(segment.score, 4)}
