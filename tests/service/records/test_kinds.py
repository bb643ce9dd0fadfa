"""What is kept of clients, of every kind: nobody else sees it, no burst passes a limit, an erasure takes all of it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.batch.http import jobs
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.heads import collection as heads
from lexiseg_service.gateway.trainings import trainings
from lexiseg_service.gateway.trainings.training import TrainingStore
from lexiseg_service.gateway.vocabularies import collection as vocabularies
from lexiseg_service.records.store import Amounts, Quota
from tests.redis_server import RedisServer
from tests.service.batch.http import asking
from tests.service.batch.telling import Telling
from tests.service.gateway.rest.test_head_routes import picture, taught
from tests.service.gateway.serving import on_ports, serving
from tests.waiting import SOON

ARCHIVE = asking.zipped({"a.png": asking.PNG})
ROOM, BURST = 3, 12
Create = Callable[[httpx.Client, str], httpx.Response]


def put_vocabulary(client: httpx.Client, name: str) -> httpx.Response:
    return client.put(f"/v1/vocabularies/{name}", json={"classes": ["sky"]})


def teach(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/heads", json=taught(name=name))


def create_job(client: httpx.Client, name: str) -> httpx.Response:
    return asking.create(client, ARCHIVE)


def create_training(client: httpx.Client, name: str) -> httpx.Response:
    body = {"request": json.dumps({"name": name, "start": "colours"})}
    return client.post("/v1/trainings", data=body, files={"archive": ("set.zip", ARCHIVE)})


@dataclass(frozen=True)
class Kind:
    create: Create  # of a name; answers with its `Location`
    limit: tuple[object, str, object]  # module, name and value of a limit by which a client may have `ROOM` of them
    refusal: tuple[int, str]  # status and type of one more
    unknown: str  # type of the problem about one that is not there


KINDS = {
    "vocabularies": Kind(
        put_vocabulary,
        (vocabularies, "QUOTA", Quota(Amounts(number=ROOM))),
        (422, "invalid-value"),
        "unknown-vocabulary",
    ),
    "heads": Kind(teach, (heads, "MAX_HEADS_PER_KEY", ROOM), (422, "invalid-value"), "unknown-head"),
    "jobs": Kind(create_job, (jobs, "MAX_UNENDED", ROOM), (429, "rate-limited"), "unknown-job"),
    "trainings": Kind(create_training, (trainings, "MAX_UNENDED", 2 * ROOM), (429, "rate-limited"), "unknown-training"),
}
# Trainings are in a file of their own also where there is a Redis.
PLACES = [(kind, store) for kind in KINDS for store in ("sqlite", "redis") if (kind, store) != ("trainings", "redis")]
Gateway = Callable[..., httpx.Client]


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A kind, and the settings of where it is kept."""
    kind, store = request.param
    folder = tmp_path / "trainings"
    trainer = TrainingStore(folder)
    trainer.beat()
    trainer.close()
    settings = {"jobs": True, "state_dir": tmp_path, "trainings": folder, "drain_seconds": 0}
    if store == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        settings["redis_url"] = server.url
    return kind, settings


@pytest.fixture
def gateway(place: tuple[str, dict[str, Any]]) -> Iterator[Gateway]:
    """A client with a key of a new gateway, or of the one at a URL. Jobs that gateways take do not end."""
    kind, settings = place
    scopes = ["segment", "vocabularies", *(["admin"] if kind == "trainings" else ())]
    keys = "\n".join(line_of(name, name, scopes) for name in ("ann", "bob"))
    with ExitStack() as stack:

        def start(key: str, url: httpx.URL | str = "") -> httpx.Client:
            url = url or stack.enter_context(on_ports(Telling(open_for=0), **settings, api_keys=keys)).url
            return stack.enter_context(httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=SOON))

        yield start


def listed(client: httpx.Client, kind: str) -> list[dict[str, Any]]:
    return [each for each in client.get(f"/v1/{kind}").json()[kind] if not each.get("built_in")]


@pytest.mark.parametrize("place", [place for place in PLACES if "redis" not in place], ids="-".join, indirect=True)
def test_no_other_key_sees_or_erases_it(place: tuple[str, dict[str, Any]], gateway: Gateway) -> None:
    kind = KINDS[place[0]]
    ann, bob = gateway("ann"), gateway("bob")
    location = kind.create(ann, "first").headers["Location"]
    answers = [] if place[0] == "trainings" else [bob.get(location), bob.delete(location)]  # an admin sees those of all

    assert {(each.status_code, each.json()["type"]) for each in answers} <= {(404, kind.unknown)}
    assert (len(listed(ann, place[0])), listed(bob, place[0])) == (1, [])
    assert bob.delete("/v1/data").json()[place[0]] == 0
    assert ann.get(location).status_code == 200
    assert ann.delete("/v1/data").json()[place[0]] == 1
    assert (ann.get(location).json()["type"], listed(ann, place[0])) == (kind.unknown, [])


def test_a_burst_at_two_gateways_passes_no_limit_and_leaves_room_for_another_key(
    place: tuple[str, dict[str, Any]], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS[place[0]]
    monkeypatch.setattr(*kind.limit)
    clients = [gateway("ann"), gateway("ann")]
    bob = gateway("bob", clients[0].base_url)
    with ThreadPoolExecutor(BURST) as threads:
        answers = [*threads.map(lambda number: kind.create(clients[number % 2], f"name-{number}"), range(BURST))]
    created = [answer for answer in answers if answer.is_success]
    refused = Counter((answer.status_code, answer.json()["type"]) for answer in answers if not answer.is_success)

    assert (len(created), refused) == (ROOM, {kind.refusal: BURST - ROOM})
    assert len(listed(clients[0], place[0])) == ROOM
    location = created[0].headers["Location"]
    assert clients[1].delete(location).status_code == 204
    assert clients[0].get(location).json()["type"] == kind.unknown
    assert kind.create(clients[0], "one-more").is_success
    assert kind.create(bob, "of-bob").is_success


TAGGED: dict[str, list[dict[str, Any]]] = {
    "vocabularies": [{"classes": ["sky"]}, {"classes": ["sea"]}],
    "heads": [taught(name="mine"), {"pictures": [picture(7, "saucer")]}],
}


@pytest.mark.parametrize("kind", TAGGED)
async def test_it_is_changed_and_removed_under_conditions_of_its_version(kind: str) -> None:
    path, (first, second) = f"/v1/{kind}/mine", TAGGED[kind]
    async with serving() as client:
        made = await client.put(path, json=first, headers={"If-None-Match": "*"})
        tag = made.headers["etag"]
        unchanged = await client.get(path, headers={"If-None-Match": tag})
        changed = await client.put(path, json=second, headers={"If-Match": tag})
        stale = [
            await client.put(path, json=second, headers={"If-Match": tag}),
            await client.put(path, json=second, headers={"If-None-Match": "*"}),
            await client.delete(path, headers={"If-Match": tag}),
        ]
        kept = await client.get(path)
        removed = await client.delete(path, headers={"If-Match": changed.headers["etag"]})
        gone = [await client.get(path), await client.delete(path)]

    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert {(each.status_code, each.json()["type"]) for each in stale} == {(412, "precondition-failed")}
    assert (kept.json(), removed.status_code) == (changed.json(), 204)
    assert {(each.status_code, each.json()["type"]) for each in gone} == {(404, KINDS[kind].unknown)}
