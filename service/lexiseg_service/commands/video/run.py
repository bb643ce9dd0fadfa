"""`lexiseg video`: read a video, write it with its segments painted on or their tracks, lines of JSON, or both."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import typer
from numpy.typing import NDArray

from lexiseg_client import Frame, FrameAnswer, ProblemError, Prompt
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import STDOUT
from lexiseg_model.command_line.signals import on_signals
from lexiseg_model.masks.overlay import paint
from lexiseg_model.types import LabelMap, Rle, Segment
from lexiseg_service.commands.server import Server
from lexiseg_service.commands.video.source import SourceFrame, VideoSource
from lexiseg_service.commands.video.target import TRACKS, VideoTarget, json_lines, track_file

FRAMES_IN_FLIGHT = 4
JPEG_QUALITY = 92  # of the frames on their way to the model
MAX_WAITING = 64  # frames of a live source that are kept until they are answered
AHEAD = 2 * FRAMES_IN_FLIGHT  # of any other source: a connection would buffer hundreds


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
            bar.step()
    took = time.monotonic() - began
    places = ", ".join(str(path) for path in (out, lines) if path is not None and str(path) != STDOUT)
    dropped = f", {n_dropped} of them dropped" if n_dropped else ""
    rate = f"{n_frames / took:.1f} a second" if took else "at once"
    typer.echo(f"{n_frames} frames{dropped}, {rate}{': ' if places else ''}{places}", err=True)
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
