"""Clients that ask all the time, while something happens to the service."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import httpx

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.integration.server import form
from tests.waiting import SOON

SIDE = 64
PICTURE = pictures.encoded(pictures.small("china", SIDE), "JPEG")
Client = Callable[[], AbstractContextManager[Callable[[], str]]]


def new_picture() -> bytes:
    """Never the same file twice: what follows the end of a JPEG is not looked at."""
    return PICTURE + os.urandom(8)


@contextmanager
def rest_client(url: str, **fields: Any) -> Iterator[Callable[[], str]]:
    """Ask about a new image on a connection that is kept: "rest" for an answer, else what came instead."""
    with httpx.Client(timeout=SOON) as client:

        def ask() -> str:
            files = form(new_picture(), "sky", max_side=SIDE, mask="none", **fields)
            try:
                answer = client.post(f"{url}/segment", files=files)
            except httpx.HTTPError as error:
                return repr(error)
            return "rest" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"

        yield ask


@contextmanager
def grpc_client(address: str) -> Iterator[Callable[[], str]]:
    """As `rest_client`, by calls: "grpc" for an answer."""
    with grpc.insecure_channel(address) as channel:

        def ask() -> str:
            image = pb.Image(content=new_picture())
            message = pb.SegmentRequest(image=image, classes=[pb.Class(name="sky")], max_side=SIDE)
            try:
                SegmentationStub(channel).Segment(message, timeout=SOON)
            except grpc.RpcError as error:
                return repr(error)
            return "grpc"

        yield ask


@contextmanager
def load(*clients: Client, pause: float = 0.0) -> Iterator[Counter[str]]:
    """Let each client ask again and again, `pause` seconds apart, in a thread of its own; count what they were told."""
    seen: Counter[str] = Counter()
    over, guard = threading.Event(), threading.Lock()

    def go_on(client: Client) -> None:
        with client() as ask:
            while not over.wait(pause):
                told = ask()
                with guard:
                    seen[told] += 1

    with ThreadPoolExecutor(len(clients)) as threads:
        asking = [threads.submit(go_on, client) for client in clients]
        try:
            yield seen
        finally:
            over.set()
        for each in asking:
            each.result()
