from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import pictures
from tests.integration.server import ROOT, TO_START, Server, form

IN_FLIGHT = 6
SOON = 60.0


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`lexiseg serve` that is expected to give up by itself."""
    return subprocess.run(
        [sys.executable, "-m", "lexiseg_service.cli", "serve", *options],
        cwd=ROOT,
        env=os.environ | {"LEXISEG_GRPC_PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=TO_START,
        check=False,
    )


def test_requests_in_flight_are_answered_before_the_process_ends(tmp_path: Path) -> None:
    # Large, so that some of them are still in flight when the signal comes.
    image = pictures.encoded(pictures.photograph("china").resize((4000, 3000)), compress_level=1)
    with Server(tmp_path / "log.jsonl") as server, ThreadPoolExecutor(IN_FLIGHT) as clients:
        answers = [
            clients.submit(httpx.post, f"{server.url}/segment", files=form(image, "sky", "tree"), timeout=SOON)
            for _ in range(IN_FLIGHT)
        ]
        deadline = time.monotonic() + SOON
        done = in_flight = 0
        while done + in_flight < IN_FLIGHT:  # all have been accepted, and not all answered
            assert time.monotonic() < deadline
            time.sleep(0.01)
            done = sum(answer.done() for answer in answers)
            assert done < IN_FLIGHT, "answered too soon to be interrupted"
            in_flight = int(server.metric("lexiseg_inflight"))

        server.terminate()
        statuses = [answer.result(SOON).status_code for answer in answers]
        status = server.wait()

    assert statuses == [200] * IN_FLIGHT
    assert status == 0


def test_an_idle_server_ends_at_once_with_success(tmp_path: Path) -> None:
    with Server(tmp_path / "log.jsonl") as server:
        server.terminate()

        assert server.wait() == 0


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        outcome = serve("--http-port", str(port))

    assert outcome.returncode == 1
    assert (
        outcome.stderr == f"lexiseg: cannot listen on 127.0.0.1:{port}; is it taken?"
        " Choose another with --http-port, or in LEXISEG_HTTP_PORT\n"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "huge"], "lexiseg: no model 'huge'; there is: tiny"),
        (["--model", "tiny@0"], "lexiseg: no model 'tiny@0'; tiny is at version"),
        (["--http-port", "99999"], "lexiseg: --http-port / LEXISEG_HTTP_PORT: expected less than or equal to 65535"),
        (["--log-level", "loud"], "lexiseg: --log-level / LEXISEG_LOG_LEVEL: expected 'debug'"),
    ],
)
def test_a_wrong_option_ends_the_command_with_one_line(options: list[str], said: str) -> None:
    outcome = serve(*options)

    assert outcome.returncode == 1
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_device_that_is_not_there_ends_the_process() -> None:
    outcome = serve("--http-port", "0", "--device", "abacus")

    assert outcome.returncode == 1
    assert "expected auto, cpu, cuda" in outcome.stderr
