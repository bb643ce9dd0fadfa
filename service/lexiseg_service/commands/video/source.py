"""Frames of a video file, a camera or a network stream, by PyAV."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Stream
from av.video.frame import VideoFrame as Decoded
from av.video.stream import VideoStream
from numpy.typing import NDArray

from lexiseg_model.pictures.header import matrix_orientation, upright
from lexiseg_service.errors import ServiceError

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
LIVE = re.compile(r"(rtsp|rtsps|rtp|udp|srt|rtmp)://", re.IGNORECASE)
CAMERA = re.compile(r"/dev/video\d+")
STILL_FORMATS = ("_pipe", "image2")  # FFmpeg's readers of single pictures, as jpeg_pipe
SECONDS_TO_CONNECT = 10.0
SECONDS_WITHOUT_DATA = 10.0
MAX_MISSING = 0.5  # seconds at the end of a file that is taken to be whole
DEFAULT_RATE = Fraction(25)  # frames a second, where a source says none


def _unnamed(kind: type[Type], value: Any) -> Type:
    """A member for side data that FFmpeg has and PyAV does not name, as EXIF: without it no frame's can be read."""
    member: Type = object.__new__(kind)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


class SourceFailure(ServiceError):
    """A source that cannot be read, or breaks in the middle."""


@dataclass(frozen=True)
class SourceFrame:
    """`rgb` [H, W, 3] uint8 upright; `seconds` since the first frame."""

    rgb: NDArray[np.uint8]
    seconds: float


class VideoSource:
    """An open source; it is to be closed. `live` sources do not wait for their reader."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.live = is_live(name)
        self._container = _opened(name)
        stream = self._container.streams.best("video")  # of several tracks the one that players show
        if not isinstance(stream, VideoStream) or self._container.format.name.endswith(STILL_FORMATS):
            self._container.close()
            raise SourceFailure(f"{name}: {_no_video(stream)}")
        self._stream = stream
        self._stream.thread_type = "AUTO"
        self.damaged = 0  # packets that could not be decoded
        self.broken: str | None = None  # why it ended before its end
        self._read_to = 0  # end of the last packet, in the stream's time base

    def close(self) -> None:
        self._container.close()

    @property
    def rate(self) -> Fraction:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return Fraction(rate) if rate and 0 < rate <= 1000 else DEFAULT_RATE

    @property
    def n_frames(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        duration = self._container.duration
        return None if duration is None or self.live else max(1, round(duration / av.time_base * self.rate))

    def problems(self) -> list[str]:
        damaged = f"{self.name}: {self.damaged} damaged packets left out"
        broken = f"{self.name}: broke off ({self.broken})"
        return [*([damaged] if self.damaged else []), *([broken] if self.broken else [])]

    def frames(self) -> Iterator[SourceFrame]:
        """Decode frames, in the size of the first; damaged packets are left out, a source that breaks off ends."""
        first: tuple[float, int, int] | None = None
        for number, frame in enumerate(self._decoded()):
            seconds = frame.time if frame.time is not None else number / float(self.rate)
            start, width, height = first = first or (seconds, frame.width, frame.height)
            yield SourceFrame(_upright(frame, width, height), max(0.0, seconds - start))
        if first is None:
            raise SourceFailure(f"{self.name}: not one frame could be decoded")

    def _decoded(self) -> Iterator[Decoded]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self.broken = _why(error)
                return
            if packet is None:
                # A cut MP4 with its index in front ends without an error.
                stream = self._stream
                if "mp4" in self._container.format.name and stream.duration and stream.time_base:
                    missing = float(((stream.start_time or 0) + stream.duration - self._read_to) * stream.time_base)
                    if missing > MAX_MISSING:
                        self.broken = f"the last {missing:.1f} seconds are missing"
                return
            if packet.pts is not None:
                self._read_to = max(self._read_to, packet.pts + (packet.duration or 0))
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.damaged += 1


def is_live(name: str) -> bool:
    """Whether a source does not wait for its reader: a camera or a stream from one."""
    return bool(LIVE.match(name) or CAMERA.fullmatch(name))


def _opened(name: str) -> InputContainer:
    options: dict[str, Any] = {}
    if CAMERA.fullmatch(name):
        options["format"] = "v4l2"
    elif URL.match(name):
        options["timeout"] = (SECONDS_TO_CONNECT, SECONDS_WITHOUT_DATA)
        if name.lower().startswith("rtsp"):
            options["options"] = {"rtsp_transport": "tcp"}  # by UDP, lost packets become smeared pictures
    try:
        opened: InputContainer = av.open(name, **options)
        return opened
    except FileNotFoundError:
        raise SourceFailure(f"{name}: no such file or device") from None
    except av.error.InvalidDataError:
        raise SourceFailure(f"{name}: not a video that can be read") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceFailure(f"{name}: cannot be opened ({_why(error)})") from None


def _no_video(stream: Stream | None) -> str:
    """Why a source is none: of the stream of pictures in it, if there is one."""
    if not isinstance(stream, VideoStream):
        return "holds no video"
    if not stream.width:
        return "a picture that FFmpeg cannot decode, as an animated WebP; make a video or a GIF of it first"
    return "a still image; expected a video file, a camera or a stream. `lexiseg segment` takes images"


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _upright(frame: Decoded, width: int, height: int) -> NDArray[np.uint8]:
    """RGB [H, W, 3], turned and mirrored by the file's metadata: phones store frames as the sensor saw them."""
    rgb = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
    matrix = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return rgb
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    return np.ascontiguousarray(upright(rgb, matrix_orientation(a, b, c, d)))
