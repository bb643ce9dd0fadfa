"""The memory that one large photograph takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest

from tests import pictures
from tests.integration.server import Server, form

SIZE = (4000, 3000)  # 12 megapixels
MOST = 1.5e9  # bytes, of the whole process at its peak


def peak(pid: int) -> int:
    """The most bytes that a process has ever held in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_twelve_megapixels_and_150_classes_fit_in_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    photograph = pictures.photograph("china").resize(SIZE)
    images = [pictures.encoded(photograph, "JPEG"), pictures.encoded(photograph, compress_level=1)]
    settings = {"LEXISEG_DEVICE": "cpu", "LEXISEG_DEADLINE_SECONDS": "600"}
    with Server(tmp_path / "log.jsonl", **settings) as server:
        before = peak(server.process.pid)
        answers = [
            httpx.post(f"{server.url}/segment", files=form(image, vocabulary="ade20k"), timeout=600) for image in images
        ]
        reached = peak(server.process.pid)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["size"] for answer in answers] == [[SIZE[1], SIZE[0]]] * 2
    assert reached < MOST, f"{reached / 1e6:.0f} MB, of them {before / 1e6:.0f} MB before the requests"
