import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lexiseg_service.settings import Limits
from tests.http_server import Quiet, serving
from tests.service.adapters.asking import PICTURE, adapted
from tests.service.adapters.label_studio.predicting import URL, asked, regions

TOKEN = {"label_studio_api_key": "its-token"}


@pytest.mark.parametrize(
    ("key", "asked_before", "token"),
    [
        ("its-token", [], "Token its-token"),
        ("a.personal.token", [("/api/token/refresh", None)], "Bearer of-a.personal.token"),  # it is exchanged
    ],
)
async def test_an_upload_is_fetched_from_the_label_studio_of_the_settings(
    key: str, asked_before: list[tuple[str, str | None]], token: str
) -> None:
    with label_studio() as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, label_studio_api_key=key) as client:
            found = await regions(client, image="/data/upload/1/a.png")

    assert len(found) == 2
    assert asked_for == [*asked_before, ("/data/upload/1/a.png", token)]


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


@pytest.mark.parametrize(
    ("image", "task", "said"),
    [
        ("/data/upload/1/a.png", {"id": 3}, "LEXISEG_LABEL_STUDIO_URL"),
        ("s3://bucket/a.png", {"id": 3}, "s3://, gs:// or azure-blob://, are fetched from Label Studio: set LEXISEG_"),
        ("gs://bucket/a.png", {}, "gs:// of a task without one"),
    ],
)
async def test_a_picture_of_no_known_label_studio_says_what_to_set(
    client: httpx.AsyncClient, image: str, task: dict[str, Any], said: str
) -> None:
    answer = await client.post(f"{URL}/predict", json=asked() | {"tasks": [{**task, "data": {"photo": image}}]})

    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


ELSEWHERE = [
    "http://HOST/a.png", "//HOST/a.png", "///HOST/a.png", "/\\HOST/a.png", "\\\\HOST/a.png", "/\t/HOST/a.png",
    "/\n/HOST/a.png", "/\r/HOST/a.png", "/\x00/HOST/a.png", "\t//HOST/a.png", " //HOST/a.png",
    "http:\t//HOST/a.png", "http:/\t/HOST/a.png", "http:\\\\HOST/a.png", "HTTP://HOST/a.png",
    "http://HOME@HOST/a.png", "http://HOME:token@HOST/a.png", "http://HOST#@HOME/a.png",
    "http://[::ffff:127.0.0.1]:PORT/a.png", "http://127.1:PORT/a.png", "http://%31%32%37.0.0.1:PORT/a.png",
    "http://me:secret@HOME/a.png",
]  # fmt: skip


async def test_no_other_host_is_asked_for_an_upload() -> None:
    with label_studio() as (home, asked_here), label_studio() as (other, asked_for):
        at, here = other.removeprefix("http://"), home.removeprefix("http://")
        async with adapted("label-studio", label_studio_url=home, **TOKEN) as client:
            for image in ELSEWHERE:
                place = image.replace("HOST", at).replace("HOME", here).replace("PORT", at.rpartition(":")[2])
                await client.post(f"{URL}/predict", json=asked(image=place))
                assert (asked_for, "/a.png" in dict(asked_here)) == ([], False), image


NOT_FETCHED: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "a refused token": ({}, {"label_studio_api_key": "expired"}, 422, "LEXISEG_LABEL_STUDIO_API_KEY (status 401)"),
    "a refused personal token": ({}, {"label_studio_api_key": "an.expired.token"}, 422, "(status 401)"),
    "a redirect elsewhere": ({"redirect": "OTHER/a.png"}, {}, 403, "LEXISEG_URL_NETWORKS"),
    "a redirect with a password": ({"redirect": "http://me:secret@HOME/a.png"}, {}, 403, "LEXISEG_URL_NETWORKS"),
    "a redirect to an inner host": ({"redirect": "OTHER/a.png"}, {"url_networks": "*"}, 422, "image"),
    "a redirect in circles": ({"redirect": "/data/upload/1/a.png"}, {}, 422, "more than 3 redirects"),
    "a packed upload": ({"encoding": "gzip"}, {}, 422, "Content-Encoding"),
    "an upload over the limit": ({}, {"limits": {"max_image_bytes": len(PICTURE) - 1}}, 413, "too-large"),
}


@pytest.mark.parametrize("case", NOT_FETCHED)
async def test_what_is_not_fetched_says_why_and_asks_no_other_host(case: str) -> None:
    answers, settings, status, said = NOT_FETCHED[case]
    with label_studio() as (other, asked_for):
        answers = {name: value.replace("OTHER", other) for name, value in answers.items()}
        with label_studio(**answers) as (home, asked_here):
            async with adapted("label-studio", **{"label_studio_url": home, **TOKEN, **settings}) as client:
                answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert asked_for == []
    assert len(asked_here) == (4 if "circles" in case else 1)


async def test_a_redirect_to_a_host_of_the_settings_is_followed_without_the_token() -> None:
    with label_studio() as (other, asked_for), label_studio(redirect=f"{other}/a.png?sig=1") as (home, _):
        async with adapted("label-studio", label_studio_url=home, **TOKEN, url_networks="127.0.0.0/8") as client:
            found = await regions(client, image="s3://bucket/a.png")

    assert len(found) == 2
    assert asked_for == [("/a.png?sig=1", None)]


async def test_a_picture_in_a_cloud_store_comes_by_the_resolver() -> None:
    images = ["s3://bucket/folder/a b.png", "gs://bucket/a.png", "azure-blob://container/a.png", "S3://b/ü.png"]
    with label_studio(redirect="/signed/a.png?sig=1") as (home, asked_for):
        async with adapted("label-studio", label_studio_url=home, **TOKEN) as client:
            for image in images:
                assert len(await regions(client, image=image)) == 2

    for image, (resolver, token), signed in zip(images, asked_for[::2], asked_for[1::2], strict=True):
        path, _, uri = resolver.partition("?fileuri=")
        assert (path, base64.urlsafe_b64decode(uri).decode(), token) == ("/tasks/3/resolve/", image, "Token its-token")
        assert signed == ("/signed/a.png?sig=1", "Token its-token")


async def test_a_label_studio_below_a_path_is_asked_there_for_tokens_and_pictures_of_stores() -> None:
    with label_studio() as (home, asked_for):
        settings = {"label_studio_url": f"{home}/tool", "label_studio_api_key": "a.personal.token"}
        async with adapted("label-studio", **settings) as client:
            for image in ("/tool/data/upload/1/a.png", "s3://bucket/a.png"):
                assert len(await regions(client, image=image)) == 2

    refresh, pictures = "/tool/api/token/refresh", ["/tool/data/upload/1/a.png", "/tool/tasks/3/resolve/"]
    assert [path.partition("?")[0] for path, _ in asked_for] == [refresh, pictures[0], refresh, pictures[1]]


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
            if "expired" in str(self.headers["Authorization"]):
                self.send_error(401)
                return
            place = None if self.path.startswith("/signed/") else redirect
            self.send_response(200 if place is None else 303)
            if place is not None:
                self.send_header("Location", place.replace("HOME", self.headers["Host"]))
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(PICTURE)

    with serving(Handler) as url:
        yield url, asked_for
