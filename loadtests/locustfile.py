"""The locust file: `locust -f loadtests/locustfile.py --host http://localhost:8000`, or `make loadtest`.

REST users send one request after another; video users stream over gRPC. docs/performance.md has the options.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import gevent
import grpc.experimental.gevent
from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import DistributedRunner, WorkerRunner

from lexiseg_client import LexisegError
from loadtests import report
from loadtests.load import LOAD, REPORTED_OPTIONS
from loadtests.report import Checked
from loadtests.rest_user import RestUser
from loadtests.shapes import SHAPES, stage_at
from loadtests.video_user import VideoUser

# locust has patched the standard library for gevent; gRPC must be patched as well, before its first channel.
grpc.experimental.gevent.init_gevent()

__all__ = ["RestUser", "Shape", "VideoUser"]

DEFAULT_SECONDS = 60.0  # of a load without --run-time


class Shape(LoadTestShape):
    """The shape of `--shape`, scaled to `--users` and `--run-time`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Current number of users and rate; None ends the load."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        if options.answers and report.fewest_answers(self.runner.stats, bool(options.streams)) >= options.answers:
            return None
        stages = SHAPES[options.shape](options.num_users or 1, float(options.run_time or DEFAULT_SECONDS))
        now = stage_at(stages, time.perf_counter() - self.start_time)
        return None if now is None else (now.users, now.rate)


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """Options of a load test besides locust's own."""
    group = parser.add_argument_group("lexiseg")
    group.add_argument("--shape", choices=sorted(SHAPES), default="flat", help="users over time, up to --users")
    group.add_argument("--answers", type=int, default=0, help="end after so many, of images and of frames; 0: by time")
    group.add_argument("--images", default="", help="folder of photographs; none: generated ones")
    group.add_argument("--repeat", type=float, default=0.3, help="share of questions about a photograph sent before")
    group.add_argument("--prompts", type=float, default=0.0, help="share of questions that are a click, without words")
    group.add_argument("--check", type=float, default=0.1, help="share of answers that are looked at")
    group.add_argument("--streams", type=int, default=0, help="how many of the users are video streams")
    group.add_argument("--fps", type=float, default=5.0, help="frames a second of a stream; 0: as fast as they go")
    group.add_argument("--frames", type=int, default=100, help="frames of a stream; then the next one begins")
    group.add_argument(
        "--drop", choices=["none", "latest"], default="latest", help="of a stream: what stale frames become"
    )
    group.add_argument("--grpc", default="", help="HOST:PORT of gRPC; none: port 50051 of the host")
    group.add_argument("--wait", type=float, default=60.0, help="seconds for the service to become ready")
    parser.add_argument("--api-key", default="", env_var="LEXISEG_API_KEY", is_secret=True, help="of the service")
    group.add_argument("--report", default="", help="file for the figures, as JSON")


@events.init.add_listener
def choose_users(environment: Environment, **_: Any) -> None:
    """Make `--streams` of the users video users and the rest REST users; in a distributed load the master decides."""
    options = environment.parsed_options
    assert options is not None
    if isinstance(environment.runner, WorkerRunner):
        return
    if options.streams:
        VideoUser.fixed_count = options.streams
        if options.streams >= (options.num_users or 1):
            environment.user_classes = [VideoUser]
    else:
        environment.user_classes = [RestUser]


@events.init.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Prepare the load before the clock starts; exits if the service does not answer."""
    options = environment.parsed_options
    assert options is not None
    if isinstance(environment.runner, DistributedRunner):  # workers prepare in `begin_in_worker`
        return
    try:
        LOAD.begin(environment.host or "", options)
    except (LexisegError, OSError) as error:
        sys.exit(f"no load: {error}")


@events.test_start.add_listener
def begin_in_worker(environment: Environment, **_: Any) -> None:
    """Prepare the load in a worker with the master's options; in a thread, so that heartbeats go on."""
    worker, options = environment.runner, environment.parsed_options
    if isinstance(worker, WorkerRunner):
        arguments = environment.host or "", options, worker.worker_index
        gevent.get_hub().threadpool.apply(LOAD.begin, arguments)


@events.report_to_master.add_listener
def report_checks(data: dict[str, Any], **_: Any) -> None:
    """In a worker: send the checks since the last report."""
    data["checked"] = LOAD.checked.answers, LOAD.checked.wrong
    LOAD.checked = Checked()


@events.worker_report.add_listener
def add_checks(data: dict[str, Any], **_: Any) -> None:
    """In the master: add the checks of a worker."""
    LOAD.checked.add(*data.get("checked", (0, 0)))


@events.quitting.add_listener
def write_report(environment: Environment, **_: Any) -> None:
    """Write the report and print the number of checks; locust prints the other figures."""
    options = environment.parsed_options
    assert options is not None
    if isinstance(environment.runner, WorkerRunner):  # the master has its figures
        return
    if options.report:
        reported = {name: getattr(options, name) for name in REPORTED_OPTIONS}
        report.write(Path(options.report), report.content(environment, LOAD.checked, reported))
    print(f"{LOAD.checked.answers} answers checked, {LOAD.checked.wrong} of them wrong")
