"""What a process refuses at its start, and that a signal ends it there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import grpc
import httpx
import psutil
import pytest
import torch

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.command import run
from tests.integration.processes import Worker
from tests.integration.server import ROOT, TO_START, Server, form
from tests.model.catalogue.test_models import copy_of_tiny
from tests.waiting import SOON, until

UNSHARE = shutil.which("unshare")
# As in a container: a namespace in which the command is the first process.
ALONE = [UNSHARE or "unshare", "--pid", "--fork", "--kill-child"]
ENDLESS = """
import signal

print("importing", flush=True)
while True:
    signal.pause()
"""
ENDED_BY_TERM = 128 + signal.SIGTERM


def may_unshare() -> bool:
    return UNSHARE is not None and subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_worker_that_is_told_cuda_and_has_none_does_not_start(tmp_path: Path) -> None:
    with Worker(tmp_path / "worker.log", LEXISEG_DEVICE="cuda") as worker:
        status = worker.wait(TO_START)
        assert worker.process.stdout is not None
        said = worker.process.stdout.read()

    log = (tmp_path / "worker.log").read_text()
    assert (status, said) == (1, "")  # it never listened
    assert log.startswith("lexiseg: device 'cuda': torch finds no CUDA device")
    assert "Traceback" not in log


@pytest.mark.skipif(not may_unshare(), reason="no namespace of one's own for a process here")
def test_a_first_process_is_ended_by_sigterm_before_it_listens(tmp_path: Path) -> None:
    """Sent while the command line's module imports what it needs, here without end: long before there is a server."""
    (tmp_path / "typer.py").write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [*ALONE, sys.executable, "-m", "lexiseg_service.cli", "gateway", "--workers", "127.0.0.1:1"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as outside:
        guard = threading.Timer(TO_START, outside.kill)
        guard.start()
        try:
            assert outside.stdout is not None
            assert outside.stdout.readline() == "importing\n"
            (first,) = psutil.Process(outside.pid).children()
            first.send_signal(signal.SIGTERM)
            status = outside.wait()
        finally:
            guard.cancel()

    assert status == ENDED_BY_TERM


def test_a_wrong_setting_of_the_gateway_is_named_before_a_worker_is_there(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(ENDLESS)
    path = os.pathsep.join([str(tmp_path), *sys.path])

    outcome = run("serve", PYTHONPATH=path, LEXISEG_API_KEYS_FILE=str(tmp_path / "none"))

    assert outcome.returncode == 1
    assert outcome.stderr.startswith("lexiseg: LEXISEG_API_KEYS_FILE: expected a readable file")


T = TypeVar("T")
CALLS, IN_FLIGHT = 6, 3  # sent at a time, and of those accepted and not answered yet: some always are on their way


def accepted(server: Server, ask: Callable[[], Future[T]]) -> list[Future[T]]:
    """Asks CALLS at a time until IN_FLIGHT of them are worked on at once; one more for each that was too quick."""
    answers: list[Future[T]] = []

    def are_worked_on() -> bool:
        answers.extend(ask() for _ in range(CALLS - sum(not answer.done() for answer in answers)))
        return server.metric("lexiseg_inflight") >= IN_FLIGHT

    until(are_worked_on)
    return answers


def test_requests_and_calls_in_flight_are_answered_before_the_process_ends(tmp_path: Path) -> None:
    # Large, so that some of them are still in flight long after the signal has come.
    image = pictures.encoded(pictures.photograph("china").resize((2000, 1500)), compress_level=1)
    question = pb.SegmentRequest(image=pb.Image(content=image), classes=[pb.Class(name="sky"), pb.Class(name="tree")])
    with (
        Server(tmp_path / "log.jsonl", LEXISEG_DRAIN_SECONDS=str(SOON)) as server,
        grpc.insecure_channel(server.grpc) as channel,
        ThreadPoolExecutor(CALLS) as clients,
    ):
        stub = SegmentationStub(channel)

        def height_over_rest() -> int:
            answer = httpx.post(f"{server.url}/segment", files=form(image, "sky", "tree"), timeout=SOON)
            return int(answer.raise_for_status().json()["size"][0])

        def height_over_grpc() -> int:
            return stub.Segment(question, timeout=SOON).size.height

        ways = cycle([height_over_rest, height_over_grpc])
        answers = accepted(server, lambda: clients.submit(next(ways)))

        server.send(signal.SIGTERM)
        heights = [answer.result(SOON) for answer in answers]
        status = server.wait()

    assert set(heights) == {1500}
    assert status == 0


def test_an_error_names_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        outcome = run("serve", "--http-port", str(port))

    assert outcome.returncode == 1
    assert (
        outcome.stderr == f"lexiseg: cannot listen on 127.0.0.1:{port}; is it taken?"
        " Choose another with --http-port, or in LEXISEG_HTTP_PORT\n"
    )


def test_weights_that_do_not_load_end_it_with_a_sentence(tmp_path: Path) -> None:
    weights = copy_of_tiny(tmp_path, "mine") / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    outcome = run("serve", "--model", "mine", "--models-dir", str(tmp_path))

    assert outcome.returncode == 1
    (said,) = [line for line in outcome.stderr.splitlines() if line.startswith("lexiseg: ")]
    assert said.startswith("lexiseg: mine cannot be loaded: ")
    assert "copy the whole model directory again" in said
    assert "Traceback" not in outcome.stderr
