import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from pydantic import ValidationError

from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import http_server, pictures
from tests.http_server import Quiet
from tests.service.gateway.known_backend import KnownBackend, SlowBackend
from tests.service.gateway.serving import serving
from tests.service.image.image_server import ImageServer, Names, content, serving_images

IMAGE = pictures.encoded(pictures.small())


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with serving_images("pictures.example") as server:
        server.routes = {"/a.png": content(IMAGE)}
        yield server


def fetcher_of(images: ImageServer) -> UrlFetcher:
    return images.fetcher(Names(pictures=[["127.0.0.1"]]), max_bytes=len(IMAGE))


@pytest.fixture
async def fetching(images: ImageServer, backend: KnownBackend, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(backend=backend, metrics=metrics, fetcher=fetcher_of(images)) as client:
        yield client


async def ask(client: httpx.AsyncClient, **image: str) -> httpx.Response:
    return await client.post("/segment", json={"image": image, "classes": ["sky"]})


async def test_the_worker_gets_the_content(
    fetching: httpx.AsyncClient, backend: KnownBackend, images: ImageServer
) -> None:
    answer = await ask(fetching, url=images.url("/a.png"))

    assert answer.status_code == 200, answer.text
    assert backend.asked[0].image == IMAGE


async def test_the_content_is_counted_until_it_is_answered(images: ImageServer, metrics: Metrics) -> None:
    backend = SlowBackend()

    def held() -> float:
        return metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "fetched"}) or 0.0

    async with serving(backend=backend, metrics=metrics, fetcher=fetcher_of(images)) as client:
        asking = asyncio.create_task(ask(client, url=images.url("/a.png")))
        await backend.reached.wait()
        assert held() == len(IMAGE)
        backend.may_go_on.set()
        assert (await asking).status_code == 200
        failing = asyncio.create_task(ask(client, url=images.url("/a.png", "unknown.example")))
        assert (await failing).status_code == 422

    assert held() == 0


async def test_what_there_is_no_room_for_is_not_fetched(images: ImageServer) -> None:
    backend = SlowBackend()
    async with serving(backend=backend, fetcher=fetcher_of(images), max_bytes_in_flight=2**20) as client:
        asking = asyncio.create_task(ask(client, url=images.url("/a.png")))
        await backend.reached.wait()
        fetching = client._transport.app.state.use_case.fetching  # type: ignore[attr-defined]
        fetching._settings = fetching._settings.model_copy(update={"deadline_seconds": 0.05})
        answer = await asyncio.create_task(ask(client, url=images.url("/a.png")))
        backend.may_go_on.set()
        await asking

    assert (answer.status_code, answer.json()["type"]) == (429, "rate-limited")
    assert "bytes of images by URL" in answer.json()["detail"]


async def test_a_refused_host_is_a_problem_and_counts_as_a_failure(
    fetching: httpx.AsyncClient, metrics: Metrics, images: ImageServer
) -> None:
    answer = await ask(fetching, url=images.url("/a.png", "unknown.example"))

    assert (answer.status_code, answer.json()["type"]) == (422, "image-not-fetched")
    assert b'lexiseg_request_failures_total{reason="other"} 1.0' in generate_latest(metrics.registry)


@pytest.mark.parametrize("wrong", ["10.0.0.5/8", "http://minio.lan", "minio.lan:9000", "**", "10.1", "a b"])
def test_what_is_no_network_and_no_host_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="networks like"):
        Settings(url_networks=(wrong,))


async def test_hosts_of_the_settings_are_enough() -> None:
    class Store(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(IMAGE)

    with http_server.serving(Store) as url:
        async with serving(url_networks="localhost, 10.0.0.0/8") as client:
            answers = [await ask(client, url=each) for each in (url.replace("127.0.0.1", "localhost"), url)]

    assert [answer.status_code for answer in answers] == [200, 422]
    assert "LEXISEG_URL_NETWORKS" in answers[1].json()["detail"]


@pytest.mark.parametrize("setting", [{"url_networks": "minio.lan,*"}, {"url_fetch": True}])
def test_a_star_takes_images_of_every_public_host(setting: dict[str, Any]) -> None:
    settings = Settings(**setting)

    assert settings.takes_urls
    assert settings.fetches_publicly
    assert "*" not in settings.own_hosts
