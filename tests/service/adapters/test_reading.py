"""Images that tools send as text."""

from __future__ import annotations

import base64
import threading

import pytest

from lexiseg_service.adapters import reading
from lexiseg_service.adapters.reading import image_beside
from lexiseg_service.gateway.rest.large_bodies import LONG
from lexiseg_service.question.examples import content_of


@pytest.mark.parametrize(("n_bytes", "here"), [(10, True), (LONG, False)])
async def test_long_base64_is_decoded_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, n_bytes: int, here: bool
) -> None:
    threads: list[threading.Thread] = []

    def watched(text: str, field: str, expected: str) -> bytes:
        threads.append(threading.current_thread())
        return content_of(text, field, expected)

    monkeypatch.setattr(reading, "content_of", watched)

    image, url = await image_beside(base64.b64encode(bytes(n_bytes)).decode(), "image")

    assert (image, url) == (bytes(n_bytes), None)
    assert [thread is threading.current_thread() for thread in threads] == [here]
