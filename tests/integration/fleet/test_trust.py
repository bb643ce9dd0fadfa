"""Workers that require a certificate and a token of gateways, as processes."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import pictures
from tests.integration.processes import Gateway, Worker
from tests.integration.server import ROOT, form
from tests.waiting import SOON

TOKEN = "of gateways and workers alone"
PICTURE = pictures.encoded(pictures.small("china", 64), "JPEG")
pytestmark = pytest.mark.slow


def test_a_worker_answers_the_gateway_with_its_certificate_and_token_and_no_other(tmp_path: Path) -> None:
    """Other certificates and tokens: tests/service/wire/test_trust.py."""
    subprocess.run([ROOT / "deploy" / "certificates.sh", tmp_path / "tls"], check=True, capture_output=True)

    def shown(side: str, token: str = TOKEN) -> dict[str, Any]:
        return {"LEXISEG_WORKER_TLS": str(tmp_path / "tls" / side), "LEXISEG_WORKER_TOKEN": token}

    with (
        Worker(tmp_path / "worker.log", **shown("worker")) as worker,
        Gateway(tmp_path / "trusted.log", worker.address, **shown("gateway")) as trusted,
        Gateway(tmp_path / "mistaken.log", worker.address, **shown("gateway", TOKEN[::-1])) as mistaken,
    ):
        trusted.wait_for_workers(1)
        answers = [
            httpx.post(f"{gateway.url}/segment", files=form(PICTURE, "sky", "building"), timeout=SOON)
            for gateway in (trusted, mistaken)
        ]
        mistaken.wait_until(
            lambda: "the token is another one" in httpx.get(f"{mistaken.url}/readyz", timeout=SOON).text
        )
        metrics = httpx.get(f"{mistaken.url}/metrics", timeout=SOON).text

    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[0].json()["segments"]
    assert 'lexiseg_workers{state="ready"} 0.0' in metrics
    assert TOKEN not in (tmp_path / "worker.log").read_text()
