"""`lexiseg video`: read a video, write it with its segments painted on or their tracks, lines of JSON, or both."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
import orjson
import simplejpeg
import typer
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from lexiseg_client import Frame, FrameAnswer, ProblemError, Prompt
from lexiseg_labels.data_set import model_version
from lexiseg_labels.exports import write_whole
from lexiseg_labels.formats import cvat, label_studio
from lexiseg_labels.segments import segment_json
from lexiseg_labels.tracks import Clip
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import STDOUT
from lexiseg_model.command_line.signals import on_signals
from lexiseg_model.masks.overlay import paint
from lexiseg_model.types import LabelMap, Rle, Segment
from lexiseg_service.commands.server import Server
from lexiseg_service.commands.video.source import SourceFrame, VideoSource
from lexiseg_service.errors import ServiceError

FRAMES_IN_FLIGHT = 4
JPEG_QUALITY = 92  # of the frames on their way to the model
MAX_WAITING = 64  # frames of a live source that are kept until they are answered
AHEAD = 2 * FRAMES_IN_FLIGHT  # of any other source: a connection would buffer hundreds
# Videos are made by PyAV: H.264 where there is an encoder for it, else what the container takes.
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
        if not path.parent.is_dir():
            raise TargetFailure(f"{path}: the folder {path.parent} does not exist")
        _encoder(path)
        try:
            self._container: OutputContainer = av.open(str(path), "w")
        except (av.error.FFmpegError, OSError) as error:
            raise TargetFailure(f"{path}: cannot be written ({error.strerror or error})") from None
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


def _encoder(path: Path) -> str:
    names = ENCODERS.get(path.suffix.lower())
    if names is None:
        known = ", ".join(sorted(ENCODERS))
        raise TargetFailure(f"{path}: {path.suffix or 'no ending'} is no video format to write; there is: {known}")
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
        "segments": segmentation and [_segment_line(segment_json(segment)) for segment in segmentation],
        "dropped": answer.dropped,
        "error": failure and {"type": failure.type, "detail": failure.problem.detail},
        "state_reset": answer.state_reset,
        "lost": answer.lost,
        "timings_ms": segmentation and asdict(segmentation.timings_ms),
    }
    file.write(orjson.dumps(line) + b"\n")


def _segment_line(content: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "label", "class_index", "score", "area", "bbox", "is_thing", "track_id", "mask")
    return {name: content[name] for name in names} | {"score": round(content["score"], 4)}


class FramesUnderway:
    """Frames of a source that are not answered yet. The sender of the frames reads them, in a thread of its own.

    They end after so many `seconds` of the video. The objects to follow in the first frame are numbered from 1.
    """

    def __init__(self, source: VideoSource, seconds: float, follow: Sequence[Prompt]) -> None:
        self._frames = source.frames()
        self._seconds = seconds
        self._follow = dict(enumerate(follow, 1))
        self._waiting: dict[str, SourceFrame] = {}
        self._room = threading.Semaphore(MAX_WAITING if source.live else AHEAD)
        self._reading = threading.Lock()
        self._stopped = False

    def read_frames(self) -> Iterator[Frame]:
        """Read and encode frame after frame, as far ahead of the answers as there is room."""
        for number in count():
            self._room.acquire()
            with self._reading:
                frame = None if self._stopped else next(self._frames, None)
            if frame is None or frame.seconds >= self._seconds:
                return
            content = simplejpeg.encode_jpeg(frame.rgb, JPEG_QUALITY, "RGB", "420")
            self._waiting[str(number)] = frame
            yield Frame(content, round(1e6 * frame.seconds), str(number), {} if number else self._follow)

    def take_frame(self, frame_id: str) -> SourceFrame:
        """The frame that an answer is about; it makes room for another one."""
        self._room.release()
        return self._waiting.pop(frame_id)

    def stop(self) -> None:
        """Read no more frames; the ones in flight are finished."""
        self._stopped = True
        self._room.release()

    def wait_for_reader(self) -> None:
        """Wait for the frame that is being decoded: the source must not be closed meanwhile."""
        with self._reading:
            pass


def run(
    source_name: str,
    opening: AbstractContextManager[Server],
    fields: dict[str, Any],
    out: Path | None,
    lines: Path | None,
    seconds: float = float("inf"),
    follow: Sequence[Prompt] = (),
) -> int:
    """Run a video; 1 if a frame failed or the source broke off. Ctrl-C ends it, and what is written is kept.

    The server is opened once the source and the targets are. `fields` are the stream's config.
    """
    n_frames = n_dropped = 0
    failures: list[str] = []
    with ExitStack() as stack:
        source = stack.enter_context(closing(VideoSource(source_name)))
        write_frame = None if out is None else stack.enter_context(_frame_writer(out, source))
        server = stack.enter_context(opening)
        server.check(fields["task"])
        write_line = None if lines is None else stack.enter_context(json_lines(lines))
        frames = FramesUnderway(source, seconds, follow)
        stack.callback(frames.wait_for_reader)

        def stop_once(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C ends it at once
            frames.stop()

        began = time.monotonic()
        bar = stack.enter_context(bar_of("segmenting", _total(source, seconds), summary=False))
        stack.enter_context(on_signals(stop_once, signal.SIGINT))
        answers = stack.enter_context(closing(server.stream(frames.read_frames(), fields)))
        stack.callback(frames.stop)  # before the answers are closed: their sender may wait for room
        for answer in answers:
            frame = frames.take_frame(answer.frame_id)
            if write_line is not None:
                write_line(answer, frame.seconds)
            if write_frame is not None and not answer.dropped:
                write_frame(answer, frame)
            if follow and answer.state_reset and n_frames:  # the objects begin in the first frame
                failures.append(f"frame {answer.frame_id}: another worker took over, which knows none of the objects")
            n_frames += 1
            n_dropped += answer.dropped
            if isinstance(answer.error, ProblemError):  # encoded frames have no other errors
                failures.append(f"frame {answer.frame_id}: {answer.error.problem.detail}")
                if follow and n_frames == 1:
                    break  # nothing can be followed
            bar.step()
    took = time.monotonic() - began
    rate = f"{n_frames / took:.1f} a second" if took else "at once"
    places = ", ".join(str(path) for path in (out, lines) if path is not None and str(path) != STDOUT)
    dropped = f", {n_dropped} of them dropped" if n_dropped else ""
    count = f"{n_frames} frame{'s' * (n_frames != 1)}{dropped}"
    typer.echo(f"{count}, {rate}{': ' if places else ''}{places}", err=True)
    several = f"{len(failures)} frames failed, that was the first of them"
    problems = [*failures[:1], *([several] if len(failures) > 1 else []), *source.problems()]
    for problem in problems:
        typer.echo(f"lexiseg: {problem}", err=True)
    return 1 if problems else 0


@contextmanager
def _frame_writer(out: Path, source: VideoSource) -> Iterator[Callable[[FrameAnswer, SourceFrame], None]]:
    if out.suffix.lower() in TRACKS:
        with track_file(out, Path(source.name).name, source.rate) as add:
            yield lambda answer, _: add(answer)
    else:
        with VideoTarget(out, source.rate) as target:
            yield lambda answer, frame: target.write(_painted(frame.rgb, answer), frame.seconds)


def _total(source: VideoSource, seconds: float) -> int | None:
    if source.n_frames is None:
        return None if seconds == float("inf") else round(seconds * source.rate)
    return min(source.n_frames, round(min(seconds, 1e9) * source.rate))


def _painted(rgb: NDArray[np.uint8], answer: FrameAnswer) -> NDArray[np.uint8]:
    segmentation = answer.answer
    if segmentation is None:
        return paint(rgb, np.zeros(rgb.shape[:2], np.uint8), ())
    follows = segmentation.task == "prompt"
    numbered = follows or segmentation.task != "semantic"
    ids: LabelMap = np.zeros(segmentation.size, np.uint16)
    segments = []
    for segment in segmentation:
        ids[segment.shape.pixels()] = segment.id
        number = segment.track_id if numbered else None
        label = " ".join(str(part) for part in (segment.label, number) if part is not None) or None
        index = number - 1 if follows and number is not None else segment.class_index
        outline = Rle(segmentation.size, "", segment.area, segment.bbox)
        segments.append(Segment(segment.id, label, index, segment.score, outline))
    return paint(rgb, ids, tuple(segments))
