"""A gateway and two worker processes: workers are killed, stopped and restarted under load."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from lexiseg_client import Client, Frame, Point
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests.ports import free_port
from tests import pictures
from tests.integration.load import PICTURE, SIDE, load, rest_client
from tests.integration.processes import SEEN, Gateway, Worker
from tests.integration.server import form
from tests.waiting import SOON, until

CLIENTS = 16
THINK = 0.5  # seconds between two questions of a client, where a process starts
AHEAD = 8  # frames of a video that are sent before the first of them is answered


class Fleet:
    """Two workers and their gateway."""

    def __init__(self, folder: Path) -> None:
        logs = (folder / "first.jsonl", folder / "second.jsonl")
        # what ends comes back on its port, which nobody else may have taken meanwhile
        self.workers = [Worker(log, free_port()) for log in logs]
        self._gateway_log = folder / "gateway.jsonl"
        self._addresses = [worker.address for worker in self.workers]
        self.gateway = Gateway(self._gateway_log, *self._addresses)

    def restore(self) -> None:
        """What a test has ended is started again: workers on their ports, the gateway on others."""
        for index, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self.start_again(index)
        self.restore_gateway()
        self.gateway.wait_for_workers(2)

    def restore_gateway(self) -> None:
        """The gateway alone."""
        if self.gateway.process.poll() is not None:
            self.gateway.stop()
            self.gateway = Gateway(self._gateway_log, *self._addresses)

    def start_again(self, index: int) -> None:
        old = self.workers[index]
        old.stop()
        self.workers[index] = Worker(old.log, old.port)

    def stop(self) -> None:
        for process in (self.gateway, *self.workers):
            process.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: Fleet) -> Fleet:
    running.restore()
    return running


def ask(url: str, image: bytes, *classes: str, **fields: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/segment", files=form(image, *(classes or ("sky",)), max_side=SIDE, **fields), timeout=SOON
    )


def crowd(url: str, pause: float = 0.0) -> AbstractContextManager[Counter[str]]:
    return load(*[partial(rest_client, url)] * CLIENTS, pause=pause)


@contextmanager
def stream(address: str) -> Iterator[list[pb.SegmentVideoResponse]]:
    """A video of new frames until the end of the block; its answers so far."""
    answers: list[pb.SegmentVideoResponse] = []
    over = threading.Event()

    def frames() -> Iterator[pb.SegmentVideoRequest]:
        yield pb.SegmentVideoRequest(config=pb.StreamConfig(classes=[pb.Class(name="sky")], max_side=SIDE))
        number = 0
        while not over.is_set():
            if number - len(answers) > AHEAD:  # frames this small could fill the buffers of the way by thousands
                time.sleep(0.01)
                continue
            yield pb.SegmentVideoRequest(frame=pb.Frame(image=PICTURE, id=str(number)))
            number += 1

    def read() -> None:
        with grpc.insecure_channel(address) as channel:
            for answer in SegmentationStub(channel).SegmentVideo(frames(), timeout=SOON):
                answers.append(answer)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            yield answers
        finally:
            over.set()
        reading.result()


def answered(worker: Worker) -> float:
    return worker.metric('lexiseg_stage_seconds_count{stage="total"}')


def test_an_answer_through_a_gateway_is_that_of_one_process(fleet: Fleet, client: httpx.Client) -> None:
    image = pictures.encoded(pictures.small("china", 160), "JPEG")
    classes = ("sky", "building", "tree")

    alone = client.post("/segment", files=form(image, *classes, max_side=SIDE)).json()
    apart = ask(fleet.gateway.url, image, *classes).json()
    with grpc.insecure_channel(fleet.gateway.grpc) as channel:
        listed = [pb.Class(name=name) for name in classes]
        message = pb.SegmentRequest(image=pb.Image(content=image), classes=listed, max_side=SIDE)
        over_grpc = SegmentationStub(channel).Segment(message)

    assert apart["segments"] == alone["segments"]
    assert apart["model_digest"] == alone["model_digest"]
    assert [(segment.label, segment.score) for segment in over_grpc.segments] == [
        (segment["label"], segment["score"]) for segment in alone["segments"]
    ]
    assert [segment.mask.coco_rle.counts for segment in over_grpc.segments] == [
        segment["mask"]["counts"] for segment in alone["segments"]
    ]


def test_a_gateway_holds_no_torch(fleet: Fleet) -> None:
    ask(fleet.gateway.url, PICTURE, overlay="true")

    libraries = {Path(mapped.path).name for mapped in psutil.Process(fleet.gateway.process.pid).memory_maps()}

    assert libraries
    assert not [name for name in libraries if "torch" in name]


def test_a_worker_killed_under_load_costs_no_client_an_answer_and_no_stream_a_frame(fleet: Fleet) -> None:
    with crowd(fleet.gateway.url) as seen, stream(fleet.gateway.grpc) as frames:
        until(lambda: min(map(answered, fleet.workers)) > 5 and seen["rest"] > CLIENTS and len(frames) > 3)
        (holder,) = [worker for worker in fleet.workers if worker.metric("lexiseg_stream_active")]
        holder.send(signal.SIGKILL)
        killed_at, frames_at = seen["rest"], len(frames)
        fleet.gateway.wait_for_workers(1, SEEN)
        until(lambda: seen["rest"] > killed_at + CLIENTS and len(frames) > frames_at + 3)

    assert set(seen) == {"rest"}
    assert [frame.frame_id for frame in frames] == [str(number) for number in range(len(frames))]
    assert all(frame.HasField("answer") for frame in frames)
    assert sum(frame.state_reset for frame in frames) == 1


def test_a_client_is_told_once_that_its_followed_object_went_with_the_worker(fleet: Fleet) -> None:
    killed = threading.Event()

    def frames() -> Iterator[Frame | bytes]:
        yield Frame(PICTURE, follow={1: Point(SIDE / 2, SIDE / 2)})
        yield PICTURE
        killed.wait(SEEN)
        yield from [PICTURE] * 4
        yield Frame(PICTURE, follow={1: Point(SIDE / 2, SIDE / 2)})

    answers = []
    with Client(f"grpc://{fleet.gateway.grpc}") as client:
        for answer in client.stream(frames(), task="prompt"):
            answers.append(answer)
            if len(answers) == 2:
                (holder,) = [worker for worker in fleet.workers if worker.metric("lexiseg_stream_active")]
                holder.send(signal.SIGKILL)
                killed.set()

    assert [answer.frame_id for answer in answers] == [str(number) for number in range(7)]
    assert [answer.state_reset for answer in answers] == [number == 2 for number in range(7)]
    assert [[segment.track_id for segment in answer.segments] for answer in answers] == [[1]] * 2 + [[]] * 4 + [[1]]
    (left,) = [worker for worker in fleet.workers if worker is not holder]
    until(lambda: not left.metric("lexiseg_stream_active"))


def test_a_worker_that_returns_under_load_is_used(running: Fleet) -> None:
    ended = [index for index, worker in enumerate(running.workers) if worker.process.poll() is not None]
    if not ended:
        running.workers[0].send(signal.SIGKILL)
    index = ended[0] if ended else 0
    running.restore_gateway()
    running.gateway.wait_for_workers(1)

    with crowd(running.gateway.url, THINK) as seen:
        running.start_again(index)
        running.gateway.wait_for_workers(2)
        until(lambda: answered(running.workers[index]) > 5)

    assert set(seen) == {"rest"}


def test_a_worker_and_a_gateway_that_are_asked_to_end_lose_nothing(fleet: Fleet) -> None:
    with crowd(fleet.gateway.url) as seen:
        until(lambda: seen["rest"] > CLIENTS)
        fleet.workers[1].send(signal.SIGTERM)
        status = fleet.workers[1].wait()
        ended_at = seen["rest"]
        until(lambda: seen["rest"] > ended_at + CLIENTS)

    fleet.gateway.send(signal.SIGTERM)

    assert (status, fleet.gateway.wait()) == (0, 0)
    assert set(seen) == {"rest"}
