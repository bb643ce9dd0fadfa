import pytest
from pydantic import SecretStr, ValidationError

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.settings import Settings
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, serving

PAGE = "https://labels.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,x-api-key,content-type",
}
KEYS = SecretStr(line_of("page", "k"))


async def test_by_default_no_other_page_may_ask() -> None:
    async with serving() as client:
        answer = await client.get("/models", headers={"Origin": PAGE})
        preflight = await client.options("/segment", headers=PREFLIGHT)

    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control")]


async def test_a_page_that_is_named_may_ask() -> None:
    async with serving(cors_origins=(PAGE,), api_keys=KEYS) as client:
        preflight = await client.options("/segment", headers=PREFLIGHT)
        answer = await client.get("/vocabularies/voc20", headers={"Origin": PAGE, "X-API-Key": "k"})

    assert (preflight.status_code, answer.status_code) == (200, 200)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert {"ETag", "X-Image-Id", "X-Segments"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_can_read_a_refusal_and_a_failure() -> None:
    backend = KnownBackend(failure=RuntimeError("boom"))
    async with serving(backend=backend, cors_origins=(PAGE,), api_keys=KEYS) as client:
        refusal = await client.get("/models", headers={"Origin": PAGE})
        failure = await client.post("/segment", files=form("sky"), headers={"Origin": PAGE, "X-API-Key": "k"})

    assert (refusal.status_code, failure.status_code) == (401, 500)
    assert {answer.headers["access-control-allow-origin"] for answer in (refusal, failure)} == {PAGE}


@pytest.mark.parametrize("wrong", ["example.org", "https://a.example/", "https://a.example/path", "https://*.example"])
def test_an_origin_that_no_browser_sends_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="or origins like"):
        Settings(cors_origins=(wrong,))
