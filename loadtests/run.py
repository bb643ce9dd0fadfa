"""`python -m loadtests.run [locust's options]`: a short load on a service that it starts, or on the one of `--host`.

Writes `report.html` and `report.json` to `out/loadtest`, or to the folder of `--out`. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
ROOT = LOCUSTFILE.parents[1]
SERVICE = (sys.executable, "-m", "lexiseg_service.cli", "serve", "--log-level", "warning")
ANY_PORTS = ("--http-port", "0", "--grpc-port", "0")
DEFAULTS = ("--users", "8", "--streams", "1", "--run-time", "30s")  # options of the command line follow, and win
START_SECONDS = 300.0  # an idle machine needs a fiftieth of it
STOP_SECONDS = 60.0


@contextmanager
def service(*options: str) -> Iterator[tuple[str, str]]:
    """Run `lexiseg serve` on free ports with these options; yields its base URL, and HOST:PORT of gRPC.

    Raises:
        RuntimeError: it does not start; its error is on standard error.
    """
    command = [*SERVICE, *ANY_PORTS, *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    # Killing a process that prints no greeting ends the read below.
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        match = re.search(r"(http://\S+:\d+).* gRPC on (\S+:\d+)", greeting)
        if match is None:
            raise RuntimeError(f"expected the addresses of the service in its first line, got {greeting!r}")
        guard.cancel()
        yield match[1], match[2]
    finally:
        guard.cancel()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until_ready(url: str) -> None:
    """Wait until a listening service has loaded its model.

    Raises:
        TimeoutError: it is not ready within START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=10):
            return
        time.sleep(0.5)
    raise TimeoutError(f"{url} is not ready after {START_SECONDS:g} seconds")


def load(host: str, options: list[str], out: Path) -> int:
    """Run locust without its web page; returns its exit status."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--host", host, "--stop-timeout", "20", "--loglevel", "WARNING", *DEFAULTS, *options]
    command += ["--html", str(out / "report.html"), "--report", str(out / "report.json")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Run the load and return the exit status."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", "-H")
    parser.add_argument("--out", type=Path, default=ROOT / "out/loadtest")
    own, options = parser.parse_known_args(arguments)
    own.out.mkdir(parents=True, exist_ok=True)
    if own.host:
        status = load(own.host, options, own.out)
    else:
        with service() as (url, target):
            status = load(url, ["--grpc", target, *options], own.out)
    print(f"{own.out / 'report.html'}\n{own.out / 'report.json'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
