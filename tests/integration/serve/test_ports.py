"""A service that runs beside the tests on its own ports neither disturbs them nor is disturbed."""

import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import DEFAULT_PORTS, ended

TESTS = Path(__file__).resolve().parents[2]
PRINT_PORTS = """
from lexiseg_service.settings import Settings
print([getattr(Settings(), name) for name in Settings.model_fields if name.endswith("_port")])
"""
# As an option, a variable or an argument, with its value behind it.
TOLD = re.compile(rf"(?i)(?:--|_)port[\"'\s,:=]{{1,6}}(?:{'|'.join(map(str, DEFAULT_PORTS.values()))})\b")


def test_a_process_that_the_tests_start_takes_any_free_port_where_nothing_is_said() -> None:
    printed = ended([sys.executable, "-c", PRINT_PORTS])

    assert printed.stdout == f"{[0] * len(DEFAULT_PORTS)}\n", printed.stderr
    assert {"http_port", "grpc_port", "worker_port", "metrics_port"} <= DEFAULT_PORTS.keys()


@pytest.mark.parametrize("port", DEFAULT_PORTS.values(), ids=DEFAULT_PORTS)
@pytest.mark.parametrize("act", [socket.socket.bind, socket.socket.connect], ids=["listens", "asks"])
def test_a_test_that_uses_a_services_own_port_fails_though_nobody_listens(act: Any, port: int) -> None:
    with socket.socket() as own, pytest.raises(RuntimeError, match="somebody's service"):
        act(own, ("127.0.0.1", port))


def test_no_test_tells_a_process_a_services_own_port() -> None:
    told = [
        f"{path.relative_to(TESTS)}: {found[0]}"
        for path in TESTS.rglob("*.py")
        for found in TOLD.finditer(path.read_text(encoding="utf-8"))
    ]

    assert told == []
