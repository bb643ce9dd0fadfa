import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from lexiseg_service.settings import Limits
from tests.http_server import Quiet, serving
from tests.service.adapters.asking import PICTURE, adapted
from tests.service.adapters.label_studio.predicting import URL, asked, regions


async def test_an_upload_is_fetched_from_the_label_studio_of_the_settings() -> None:
    with label_studio() as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="its-token") as client:
            found = await regions(client, image="/data/upload/1/a.png")

    assert len(found) == 2
    assert asked_for == [("/data/upload/1/a.png", "Token its-token")]


async def test_a_batch_holds_the_bytes_of_one_upload_at_a_time() -> None:
    batch = asked(image="/data/upload/1/a.png")
    batch["tasks"] = batch["tasks"] * 8
    with label_studio() as (home, _):
        # Half of the half are the share of one client: two pictures, where each is reserved as the largest.
        room = 4 * 2 * len(PICTURE)
        limits = Limits(max_image_bytes=len(PICTURE))
        async with adapted(
            "label-studio", label_studio_url=home, max_bytes_in_flight=room, limits=limits, deadline_seconds=60
        ) as client:
            answer = await client.post(f"{URL}/predict", json=batch)

    assert ["result" in one for one in answer.json()["results"]] == [True] * 8


async def test_a_personal_token_is_exchanged_for_an_access_token() -> None:
    with label_studio() as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="a.personal.token") as client:
            found = await regions(client, image="/data/upload/1/a.png")

    assert len(found) == 2
    assert asked_for == [("/api/token/refresh", None), ("/data/upload/1/a.png", "Bearer of-a.personal.token")]


async def test_a_personal_token_that_is_refused_is_named() -> None:
    with label_studio() as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="an.expired.token") as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, len(asked_for)) == (422, 1)
    assert "(status 401)" in answer.json()["detail"]


async def test_an_upload_of_no_known_label_studio_says_what_to_set(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert answer.status_code == 422
    assert "LEXISEG_LABEL_STUDIO_URL" in answer.json()["detail"]


@pytest.mark.parametrize(
    "image",
    [
        "http://HOST/a.png", "//HOST/a.png", "///HOST/a.png", "/\\HOST/a.png", "\\\\HOST/a.png", "/\t/HOST/a.png",
        "/\n/HOST/a.png", "/\r/HOST/a.png", "/\x00/HOST/a.png", "\t//HOST/a.png", " //HOST/a.png",
        "http:\t//HOST/a.png", "http:/\t/HOST/a.png", "http:\\\\HOST/a.png", "HTTP://HOST/a.png",
        "http://HOME@HOST/a.png", "http://HOME:token@HOST/a.png", "http://HOST#@HOME/a.png",
        "http://[::ffff:127.0.0.1]:PORT/a.png", "http://127.1:PORT/a.png", "http://%31%32%37.0.0.1:PORT/a.png",
    ],
)  # fmt: skip
async def test_no_other_host_is_asked_for_an_upload(image: str) -> None:
    with label_studio() as (home, _), label_studio() as (other, asked_for):
        at, here = other.removeprefix("http://"), home.removeprefix("http://")
        image = image.replace("HOST", at).replace("HOME", here).replace("PORT", at.rpartition(":")[2])
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="its-token") as client:
            await client.post(f"{URL}/predict", json=asked(image=image))

    assert asked_for == []


async def test_a_redirect_to_another_host_needs_images_by_url() -> None:
    with label_studio() as (other, asked_for), label_studio(redirect=f"{other}/a.png") as (home, _):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="its-token") as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, answer.json()["type"], asked_for) == (403, "url-fetch-off", [])
    assert "LEXISEG_URL_NETWORKS" in answer.json()["detail"]


async def test_a_redirect_to_an_inner_host_is_not_followed_with_public_ones_alone() -> None:
    with label_studio() as (other, asked_for), label_studio(redirect=f"{other}/a.png") as (home, _):
        async with adapted(
            "label-studio", label_studio_url=home, label_studio_api_key="its-token", url_networks="*"
        ) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, asked_for) == (422, [])


async def test_a_redirect_to_a_host_of_the_settings_is_followed_without_the_token() -> None:
    with label_studio() as (other, asked_for), label_studio(redirect=f"{other}/a.png?sig=1") as (home, _):
        async with adapted(
            "label-studio", label_studio_url=home, label_studio_api_key="its-token", url_networks="127.0.0.0/8"
        ) as client:
            found = await regions(client, image="s3://bucket/a.png")

    assert len(found) == 2
    assert asked_for == [("/a.png?sig=1", None)]


async def test_a_redirect_that_leads_in_circles_ends() -> None:
    with label_studio(redirect="/data/upload/1/a.png") as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, len(asked_for)) == (422, 4)
    assert "more than 3 redirects" in answer.json()["detail"]


@pytest.mark.parametrize(
    "image", ["s3://bucket/folder/a b.png", "gs://bucket/a.png", "azure-blob://container/a.png", "S3://b/ü.png"]
)
async def test_a_picture_in_a_cloud_store_comes_by_the_resolver(image: str) -> None:
    with label_studio(redirect="/signed/a.png?sig=1") as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key="its-token") as client:
            found = await regions(client, image=image)

    assert len(found) == 2
    (resolver, token), signed = asked_for
    path, _, uri = resolver.partition("?fileuri=")
    assert (path, base64.urlsafe_b64decode(uri).decode(), token) == ("/tasks/3/resolve/", image, "Token its-token")
    assert signed == ("/signed/a.png?sig=1", "Token its-token")


async def test_a_picture_in_a_cloud_store_of_no_known_label_studio_says_what_to_set(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/predict", json=asked(image="s3://bucket/a.png"))

    assert answer.status_code == 422
    assert "s3://" in answer.json()["detail"]
    assert "LEXISEG_LABEL_STUDIO_URL" in answer.json()["detail"]


async def test_a_picture_in_a_cloud_store_needs_the_id_of_its_task(client: httpx.AsyncClient) -> None:
    batch = asked(image="gs://bucket/a.png")
    del batch["tasks"][0]["id"]
    answer = await client.post(f"{URL}/predict", json=batch)

    assert answer.status_code == 422
    assert "gs:// of a task without one" in answer.json()["detail"]


async def test_an_upload_that_is_packed_is_refused_unread() -> None:
    with label_studio(encoding="gzip") as (home, _):
        async with adapted("label-studio", label_studio_url=home) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert answer.status_code == 422
    assert "Content-Encoding" in answer.json()["detail"]


async def test_an_upload_over_the_limit_is_refused() -> None:
    with label_studio() as (home, _):
        async with adapted(
            "label-studio", label_studio_url=home, limits={"max_image_bytes": len(PICTURE) - 1}
        ) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


@contextmanager
def label_studio(
    redirect: str | None = None, encoding: str | None = None
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server that has one upload, or redirects: its address, and what was asked for with which token."""
    asked_for: list[tuple[str, str | None]] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            asked_for.append((self.path, self.headers.get("Authorization")))
            token = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["refresh"]
            self.send_response(401 if "expired" in token else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"access": f"of-{token}"}).encode())

        def do_GET(self) -> None:
            asked_for.append((self.path, self.headers.get("Authorization")))
            if "*/*" not in self.headers["Accept"]:  # Label Studio negotiates JSON, whatever an upload is
                self.send_error(406)
                return
            place = None if self.path.startswith("/signed/") else redirect
            self.send_response(200 if place is None else 303)
            if place is not None:
                self.send_header("Location", place)
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(PICTURE)

    with serving(Handler) as url:
        yield url, asked_for
