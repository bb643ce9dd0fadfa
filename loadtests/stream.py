"""`python -m loadtests.stream`: a video stream at the pace of a camera, with each drop policy, and what came of it.

    python -m loadtests.stream --seconds 180 --fps 25 --policy none --policy latest

Starts a service of its own, unless `--server` and `--metrics` name a running one. Ends with 1 if a frame was lost or
failed, if answers came out of order, if the service kept memory or holds 15 % beyond what it can account for, or if
(with `latest`) answers were late: by more than two frame times, in one case of twenty. A frame time is the camera's, or
that of the model where it is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests.memory import BEYOND, CACHES, RESIDENT, told
from loadtests.run import service, until_ready
from loadtests.scenes import frames as generated

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

    Call = grpc.aio.StreamStreamCall[pb.SegmentVideoRequest, pb.SegmentVideoResponse]

CLIPS = Path("../shared/data/clips")
POLICIES = {"none": pb.DROP_POLICY_NONE, "latest": pb.DROP_POLICY_LATEST}
CLASSES = ("cow", "car", "person", "dog", "grass", "tree", "sky", "road", "building")
WARM_UP_SECONDS = 5.0
MEMORY_SECONDS = 1.0  # between two looks
# Bytes of the service, from the middle third of a stream to its last. Servers hand back what lies free every ten
# seconds, so what is left is what is kept: 5 MB of 288 frames; twenty decoded frames that were kept would be 18 MB.
MAX_GROWTH = 16 << 20
LATE = 2.0  # frame times
GENERATED = 100


@dataclass
class Stream:
    """What came of one stream. Times in milliseconds, `own` is what a frame's work took without waiting."""

    policy: str
    sent: int = 0
    answered: int = 0
    dropped: int = 0
    failed: int = 0
    out_of_order: int = 0
    latency: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.sent - self.answered - self.dropped - self.failed


class Memory(NamedTuple):
    """Bytes of the service: by how many it grew, what it holds, and what of that it can account for."""

    grown: float = 0.0
    resident: float = 0.0
    accounted: float = 0.0

    @property
    def beyond(self) -> float:
        """What it holds beyond what it can account for, as a share of that."""
        return self.resident / self.accounted - 1 if self.accounted else 0.0


async def watched(url: str, stream: Coroutine[None, None, Stream], ready: float = 0.0) -> tuple[Stream, Memory]:
    """A stream, and the memory of the service; `ready` is its memory before the first request."""
    seen: list[float] = []
    caches: list[float] = []

    async def watch() -> None:
        while True:
            seen.append(await asyncio.to_thread(told, url, RESIDENT))
            caches.append(await asyncio.to_thread(told, url, CACHES))
            await asyncio.sleep(MEMORY_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        finished = await stream
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    held = statistics.median(seen[-max(1, len(seen) // 3) :])
    return finished, Memory(growth(seen), held, ready + max(caches) if ready else 0.0)


def growth(seen: list[float]) -> float:
    """From the middle third to the last, medians; 0 for too few to tell."""
    third = len(seen) // 3
    return statistics.median(seen[-third:]) - statistics.median(seen[third : 2 * third]) if third else 0.0


async def run(server: str, images: list[bytes], policy: str, fps: float, seconds: float) -> Stream:
    """One stream from its beginning to its end."""
    stream = Stream(policy)
    handed_over: list[float] = []
    async with grpc.aio.insecure_channel(server) as channel:
        stub: SegmentationAsyncStub = SegmentationStub(channel)
        call = stub.SegmentVideo()
        config = pb.StreamConfig(
            classes=[pb.Class(name=name) for name in CLASSES],
            task=pb.TASK_INSTANCE,
            smoothing=0.8,
            tracking=True,
            drop_policy=POLICIES[policy],
        )
        await call.write(pb.SegmentVideoRequest(config=config))
        sending = asyncio.create_task(_send(call, images, fps, seconds, handed_over))
        while isinstance(answer := await call.read(), pb.SegmentVideoResponse):
            _note(stream, answer, handed_over)
        await sending
    stream.sent = len(handed_over)
    return stream


async def _send(call: Call, images: list[bytes], fps: float, seconds: float, handed_over: list[float]) -> None:
    """Frames at the pace of a camera. A frame that flow control holds up is late from when it was due."""
    began = time.monotonic()
    for index, image in enumerate(cycle(images)):
        due = began + index / fps
        if due >= began + seconds or time.monotonic() >= began + seconds:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        handed_over.append(time.monotonic())
        frame = pb.Frame(image=image, id=str(index), timestamp_us=round(1e6 * index / fps))
        await call.write(pb.SegmentVideoRequest(frame=frame))
    await call.done_writing()


def _note(stream: Stream, answer: pb.SegmentVideoResponse, handed_over: list[float]) -> None:
    now = time.monotonic()
    stream.out_of_order += int(answer.frame_id) != stream.answered + stream.dropped + stream.failed
    if answer.dropped:
        stream.dropped += 1
    elif answer.HasField("error"):
        stream.failed += 1
    else:
        stream.answered += 1
        timings = answer.answer.timings_ms
        stream.latency.append(1e3 * (now - handed_over[int(answer.frame_id)]))
        stream.own.append(timings.decode + timings.text + timings.image + timings.post)
        stream.arrivals.append(1e3 * now)


def report(stream: Stream, fps: float, memory: Memory) -> tuple[dict[str, object], list[str]]:
    """Figures, and what was wrong."""
    between = statistics.fmean([now - before for before, now in pairwise(stream.arrivals)] or [0.0])
    frame_time = max(1e3 / fps, between)
    late = [(latency - own) / frame_time for latency, own in zip(stream.latency, stream.own, strict=True)]
    counts = {name: value for name, value in asdict(stream).items() if not isinstance(value, list)}
    figures = counts | {
        "lost": stream.lost,
        "frames_per_second": round(1e3 / between, 1) if between else 0.0,
        "frame_time_ms": round(frame_time, 1),
        "latency_ms": _spread(stream.latency),
        "own_ms": _spread(stream.own),
        "late_frame_times": _spread(late),
        "memory_grown_mb": round(memory.grown / 2**20, 1),
        "memory_mb": round(memory.resident / 2**20),
        "memory_beyond_percent": round(100 * memory.beyond, 1),
    }
    faults = {
        "frames were lost": stream.lost,
        "frames failed": stream.failed,
        "answers came out of order": stream.out_of_order,
        "frames were dropped, though none may be": stream.policy == "none" and stream.dropped,
        "nothing was answered": not stream.answered,
        "answers were late": stream.policy == "latest" and bool(late) and _quantile(late, 0.95) > LATE,
        "memory was kept": memory.grown > MAX_GROWTH,
        "more memory is held than is accounted for": memory.beyond > BEYOND,
    }
    return figures, [f"{stream.policy}: {fault}" for fault, is_so in faults.items() if is_so]


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(_quantile(values, share), 2) for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def frames() -> list[bytes]:
    """A clip's frames where there is one, else a camera over a generated scene."""
    paths = sorted((CLIPS / "cows" / "images").glob("*.jpg"))
    return [path.read_bytes() for path in paths] or generated(0, GENERATED)


@contextmanager
def _target(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if options.server:
        yield options.metrics, options.server
    else:
        with service() as addresses:
            yield addresses


def main(words: list[str]) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--policy", action="append", choices=sorted(POLICIES))
    parser.add_argument("--server", help="HOST:PORT of a running service's gRPC")
    parser.add_argument("--metrics", default="http://localhost:8000", help="its base URL")
    options = parser.parse_args(words)
    images, faults = frames(), list[str]()
    with _target(options) as (url, server):
        until_ready(url)
        ready = 0.0 if options.server else told(url, RESIDENT)
        asyncio.run(run(server, images, "none", options.fps, WARM_UP_SECONDS))
        for policy in options.policy or list(POLICIES):
            running = run(server, images, policy, options.fps, options.seconds)
            stream, memory = asyncio.run(watched(url, running, ready))
            figures, wrong = report(stream, options.fps, memory)
            print(json.dumps(figures), flush=True)
            faults += wrong
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
