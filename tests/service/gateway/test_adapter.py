import base64
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lexiseg_service.entry_points import ADAPTERS, EntryPointError, entry_points_of, load
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.admission.key_file import line_of, new_key
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import SAFE_ADAPTERS, Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.adapters.asking import IN_TEXT, adapted
from tests.service.distribution import installed
from tests.service.gateway.known_backend import KnownBackend

CONCEPTS = {"image": {"type": "base64", "value": IN_TEXT}, "prompts": [{"type": "text", "text": "red"}]}


@pytest.mark.parametrize("name", SAFE_ADAPTERS)
def test_a_safe_adapter_answers_below_its_own_prefix_alone(name: str) -> None:
    point = entry_points_of(ADAPTERS)[name]

    adapter = load(point, name)(create_app(Settings(model="colours", grpc_port=0), KnownBackend(), Metrics()))

    assert [router.prefix for router in adapter.routers] == [""]
    assert (adapter.running, point.extras) == (None, [])


URL = "https://example.org/a.png"
ASKED_BY_URL: dict[str, tuple[str, dict[str, Any]]] = {
    "hugging-face": ("?classes=red", {"json": {"inputs": URL, "parameters": {}}}),
    "roboflow": ("/sam3/concept_segment", {"json": {**CONCEPTS, "image": {"type": "url", "value": URL}}}),
    "x-anylabeling": (
        "/v1/predict",
        {"json": {"model": "colours", "image": URL, "params": {"text_prompt": "red"}}},
    ),
}


@pytest.mark.parametrize("name", SAFE_ADAPTERS)
async def test_a_safe_adapter_fetches_by_the_settings_of_all_alone(name: str) -> None:
    path, sent = ASKED_BY_URL[name]
    async with adapted(name) as client:
        answer = await client.post(f"/adapters/{name}{path}", **sent)

    assert "url-fetch-off" in answer.text


async def test_the_safe_adapters_are_on_where_none_is_named_and_off_by_an_empty_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unset = Settings().adapters
    monkeypatch.setenv("LEXISEG_ADAPTERS", "")

    assert (unset, Settings().adapters) == (SAFE_ADAPTERS, ())


def test_an_adapter_that_nobody_knows_ends_the_start() -> None:
    with pytest.raises(ValidationError, match=r"hugging-face.* there is no 'huggingface'"):
        Settings(adapters=("huggingface",))


ACME = """
from contextlib import asynccontextmanager

from lexiseg_service.gateway.adapter import Adapter


def adapter(app):
    @asynccontextmanager
    async def running():
        app.state.acme = "open"
        yield
        app.state.acme = "closed"

    return Adapter(running=running())
"""


async def test_what_an_adapter_opens_is_closed_with_the_gateway(tmp_path: Path) -> None:
    with installed(tmp_path, "acme", {"acme.py": ACME}, adapters={"acme": "acme:adapter"}):
        settings = Settings(model="colours", grpc_port=0, adapters=("acme",))
        app = create_app(settings, KnownBackend(), Metrics())
        install(app, settings.adapters)

        async with app.router.lifespan_context(app):
            assert app.state.acme == "open"

    assert app.state.acme == "closed"


@pytest.mark.parametrize(
    ("module", "point", "said"),
    [
        ("", "acme:adapter", "adapter acme: entry point acme = 'acme:adapter' of acme does not load: .*no attribute"),
        ("import nowhere", "acme:adapter", "adapter acme: .* of acme does not load: .*No module named 'nowhere'"),
        ("import nowhere", "acme:adapter [maps]", 'adapter acme needs nowhere, .*: pip install "acme\\[maps\\]"'),
        ("adapter = str", "acme:adapter", "adapter acme: expected acme:adapter to return an Adapter, got str"),
    ],
    ids=["no such name", "a broken import", "without the library of an extra", "no adapter"],
)
async def test_a_broken_adapter_ends_the_start_with_an_error_that_names_it(
    module: str, point: str, said: str, tmp_path: Path
) -> None:
    with (
        installed(tmp_path, "acme", {"acme.py": module}, adapters={"acme": point}),
        pytest.raises(EntryPointError, match=said),
    ):
        async with adapted("acme"):
            pass


KEY = new_key()
BASIC = base64.b64encode(f"anybody:{KEY}".encode()).decode()


ACCEPTED: list[dict[str, Any]] = [
    {"headers": {"Token": KEY}}, {"headers": {"Authorization": f"Basic {BASIC}"}}, {"params": {"api_key": KEY}},
    {"headers": {"Authorization": f"Bearer {KEY}"}}, {"headers": {"X-API-Key": KEY}},
]  # fmt: skip
REFUSED: list[dict[str, Any]] = [
    {}, {"headers": {"Token": "another"}}, {"headers": {"Authorization": "Basic %%%"}},
    {"headers": {"Authorization": "Bearer another", "Token": KEY}}, {"params": [("api_key", KEY), ("api_key", KEY)]},
]  # fmt: skip


async def test_a_key_is_found_where_tools_put_it() -> None:
    async with adapted("x-anylabeling", api_keys=line_of("tool", KEY)) as client:
        answers = [await client.get("/adapters/x-anylabeling/v1/models", **sent) for sent in ACCEPTED + REFUSED]
        own_route = await client.get("/models", headers={"Token": KEY})  # looks for keys where it always did
        listed = await client.get("/adapters")

    assert [answer.status_code for answer in answers] == [200] * len(ACCEPTED) + [401] * len(REFUSED)
    assert (own_route.status_code, listed.status_code) == (401, 200)


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_each_adapter_that_is_on_has_its_address_and_its_use() -> None:
    async with adapted() as client:
        listed = (await client.get("/adapters")).json()["adapters"]

    by_name = {each["name"]: each for each in listed}
    assert by_name["roboflow"]["address"] == "http://localhost/adapters/roboflow"
    assert by_name["mcp"]["address"] == "http://localhost/mcp"
    assert [each["name"] for each in listed if not each["use"] or "ADDRESS" in each["use"]] == []


async def test_adapters_that_are_on_are_on_a_page_that_loads_nothing_and_not_in_openapi() -> None:
    async with adapted("roboflow", "x-anylabeling") as client:
        page = await client.get("/adapters", headers=BROWSER)
        paths = (await client.get("/openapi.json")).json()["paths"]
        other = await client.post("/adapters/hugging-face", json={})

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert re.findall("<tr><td>([a-z-]+)", page.text) == ["roboflow", "x-anylabeling"]
    assert not [path for path in paths if path.startswith("/adapters")]
    assert (other.status_code, other.json()["type"]) == (404, "no-such-route")
