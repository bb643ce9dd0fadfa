"""Ray clusters that a bulk job cannot join."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.command import run
from tests.integration.batch import playing
from tests.service.batch.bulk import jobs


def test_a_port_where_nobody_listens_is_refused_before_ray_tries_for_minutes(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"

        photos = jobs.folder(tmp_path / "in", 2)

        refused = run("bulk", str(photos), str(tmp_path / "out"), "-c", "sky", "--ray", address)

    assert refused.returncode == 1
    assert f"no Ray cluster at {address}: [Errno 111] Connection refused" in refused.stderr


@pytest.mark.slow
def test_a_wrong_token_is_refused_with_rays_reason(
    nodes: playing.Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "1")  # by default Ray tries twenty times, a second apart
    photos = jobs.folder(tmp_path / "in", 2)

    with playing.start(photos, tmp_path / "out", "--ray", nodes.address) as job:
        _, errors = job.communicate(timeout=playing.LONGEST)

    assert job.returncode == 1
    assert errors.count("InvalidAuthToken") == 1, errors
    assert f"no Ray cluster at {nodes.address}: " in errors
