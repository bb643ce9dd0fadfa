"""Workers that require a certificate and a token of gateways, as processes."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import pictures
from tests.integration.processes import Gateway, Worker
from tests.integration.server import ROOT, form

TOKEN = "of gateways and workers alone"
PICTURE = pictures.encoded(pictures.small("china", 64), "JPEG")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    subprocess.run([ROOT / "deploy" / "certificates.sh", made / "ours"], check=True, capture_output=True)
    subprocess.run([ROOT / "deploy" / "certificates.sh", made / "strangers"], check=True, capture_output=True)
    return made


def shown(folder: Path, side: str, token: str = TOKEN) -> dict[str, Any]:
    """The environment of a gateway or a worker."""
    return {
        "LEXISEG_WORKER_TLS": str(folder / side),
        "LEXISEG_WORKER_TOKEN": token,
    }


def test_a_worker_answers_the_gateway_with_its_certificate_and_token_and_no_other(folder: Path) -> None:
    # It trusts the worker; the worker does not trust it.
    (folder / "strangers" / "gateway" / "ca.crt").write_bytes((folder / "ours" / "gateway" / "ca.crt").read_bytes())
    strangers = shown(folder / "strangers", "gateway")
    with Worker(folder / "worker.log", **shown(folder / "ours", "worker")) as worker:
        logs = iter(folder / f"gateway-{number}.log" for number in range(9))
        with (
            Gateway(next(logs), worker.address, **shown(folder / "ours", "gateway")) as trusted,
            Gateway(next(logs), worker.address) as naked,
            Gateway(next(logs), worker.address, **strangers) as strange,
            Gateway(next(logs), worker.address, **shown(folder / "ours", "gateway", TOKEN[::-1])) as mistaken,
        ):
            trusted.wait_for_workers(1)
            answers = [
                httpx.post(f"{gateway.url}/segment", files=form(PICTURE, "sky", "building"), timeout=60)
                for gateway in (trusted, naked, strange, mistaken)
            ]
            mistaken.wait_until(
                lambda: "the token is another one" in httpx.get(f"{mistaken.url}/readyz", timeout=60).text
            )
            metrics = httpx.get(f"{mistaken.url}/metrics", timeout=60).text

    assert [answer.status_code for answer in answers] == [200, 503, 503, 503]
    assert answers[0].json()["segments"]
    assert 'lexiseg_workers{state="ready"} 0.0' in metrics
    assert TOKEN not in (folder / "worker.log").read_text()
