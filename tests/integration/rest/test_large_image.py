"""The memory that a worker takes for one large photograph."""

import re
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests import pictures
from tests.integration.server import Server, form

SIZE = (4000, 3000)  # 12 megapixels
MAX_BYTES = 1.5e9  # of one process at its peak


def peak(server: Server) -> int:
    """The most bytes that the worker, or the gateway if that is larger, has ever held in memory."""
    peaks = []
    for child in psutil.Process(server.process.pid).children():
        status = Path(f"/proc/{child.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found, status
        peaks.append(int(found[1]) * 1024)
    return max(peaks)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_twelve_megapixels_and_150_classes_fit_in_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    photograph = pictures.photograph("china").resize(SIZE)
    images = [pictures.encoded(photograph, "JPEG"), pictures.encoded(photograph, compress_level=1)]
    settings = {"LEXISEG_DEVICE": "cpu", "LEXISEG_DEADLINE_SECONDS": "600"}
    with Server(tmp_path / "log.jsonl", **settings) as server:
        before = peak(server)
        answers = [
            httpx.post(f"{server.url}/segment", files=form(image, vocabulary="ade20k"), timeout=600) for image in images
        ]
        reached = peak(server)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["size"] for answer in answers] == [[SIZE[1], SIZE[0]]] * 2
    assert reached < MAX_BYTES, f"{reached / 1e6:.0f} MB, of them {before / 1e6:.0f} MB before the requests"
