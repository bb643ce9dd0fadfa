from __future__ import annotations

import re

import httpx
import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.rest.docs_page import ASSETS, POLICY
from tests.service.gateway.serving import serving


async def test_the_page_loads_nothing_but_our_own_files(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert set(loaded) == {"data:,", *ASSETS}


async def test_the_browser_is_told_to_load_nothing_else(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")

    assert page.headers["content-security-policy"] == POLICY
    assert not re.search(r"https?:", POLICY)


@pytest.mark.parametrize("path", ASSETS)
async def test_every_file_of_the_page_comes_with_its_type(client: httpx.AsyncClient, path: str) -> None:
    asset = await client.get(path)

    kind = "text/css" if path.endswith(".css") else "text/javascript"
    assert (asset.status_code, asset.headers["content-type"].partition(";")[0]) == (200, kind)
    assert asset.content


async def test_swagger_ui_is_started_on_our_description(client: httpx.AsyncClient) -> None:
    start = (await client.get("/docs/assets/docs.js")).text

    assert "SwaggerUIBundle(" in start
    assert 'url: "/openapi.json"' in start


@pytest.mark.parametrize("name", ["../docs.html", "redoc.standalone.js", "%2e%2e/docs.html", ""])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404


@pytest.mark.parametrize("path", ["/docs", *ASSETS])
async def test_a_browser_without_a_key_can_open_the_page(path: str) -> None:
    async with serving(api_keys=SecretStr(line_of("camera", "right"))) as client:
        assert (await client.get(path)).status_code == 200
