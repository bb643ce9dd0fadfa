from __future__ import annotations

import re

import httpx
import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.rest.playground import FILES, FOLDER, POLICY
from tests.service.gateway.serving import serving


async def test_the_page_is_the_front_door(client: httpx.AsyncClient) -> None:
    page = await client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == POLICY
    assert set(re.findall(r'(?:src|href)="(/playground/[^"]*)"', page.text)) <= set(FILES)
    assert not re.search(r"https?:|unsafe", POLICY)


def test_every_file_of_the_folder_is_served() -> None:
    assert {f"/playground/{path.name}" for path in FOLDER.iterdir()} - set(FILES) == {"/playground/index.html"}


def test_scripts_name_no_host_and_only_files_that_are_served() -> None:
    for script in FOLDER.glob("*.js"):
        text = script.read_text()
        assert not re.search(r"https?://", text), script
        assert set(re.findall(r'"(/playground/[^"]*)"', text)) <= set(FILES)


@pytest.mark.parametrize("path", ["/", *FILES])
async def test_a_browser_without_a_key_can_open_it(path: str) -> None:
    async with serving(api_keys=SecretStr(line_of("camera", "right"))) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("name", ["index.html", "../docs.html", "%2e%2e/docs.html", ""])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/playground/{name}")).status_code == 404
