"""The page of other tools' addresses, for programs and for browsers."""

import re

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from tests.service.adapters.asking import adapted

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_each_adapter_that_is_on_has_its_address_and_its_use() -> None:
    async with adapted() as client:
        listed = (await client.get("/adapters")).json()["adapters"]

    by_name = {each["name"]: each for each in listed}
    assert by_name["roboflow"]["address"] == "http://localhost/adapters/roboflow"
    assert by_name["mcp"]["address"] == "http://localhost/mcp"
    assert [each["name"] for each in listed if not each["use"] or "ADDRESS" in each["use"]] == []


async def test_a_browser_gets_a_page_that_loads_nothing() -> None:
    async with adapted("roboflow", "x-anylabeling") as client:
        page = await client.get("/adapters", headers=BROWSER)

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert re.findall("<tr><td>([a-z-]+)", page.text) == ["roboflow", "x-anylabeling"]


async def test_the_page_needs_no_key_and_its_adapters_do() -> None:
    async with adapted("x-anylabeling", api_keys=line_of("tool", new_key())) as client:
        (listed,) = (await client.get("/adapters")).json()["adapters"]
        refused = await client.get(f"{listed['address']}/v1/models")

    assert refused.status_code == 401
