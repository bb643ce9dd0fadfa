"""`lexiseg video`: read a video, write it with its segments painted on, lines of JSON, or both."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import simplejpeg
import typer
from numpy.typing import NDArray

from lexiseg_client import FrameAnswer
from lexiseg_model.masks.overlay import paint
from lexiseg_model.types import LabelMap, Rle, Segment
from lexiseg_service.commands.bar import Bar, bar_of
from lexiseg_service.commands.signals import on_signals
from lexiseg_service.commands.video.source import SourceFailure, SourceFrame, VideoSource
from lexiseg_service.commands.video.streams import FRAMES_IN_FLIGHT, Ask
from lexiseg_service.commands.video.target import VideoTarget, WriteLine, json_lines
from lexiseg_service.question.messages import Followed, VideoFrame

JPEG_QUALITY = 92  # of the frames on their way to the model
MAX_WAITING = 64  # frames of a live source that are kept until they are answered
AHEAD = 2 * FRAMES_IN_FLIGHT  # of any other source: a connection would buffer hundreds


@dataclass
class VideoRun:
    """One video from its source to its targets, and the outcomes of its frames.

    `out` and `write_line` may each be None; `seconds` ends it early; `follow` are objects in the first frame. The
    sender of the frames reads them, in a thread of its own.
    """

    source: VideoSource
    out: VideoTarget | None
    write_line: WriteLine | None
    seconds: float
    follow: tuple[Followed, ...] = ()
    answered: int = 0
    dropped: int = 0
    failures: list[str] = field(default_factory=list)
    failure: SourceFailure | None = None

    def __post_init__(self) -> None:
        self._waiting: dict[str, SourceFrame] = {}  # frames without an answer yet
        self._room = threading.Semaphore(MAX_WAITING if self.source.live else AHEAD)
        self._reading = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Stop reading frames; those in flight are finished."""
        self._stopped = True
        self._room.release()

    def run(self, ask: Ask, bar: Bar) -> None:
        """Ask about every frame and write the answers.

        Raises:
            ServiceError: the stream failed, or a target cannot be written.
            SourceFailure: the source holds no frame.
        """
        answers = ask(self._frames_sent())
        try:
            for answer in answers:
                frame = self._waiting.pop(answer.frame_id)
                self._room.release()
                self._write(frame, answer)
                self._count(answer)
                bar.step()
        finally:
            self.stop()
            answers.close()
            with self._reading:  # the source must not be closed while a frame is decoded
                pass
        if self.failure is not None:
            raise self.failure

    def _frames_sent(self) -> Iterator[VideoFrame]:
        frames = self.source.frames()
        for number in count():
            self._room.acquire()
            with self._reading:
                frame = None if self._stopped else self._next(frames)
            if frame is None:
                return
            content = simplejpeg.encode_jpeg(frame.rgb, JPEG_QUALITY, "RGB", "420")
            self._waiting[str(number)] = frame
            begins = () if number else self.follow
            yield VideoFrame(content, str(number), round(1e6 * frame.seconds), begins)

    def _next(self, frames: Iterator[SourceFrame]) -> SourceFrame | None:
        try:
            frame = next(frames, None)
        except SourceFailure as failure:
            self.failure = failure
            return None
        return None if frame is None or frame.seconds >= self.seconds else frame

    def _write(self, frame: SourceFrame, answer: FrameAnswer) -> None:
        if self.write_line is not None:
            self.write_line(answer, frame.seconds)
        if self.out is not None and not answer.dropped:
            self.out.write(_painted(frame.rgb, answer), frame.seconds)

    def _count(self, answer: FrameAnswer) -> None:
        if answer.dropped:
            self.dropped += 1
        elif answer.error is not None:
            self.failures.append(f"frame {answer.frame_id}: {answer.error.problem.detail}")
        else:
            self.answered += 1

    def report(self, seconds: float, written: list[Path]) -> int:
        """Print the figures and what failed; 1 if anything did."""
        places = ", ".join(str(path) for path in written if str(path) != "-")
        n_frames = self.answered + self.dropped + len(self.failures)
        dropped = f", {self.dropped} of them dropped" if self.dropped else ""
        rate = f"{n_frames / seconds:.1f} a second" if seconds else "at once"
        typer.echo(f"{n_frames} frames{dropped}, {rate}{': ' if places else ''}{places}", err=True)
        problems = self.failures[:1]
        if len(self.failures) > 1:
            problems.append(f"{len(self.failures)} frames failed, that was the first of them")
        if self.source.damaged:
            problems.append(f"{self.source.name}: {self.source.damaged} damaged packets left out")
        if self.source.broken:
            problems.append(f"{self.source.name}: broke off ({self.source.broken})")
        for problem in problems:
            typer.echo(f"lexiseg: {problem}", err=True)
        return 1 if problems else 0


def run(
    source_name: str,
    opening: AbstractContextManager[Ask],
    out: Path | None,
    lines: Path | None,
    seconds: float = float("inf"),
    follow: tuple[Followed, ...] = (),
) -> int:
    """Run a video; 1 if a frame failed or the source broke off. Ctrl-C ends it, and what is written is kept.

    Args:
        source_name: as `VideoSource` takes it.
        opening: gives the stream; entered once the source and the targets are open.
        out: the video to write, or None.
        lines: the file of JSON lines, or None.
        seconds: of the video, after which it is ended.
        follow: objects in the first frame.

    Raises:
        ServiceError: the source or a target cannot be opened, or the stream failed.
        ModelError: the model cannot be loaded.
    """
    with ExitStack() as stack:
        source = stack.enter_context(closing(VideoSource(source_name)))
        target = None if out is None else stack.enter_context(VideoTarget(out, source.rate))
        write_line = None if lines is None else stack.enter_context(json_lines(lines))
        ask = stack.enter_context(opening)
        work = VideoRun(source, target, write_line, seconds, follow)

        def stop_once(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C ends it at once
            work.stop()

        began = time.monotonic()
        with bar_of("segmenting", _total(source, seconds), summary=False) as bar, on_signals(stop_once, signal.SIGINT):
            work.run(ask, bar)
    return work.report(time.monotonic() - began, [path for path in (out, lines) if path is not None])


def _total(source: VideoSource, seconds: float) -> int | None:
    if source.n_frames is None:
        return None if seconds == float("inf") else round(seconds * source.rate)
    return min(source.n_frames, round(min(seconds, 1e9) * source.rate))


def _painted(rgb: NDArray[np.uint8], answer: FrameAnswer) -> NDArray[np.uint8]:
    """The frame with its segments; objects that are followed have the colour of their number."""
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
