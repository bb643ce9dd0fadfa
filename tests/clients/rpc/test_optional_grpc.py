"""gRPC is optional: REST works without it, and what needs it says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.server import ROOT, Server

WITHOUT = """
import sys

sys.modules["grpc"] = None  # as if it were not installed
from lexiseg_client import AsyncClient, Client, MissingLibrary

url = sys.argv[1]
"""


def run_without_grpc(program: str, url: str) -> str:
    command = [sys.executable, "-c", WITHOUT + program, url]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_rest_works_without_grpc(server: Server) -> None:
    program = """
import numpy as np

with Client(url) as client:
    answer = client.segment(np.zeros((32, 48, 3), np.uint8), ["sky"], background=False)
    print(answer.size, answer.segments[0].label, client.health().ready)
"""

    assert run_without_grpc(program, server.url) == "(32, 48) sky True\n"


@pytest.mark.parametrize(
    "program",
    [
        "Client('grpc://localhost:50051')",
        "AsyncClient('grpcs://localhost:50051')",
        "Client(url).stream([b''], ['sky'])",
        "AsyncClient(url).stream([b''], ['sky'])",
    ],
)
def test_what_needs_grpc_names_the_extra_that_brings_it(program: str) -> None:
    asked = f"""
try:
    {program}
except MissingLibrary as error:
    print(error)
"""

    assert "pip install grpcio protobuf googleapis-common-protos" in run_without_grpc(asked, "http://localhost:8000")
