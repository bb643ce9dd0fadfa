import asyncio
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.admission.limits import ClientLimits, Rule
from tests.service.gateway.known_backend import KnownBackend, SlowBackend
from tests.service.gateway.rest.test_head_routes import taught
from tests.service.gateway.serving import form, serving
from tests.waiting import soon

KEYS = SecretStr(line_of("camera", "right"))
RIGHT: list[dict[str, str]] = [{"Authorization": "Bearer right"}, {"X-API-Key": "right"}]
OPEN = ["/livez", "/readyz", "/docs", "/openapi.json", "/metrics"]
GUARDED = [
    "/v1/models", "/v1/livez", "/models", "/models/colours", "/vocabularies", "/vocabularies/voc20", "/nowhere",
    "/livez/",
]  # fmt: skip


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_without_a_known_key_all_other_routes_are_unauthorized(headers: dict[str, str]) -> None:
    async with serving(api_keys=KEYS) as client:
        for path in GUARDED:
            answer = await client.get(path, headers=headers)

            assert (answer.status_code, answer.json()["type"]) == (401, "unauthorized"), path
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert "wrong" not in answer.text


@pytest.mark.parametrize("metrics_need_key", [False, True])
async def test_probes_and_documentation_ask_for_no_key_and_metrics_may(metrics_need_key: bool) -> None:
    async with serving(api_keys=KEYS, metrics_need_key=metrics_need_key) as client:
        statuses = {path: (await client.get(path)).status_code for path in OPEN}
        with_key = await client.get("/metrics", headers=RIGHT[0])

    assert statuses == dict.fromkeys(OPEN, 200) | {"/metrics": 401 if metrics_need_key else 200}
    assert with_key.status_code == 200


async def test_a_request_with_a_key_alone_reaches_a_worker_with_its_owner() -> None:
    backend = KnownBackend()
    async with serving(backend=backend, api_keys=KEYS) as client:
        answers = [await client.post("/segment", files=form("sky"), headers=headers) for headers in ({}, RIGHT[0])]

    assert [answer.status_code for answer in answers] == [401, 200]
    assert [request.owner for request in backend.asked] == ["camera"]


async def test_a_rate_limited_request_gets_retry_after_and_a_wrong_key_costs_no_client_a_token() -> None:
    limits = ClientLimits(lambda client: Rule(rate=0.25, burst=1), lambda: 0.0)
    async with serving(client_limits=limits, api_keys=KEYS) as client:
        wrong, right, again = [
            await client.get("/models", headers={"X-API-Key": key}) for key in ("wrong", "right", "right")
        ]

    assert (wrong.status_code, right.status_code, again.status_code) == (401, 200, 429)
    assert (again.json()["type"], again.headers["retry-after"]) == ("rate-limited", "4")


async def test_a_client_has_only_so_many_requests_at_a_time() -> None:
    backend = SlowBackend()
    async with serving(backend=backend, concurrency_limit=1) as client:
        first = asyncio.create_task(client.post("/segment", files=form("sky")))
        await backend.reached.wait()
        second = await client.get("/models")
        backend.may_go_on.set()
        answers: list[Any] = [await first, await client.get("/models")]

    assert (second.status_code, second.json()["type"]) == (429, "rate-limited")
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("keys", [None, SecretStr("\n".join([line_of("camera", "right"), line_of("phone", "left")]))])
async def test_one_client_has_its_share_of_the_places_and_leaves_some_to_another(
    keys: SecretStr | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.access.MAX_CALLS", 4)
    backend = SlowBackend()
    async with serving(backend=backend, api_keys=keys) as client:
        app = client._transport.app  # type: ignore[attr-defined]
        elsewhere = httpx.ASGITransport(app, client=("203.0.113.9", 1))
        held = [asyncio.create_task(client.post("/segment", files=form("sky"), headers=RIGHT[0])) for _ in range(2)]
        await soon(lambda: backend.n_reached == 2)
        refused = await client.get("/models", headers=RIGHT[0])
        async with httpx.AsyncClient(transport=elsewhere, base_url="http://localhost") as other:
            served = await other.get("/models", headers={"X-API-Key": "left"})
        backend.may_go_on.set()
        statuses = [(await each).status_code for each in held]
        afterwards = await client.get("/models", headers=RIGHT[0])

    assert (refused.status_code, refused.json()["type"]) == (429, "rate-limited")
    assert "this client holds 2 requests and calls" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "1"
    assert [served.status_code, *statuses, afterwards.status_code] == [200, 200, 200, 200]


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/v1/heads"), ("GET", "/readyz")])
async def test_a_line_break_behind_a_path_passes_no_rule_for_it(method: str, path: str) -> None:
    async with serving(api_keys=SecretStr(line_of("asks", "a", ["segment"])), metrics_need_key=True) as client:
        answer = await client.request(method, f"{path}%0a", json=taught(), headers={"X-API-Key": "a"})

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed-request")


async def test_a_request_beyond_the_scopes_of_its_key_is_refused() -> None:
    lines = [line_of("asks", "a", ["segment"]), line_of("keeps", "b", ["vocabularies"]), line_of("ops", "c", ["admin"])]
    room = {"classes": ["sofa"], "shared": True}
    async with serving(api_keys=SecretStr("\n".join(lines)), metrics_need_key=True) as client:
        refused = await client.put("/vocabularies/room", json=room, headers={"X-API-Key": "a"})
        kept = await client.put("/vocabularies/room", json=room, headers={"X-API-Key": "b"})
        asked = await client.post("/segment", files=form("sky"), headers={"X-API-Key": "b"})
        read = await client.get("/vocabularies/room", headers={"X-API-Key": "a"})
        metrics = await client.get("/metrics", headers={"X-API-Key": "a"})
        of_admin = await client.post("/segment", files=form("sky"), headers={"X-API-Key": "c"})

    assert (refused.status_code, refused.json()["type"]) == (403, "not-allowed")
    assert refused.json()["detail"] == "the key asks has the scopes segment; this needs the scope vocabularies"
    assert (kept.status_code, asked.status_code, read.status_code, metrics.status_code) == (201, 403, 200, 403)
    assert of_admin.status_code == 200
