"""`lexiseg serve` stays ready while its Redis dies and comes back."""

import io
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tests.integration.server import Server, form
from tests.redis_server import RedisServer
from tests.waiting import SOON, until

NEW_WORDS = ("walrus", "trombone", "gondola", "abacus")  # none of the background words that are warmed up
ILL = ["text cache", "heads: Redis does not answer", "vocabularies: Redis does not answer"]


def photograph() -> bytes:
    picture = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(picture, "png")
    return picture.getvalue()


def segments(server: Server, *classes: str) -> Any:
    answer = httpx.post(f"{server.url}/segment", files=form(photograph(), *classes), timeout=SOON)
    assert answer.status_code == 200, answer.text
    return answer.json()["segments"]


def degraded(server: Server) -> list[str]:
    answer = httpx.get(f"{server.url}/readyz", timeout=SOON)
    assert answer.status_code == 200
    parts: list[str] = answer.json()["degraded"]
    return parts


def until_degraded(server: Server) -> list[str]:
    """The gateway hears from its worker twice a second, and tries its stores itself."""
    until(lambda: len(degraded(server)) == len(ILL), SOON, lambda: degraded(server))
    return degraded(server)


def test_redis_dies_and_comes_back_under_a_server_that_stays_ready(tmp_path: Path) -> None:
    store = RedisServer(tmp_path)
    settings = {"LEXISEG_REDIS_URL": store.url}
    try:
        with Server(tmp_path / "log.jsonl", **settings) as server:
            before = segments(server, "sky", "sea")
            well = degraded(server)

            store.kill()
            for word in NEW_WORDS:
                segments(server, word)
            ill = until_degraded(server)
            during = segments(server, "sky", "sea")
            state = server.metric('lexiseg_redis_breaker_state{link="text_cache"}')

            store.start()
            until(lambda: not degraded(server), SOON)
            segments(server, "river")

        assert (well, ill) == ([], ILL)
        assert during == before
        assert state in (1, 2)
    finally:
        store.kill()
