"""A server has as many descriptors as it may have."""

from __future__ import annotations

import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from lexiseg_service.commands.serving.descriptors import within_descriptors
from lexiseg_service.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such bounds")
BEGUN_WITH = """
import resource
from lexiseg_service.commands.serving.descriptors import take_all_descriptors
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
take_all_descriptors()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("hard", "soft"), [("200", "200"), ("64", "64")])
def test_a_process_may_have_as_many_as_the_system_lets_it(hard: str, soft: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BEGUN_WITH.format(hard=hard)], capture_output=True, text=True, check=True
    )

    assert ran.stdout.split() == [soft, hard]


@pytest.mark.parametrize(("hard", "http", "grpc"), [(2**20, 1000, 300), (1024, 464, 300), (64, 1, 1)])
def test_there_are_no_more_connections_than_the_system_has_files_for(
    monkeypatch: pytest.MonkeyPatch, hard: int, http: int, grpc: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, hard))
    with capture_logs() as lines:
        settings = within_descriptors(Settings(max_grpc_connections=300))

    assert (settings.max_connections, settings.max_grpc_connections) == (http, grpc)
    assert [line["files"] for line in lines] == ([] if hard > 2000 else [hard])
