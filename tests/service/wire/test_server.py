"""A server's own threads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lexiseg_service.niceness import NICEST, niceness
from lexiseg_service.wire.server import GRPC_THREADS
from tests.service.gateway.rpc.calling import calling


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere threads do not differ in niceness")
async def test_threads_of_grpc_step_aside_for_those_that_answer() -> None:
    async with calling():
        names = {int(each.name): (each / "comm").read_text().rstrip("\n") for each in Path("/proc/self/task").iterdir()}
        theirs = {name: os.getpriority(os.PRIO_PROCESS, task) for task, name in names.items() if name in GRPC_THREADS}

        assert theirs == dict.fromkeys(GRPC_THREADS, min(19, niceness(NICEST)))
