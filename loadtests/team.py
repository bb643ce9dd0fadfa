"""One load of several processes: workers get ready before the master's clock starts, and report what they checked.

master: prepare (host, options) -> each worker: photographs, class lists, a service that is ready -> prepared -> users
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import MasterRunner, WorkerRunner

from lexiseg_client import LexisegError
from loadtests.load import LOAD, NEEDED
from loadtests.report import Checked

TO_PREPARE = 120.0  # seconds beyond those that are waited for the service
AGAIN_SECONDS = 1.0  # a worker that has only just come does not listen yet


@events.init.add_listener
def listen(environment: Environment, **_: Any) -> None:
    """To the others."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        answers: dict[str, str] = {}
        runner.register_message("prepared", lambda msg, **_: answers.update({msg.node_id: msg.data["fault"]}))
        environment.events.test_start.add_listener(lambda environment, **_: _prepare_all(environment, runner, answers))
    elif isinstance(runner, WorkerRunner):
        runner.register_message("prepare", Preparing(runner), concurrent=True)
        environment.events.test_start.add_listener(_join)


def _prepare_all(environment: Environment, master: MasterRunner, answers: dict[str, str]) -> None:
    """The master: ends the load where a worker cannot take part."""
    options = environment.parsed_options
    assert options is not None
    answers.clear()
    asked = {client.id for client in master.clients.ready}
    wanted = {name: getattr(options, name) for name in NEEDED}
    told = {"load": time.time(), "host": environment.host or "", "options": wanted}
    deadline = time.monotonic() + options.wait + TO_PREPARE
    while (missing := asked - answers.keys()) and time.monotonic() < deadline:
        for worker in missing:
            master.send_message("prepare", told, worker)
        _wait(lambda: asked <= answers.keys())
    faults = {fault for fault in answers.values() if fault}
    if missing:
        faults.add("a worker does not get ready")
    if faults:
        print(f"no load: {'; '.join(sorted(faults))}", file=sys.stderr)
        environment.process_exit_code = 1
        master.quit()  # this greenlet with it


def _wait(over: Callable[[], bool]) -> None:
    """Until something holds, or it is time to ask again."""
    end = time.monotonic() + AGAIN_SECONDS
    while not over() and time.monotonic() < end:
        gevent.sleep(0.05)


class Preparing:
    """A worker that was told to get ready; it says what is in the way, or nothing."""

    def __init__(self, worker: WorkerRunner) -> None:
        self._worker = worker
        self._load = 0.0

    def __call__(self, msg: Message, **_: Any) -> None:
        """Once for each load, however often it is told."""
        if self._load == msg.data["load"]:
            return
        self._load = msg.data["load"]
        fault = ""
        try:
            LOAD.begin(msg.data["host"], Namespace(**msg.data["options"]), self._worker.worker_index)
        except (LexisegError, OSError) as error:
            fault = str(error)
        self._worker.send_message("prepared", {"fault": fault})


def _join(environment: Environment, **_: Any) -> None:
    """A worker that came when the load was on."""
    if LOAD.class_lists:
        return
    options, worker = environment.parsed_options, environment.runner
    assert options is not None
    assert isinstance(worker, WorkerRunner)
    LOAD.begin(environment.host or "", options, worker.worker_index)


@events.report_to_master.add_listener
def report_checks(data: dict[str, Any], **_: Any) -> None:
    """Of a worker, since it did so last."""
    data["checked"] = LOAD.checked.answers, LOAD.checked.wrong
    LOAD.checked = Checked()


@events.worker_report.add_listener
def add_checks(data: dict[str, Any], **_: Any) -> None:
    """At the master, of one of its workers."""
    LOAD.checked.add(*data.get("checked", (0, 0)))
