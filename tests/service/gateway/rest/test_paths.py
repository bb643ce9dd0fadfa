import httpx
import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from lexiseg_service.watch.metrics import Metrics

FAMILIES = ["", "/v1"]
READ = ["/models", "/models/colours", "/vocabularies", "/vocabularies/voc20"]
UNVERSIONED = ["/livez", "/readyz", "/metrics", "/docs", "/docs/assets/docs.js", "/openapi.json"]


@pytest.mark.parametrize("path", ["/segment/", "/v1/models/colours/?a=b"])
async def test_a_slash_too_many_is_a_404_and_no_redirect(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path)).status_code == 404


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_new_vocabulary_is_where_its_location_says(client: httpx.AsyncClient, family: str) -> None:
    written = await client.put(f"{family}/vocabularies/room", json={"classes": ["sofa"]})

    assert written.headers["location"] == f"{family}/vocabularies/room"
    assert (await client.get(written.headers["location"])).status_code == 200


async def test_counts_and_log_lines_name_the_route_with_its_version(
    client: httpx.AsyncClient, metrics: Metrics
) -> None:
    with capture_logs() as lines:
        for family in FAMILIES:
            await client.get(f"{family}/models/colours")
        await client.get("/v1/nowhere")

    routes = ["/models/{name}", "/v1/models/{name}", "other"]
    assert [line["route"] for line in lines if line["event"] == "request"] == routes
    counted = generate_latest(metrics.registry).decode()
    assert all(
        f'lexiseg_requests_total{{code="200",method="GET",route="{name}"}} 1.0' in counted for name in routes[:2]
    )


async def test_head_says_what_get_would(client: httpx.AsyncClient) -> None:
    names = ("content-type", "etag", "cache-control", "content-security-policy")
    for path in (*READ, *(f"/v1{path}" for path in READ), *UNVERSIONED):
        head, get = await client.head(path), await client.get(path)

        assert head.status_code == get.status_code == 200, path
        assert [head.headers.get(name) for name in names] == [get.headers.get(name) for name in names], path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/segment", "POST"), ("POST", "/models", "GET, HEAD"), ("DELETE", "/models/colours", "GET, HEAD"),
        ("POST", "/vocabularies/room", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/vocabularies/ade20k", "DELETE, GET, HEAD, PUT"), ("OPTIONS", "/vocabularies", "GET, HEAD"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_method_that_is_not_taken_is_told_which_are(
    client: httpx.AsyncClient, family: str, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, f"{family}{path}")

    assert (answer.status_code, answer.json()["type"]) == (405, "method-not-allowed")
    assert answer.headers["allow"] == allowed
