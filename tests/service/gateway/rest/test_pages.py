"""The playground and /docs load our own files only, without a key."""

import html
import json
import posixpath
import re

import httpx
import pytest
from pydantic import SecretStr

from lexiseg_labels.exports import formats
from lexiseg_labels.pictures import colour
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.rest.pages import DOCS_POLICY, PATHS, PLAYGROUND, PLAYGROUND_POLICY, SCRIPTS
from tests.service.gateway.serving import serving


@pytest.mark.parametrize(("path", "policy"), [("/", PLAYGROUND_POLICY), ("/docs", DOCS_POLICY)])
async def test_a_page_loads_only_our_own_files(client: httpx.AsyncClient, path: str, policy: str) -> None:
    page = await client.get(path)

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == policy
    assert set(re.findall(r'(?:src|href)="/?([^":]*)"', page.text)) <= {path.removeprefix("/") for path in PATHS}
    assert not re.search(r"https?:", policy)


async def test_the_page_has_the_colours_of_overlays(client: httpx.AsyncClient) -> None:
    page = await client.get("/")

    (palette,) = re.findall('data-palette="([^"]*)"', page.text)
    colours = [tuple(bytes.fromhex(one.removeprefix("#"))) for one in palette.split()]
    assert colours == [colour(index) for index in range(len(colours))]
    assert len(set(colours)) > 200


async def test_the_page_offers_every_format_there_is(client: httpx.AsyncClient) -> None:
    page = await client.get("/")

    (offered,) = re.findall('data-formats="([^"]*)"', page.text)
    folders = json.loads(html.unescape(offered))
    assert list(folders) == list(formats())
    assert [folders[name] for name in ("coco", "datumaro", "labelme", "cvat")] == ["images", "images/default", "", None]


def test_every_file_of_the_playground_is_served_and_loads_only_such_files() -> None:
    served = {path.removeprefix("/playground/") for path in PATHS}
    assert {path.name for path in PLAYGROUND.iterdir() if path.is_file()} - served == {"index.html", "style.css"}
    for script in SCRIPTS:
        text = (PLAYGROUND / script).read_text()
        assert not re.search(r"https?://", text), script
        assert set(imported(f"/playground/{script}", text)) <= PATHS


def imported(path: str, text: str) -> list[str]:
    """The paths of what a module imports, now or later, and of workers."""
    named = re.findall(r'(?:from |import\(|URL\()"(\.[^"]*)"', text)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in named]


async def test_a_browser_without_a_key_can_open_every_file() -> None:
    async with serving(api_keys=SecretStr(line_of("camera", "right"))) as client:
        answers = {path: await client.get(path) for path in sorted(PATHS)}

    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200} == {}
    kinds = {"js": "text/javascript", "css": "text/css", "jpg": "image/jpeg"}
    for path, answer in answers.items():
        if (suffix := path.rpartition(".")[2]) in kinds:
            assert answer.headers["content-type"].partition(";")[0] == kinds[suffix]


@pytest.mark.parametrize("path", ["/", "/playground/main.js", "/v1/models", "/v1/vocabularies"])
async def test_files_are_compressed(client: httpx.AsyncClient, path: str) -> None:
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    packed = await client.get(path, headers={"accept-encoding": "gzip, br"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


async def test_a_file_that_a_browser_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/playground/main.js")

    again = await client.get("/playground/main.js", headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


async def test_the_page_preloads_every_module_it_imports(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    wanted, seen = ["/playground/main.js"], set[str]()
    while wanted:
        path = wanted.pop()
        if path not in seen:
            seen.add(path)
            at_once = re.sub(r"(import|URL)\(", "", (await client.get(path)).text)
            wanted += imported(path, at_once)

    preloaded = {f"/{path}" for path in re.findall(r'rel="modulepreload" href="([^"]*)"', page)}
    assert seen - preloaded == {"/playground/main.js"}


async def test_swagger_ui_shows_our_description(client: httpx.AsyncClient) -> None:
    start = (await client.get("/docs/assets/docs.js")).text

    assert "SwaggerUIBundle(" in start
    assert 'url: "/openapi.json"' in start


@pytest.mark.parametrize("path", ["playground/index.html", "playground/../docs.html", "docs/assets/%2e%2e/docs.html"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/{path}")).status_code == 404
