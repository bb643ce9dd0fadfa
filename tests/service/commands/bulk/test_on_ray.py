from __future__ import annotations

import pytest

from lexiseg_service.commands.bulk.segmenting import reason_in

REFUSED = b"""\
[2026-11-24 02:30:40,740 W 3156 3156] gcs_client.cc:210: Failed to get cluster ID: InvalidAuthToken: it is missing
[2026-11-24 02:30:41,746 W 3156 3156] gcs_client.cc:210: Failed to get cluster ID: InvalidAuthToken: it is missing
"""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"", ""),
        (b"[2026-11-24 02:30:40,740 W 1 1] gcs_client.cc:210: Deadline Exceeded\n", " (Deadline Exceeded)"),
        (REFUSED, " (Failed to get cluster ID: InvalidAuthToken: it is missing); the cluster's token belongs into"),
    ],
)
def test_what_ray_wrote_is_passed_on_once(lines: bytes, expected: str) -> None:
    assert reason_in(lines).startswith(expected)
    assert ("RAY_AUTH_TOKEN" in reason_in(lines)) is (b"AuthToken" in lines)
