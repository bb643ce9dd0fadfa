"""`lexiseg video`: read a video, write it with its segments painted on, lines of JSON, or both."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, ExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import simplejpeg
import typer
from numpy.typing import NDArray

from lexiseg_client import FrameAnswer
from lexiseg_model.masks.overlay import paint
from lexiseg_model.types import LabelMap, Rle, Segment
from lexiseg_service.commands.bar import Bar, bar_of
from lexiseg_service.commands.video.source import SourceFailure, SourceFrame, VideoSource
from lexiseg_service.commands.video.streams import FRAMES_IN_FLIGHT, Ask
from lexiseg_service.commands.video.target import JsonLines, VideoTarget
from lexiseg_service.question.messages import Followed, VideoFrame

JPEG_QUALITY = 92  # of the frames on their way to the model
MAX_WAITING = 64  # frames of a live source that are kept until they are answered
AHEAD = 2 * FRAMES_IN_FLIGHT  # of any other source: a connection would buffer hundreds


@dataclass
class Tally:
    """The outcomes of the frames."""

    answered: int = 0
    dropped: int = 0
    failures: list[str] = field(default_factory=list)


class VideoRun:
    """One video from its source to its targets. `out` and `lines` may each be None; `seconds` ends it early.

    `follow` are objects in the first frame.
    """

    def __init__(
        self,
        source: VideoSource,
        out: VideoTarget | None,
        lines: JsonLines | None,
        seconds: float,
        follow: tuple[Followed, ...] = (),
    ) -> None:
        self._source = source
        self._out = out
        self._lines = lines
        self._seconds = seconds
        self._follow = follow
        self._frames = source.frames()
        self._waiting: dict[str, SourceFrame] = {}  # frames without an answer yet
        self._max_waiting = MAX_WAITING if source.live else AHEAD
        self._freed = asyncio.Event()
        self._stopped = False
        self.failure: SourceFailure | None = None
        self.tally = Tally()

    def stop(self) -> None:
        """Stop reading frames; those in flight are finished."""
        self._stopped = True

    async def run(self, ask: Ask, bar: Bar) -> None:
        """Ask about every frame and write the answers.

        Raises:
            ServiceError: the stream failed, or a target cannot be written.
            SourceFailure: the source holds no frame.
        """
        async with aclosing(self._frames_sent()) as frames, aclosing(ask(frames)) as answers:
            async for answer in answers:
                frame = self._waiting.pop(answer.frame_id)
                self._freed.set()
                await asyncio.to_thread(self._write, frame, answer)
                self._count(answer)
                bar.step()
        if self.failure is not None:
            raise self.failure

    async def _frames_sent(self) -> AsyncGenerator[VideoFrame, None]:
        number = 0
        while not self._stopped:
            while len(self._waiting) >= self._max_waiting:
                self._freed.clear()
                await self._freed.wait()
            read = await asyncio.to_thread(self._read)
            if read is None:
                return
            frame, content = read
            self._waiting[str(number)] = frame
            begins = () if number else self._follow
            yield VideoFrame(content, str(number), round(1e6 * frame.seconds), begins)
            number += 1

    def _read(self) -> tuple[SourceFrame, bytes] | None:
        try:
            frame = next(self._frames, None)
        except SourceFailure as failure:
            self.failure = failure
            return None
        if frame is None or frame.seconds >= self._seconds:
            return None
        return frame, simplejpeg.encode_jpeg(frame.rgb, JPEG_QUALITY, "RGB", "420")

    def _write(self, frame: SourceFrame, answer: FrameAnswer) -> None:
        if self._lines is not None:
            self._lines.write(answer, frame.seconds)
        if self._out is not None and not answer.dropped:
            self._out.write(_painted(frame.rgb, answer), frame.seconds)

    def _count(self, answer: FrameAnswer) -> None:
        if answer.dropped:
            self.tally.dropped += 1
        elif answer.error is not None:
            self.tally.failures.append(f"frame {answer.frame_id}: {answer.error.problem.detail}")
        else:
            self.tally.answered += 1


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
        source = stack.enter_context(VideoSource(source_name))
        target = None if out is None else stack.enter_context(VideoTarget(out, source.rate))
        writer = None if lines is None else stack.enter_context(JsonLines(lines))
        ask = stack.enter_context(opening)
        work = VideoRun(source, target, writer, seconds, follow)
        began = time.monotonic()
        with bar_of("segmenting", _total(source, seconds), summary=False) as bar, asyncio.Runner() as runner:
            runner.run(_until_stopped(work, ask, bar))
    return _report(source, work.tally, time.monotonic() - began, [path for path in (out, lines) if path is not None])


async def _until_stopped(work: VideoRun, ask: Ask, bar: Bar) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        work.stop()
        loop.remove_signal_handler(signal.SIGINT)  # the second one ends it at once

    with suppress(NotImplementedError, RuntimeError, ValueError):  # not here, or not on this thread
        loop.add_signal_handler(signal.SIGINT, stop)
    await work.run(ask, bar)


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


def _report(source: VideoSource, tally: Tally, seconds: float, written: list[Path]) -> int:
    places = ", ".join(str(path) for path in written if str(path) != "-")
    n_frames = tally.answered + tally.dropped + len(tally.failures)
    dropped = f", {tally.dropped} of them dropped" if tally.dropped else ""
    rate = f"{n_frames / seconds:.1f} a second" if seconds else "at once"
    typer.echo(f"{n_frames} frames{dropped}, {rate}{': ' if places else ''}{places}", err=True)
    problems = tally.failures[:1]
    if len(tally.failures) > 1:
        problems.append(f"{len(tally.failures)} frames failed, that was the first of them")
    if source.damaged:
        problems.append(f"{source.name}: {source.damaged} damaged packets left out")
    if source.broken:
        problems.append(f"{source.name}: broke off ({source.broken})")
    for problem in problems:
        typer.echo(f"lexiseg: {problem}", err=True)
    return 1 if problems else 0
