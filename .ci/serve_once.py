"""Starts `lexiseg serve` of this environment, asks about one photograph over REST and gRPC, stops it.

python serve_once.py PHOTOGRAPH [lexiseg serve's options]
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import lexiseg_client
import lexiseg_model
import lexiseg_service
from lexiseg_client import Client

TO_START = 120.0  # seconds
TO_STOP = 60.0
GREETING = re.compile(r"on (http://localhost:\d+) .*gRPC on (localhost:\d+)")
CLASSES = ["sky", "building", "tree", "water"]


def main(photograph: Path, options: list[str]) -> None:
    for package in (lexiseg_client, lexiseg_model, lexiseg_service):
        assert str(package.__file__).startswith(sys.prefix), f"{package.__file__} is not of {sys.prefix}"
    command = [str(Path(sys.prefix) / "bin/lexiseg"), "serve", "--http-port", "0", "--grpc-port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # One that says nothing is stopped, which ends the reading.
    guard = threading.Timer(TO_START, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        listening = GREETING.search(greeting)
        assert listening, f"expected a greeting with both addresses, got {greeting!r}"
        answers = []
        for url in (listening[1], f"grpc://{listening[2]}"):
            with Client(url, timeout=TO_START) as client:
                client.wait_until_ready()
                answers.append(client.segment(photograph, CLASSES))
        process.send_signal(signal.SIGTERM)
        status = process.wait(TO_STOP)
    finally:
        guard.cancel()
        process.kill()
    assert status == 0, f"stopped with status {status}"
    over_rest, over_grpc = ([(one.label, one.area) for one in answer] for answer in answers)
    assert over_rest, "no segment in the photograph"
    assert over_rest == over_grpc, f"REST says {over_rest}, gRPC {over_grpc}"
    print(f"lexiseg {version('lexiseg')} in {sys.prefix}: {over_rest}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
