"""Jobs of one client do not hold up those of another: counted in pictures, whatever the time of one is."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lexiseg_service.batch import runner
from lexiseg_service.batch.runner import LANES, TURN
from lexiseg_service.gateway.admission.key_file import line_of
from tests.service.batch.http.asking import PNG, create, finished, zipped
from tests.service.gateway.known_backend import GatedBackend, KnownBackend
from tests.service.gateway.serving import form, on_ports
from tests.waiting import until

MANY, FEW = 50, 5
LARGE, SMALL = (zipped({f"{number:03d}.png": PNG for number in range(count)}) for count in (MANY, FEW))
KEYS = ",".join(line_of(name, f"key of {name}", ["segment"]) for name in "abcdefg")


@dataclass
class Held(GatedBackend):
    """Knows the order of its answers."""

    def order(self) -> list[str]:
        """Clients by whose pictures were answered, in order."""
        return [request.source.removeprefix("key:") for request in self.asked if request.background]


@contextmanager
def clients(backend: KnownBackend, state: Path, names: str, **settings: str) -> Iterator[dict[str, httpx.Client]]:
    with ExitStack() as stack:
        ports = stack.enter_context(
            on_ports(backend, **{"jobs": True, "state_dir": state, "api_keys": KEYS, **settings})
        )
        yield {
            name: stack.enter_context(
                httpx.Client(base_url=ports.url, headers={"X-API-Key": f"key of {name}"}, timeout=60)
            )
            for name in names
        }


def test_a_small_job_does_not_wait_for_the_jobs_of_another_client(tmp_path: Path) -> None:
    backend = Held()
    with clients(backend, tmp_path, "ab") as by:
        for _ in range(10):
            assert create(by["a"], LARGE).status_code == 202
        until(lambda: backend.waiting == LANES // 2)

        created = create(by["b"], SMALL)
        until(lambda: backend.waiting > LANES // 2)  # before any picture of the other is answered
        backend.open_for = math.inf
        finished(by["b"], created)
        order = backend.order()

        assert order.count("b") == FEW
        last = len(order) - order[::-1].index("b")
        assert order[:last].count("a") <= 3 * LANES
        by["a"].delete("/v1/data")


def test_a_client_that_comes_when_all_lanes_are_held_gets_one_within_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LANES", 4)
    backend, names = Held(), "abcdefg"
    with clients(backend, tmp_path, names) as by:
        for name in names[:-1]:
            assert create(by[name], LARGE).status_code == 202
        until(lambda: backend.waiting == 4)

        created = create(by[names[-1]], SMALL)
        backend.open_for = math.inf
        finished(by[names[-1]], created)
        order = backend.order()
        last = len(order) - order[::-1].index(names[-1])

        assert last <= 4 * TURN * len(names)


def test_ten_jobs_of_one_client_go_on_side_by_side(tmp_path: Path) -> None:
    backend = Held()
    with clients(backend, tmp_path, "a") as by:
        created = [create(by["a"], LARGE).json()["id"] for _ in range(10)]
        backend.open_for = math.inf
        until(lambda: len(backend.asked) >= 5 * MANY)

        done = [by["a"].get(f"/v1/jobs/{identity}").json()["done"] for identity in created]

        assert min(done) > 0, done


def test_beside_other_requests_clients_take_turns(tmp_path: Path) -> None:
    backend = Held()
    with clients(backend, tmp_path, "abc") as by, ThreadPoolExecutor(1) as threads:
        interactive = threads.submit(by["c"].post, "/v1/segment", files=form("sky"))
        until(lambda: backend.waiting == 1)
        for _ in range(10):
            assert create(by["a"], LARGE).status_code == 202
        created = create(by["b"], SMALL)
        until(lambda: by["b"].get(created.headers["Location"]).json()["state"] == "running")
        backend.open_for = math.inf
        interactive.result()
        finished(by["b"], created)
        order = backend.order()
        last = len(order) - order[::-1].index("b")

        assert order[:last].count("a") <= 4 * LANES


def test_clients_that_have_used_their_quota_hold_no_lanes_that_others_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LANES", 4)
    names = "abcdefg"
    limited = [line_of(name, f"key of {name}", ["segment"], ["daily=3"]) for name in names[:-1]]
    keys = ",".join([*limited, line_of(names[-1], f"key of {names[-1]}", ["segment"])])
    backend = KnownBackend()
    with clients(backend, tmp_path, names, api_keys=keys, drain_seconds="0") as by:
        for name in names[:-1]:
            assert create(by[name], SMALL).status_code == 202
        until(lambda: len(backend.asked) == 2 * len(limited))  # the first of three created the job

        assert finished(by[names[-1]], create(by[names[-1]], SMALL))["done"] == FEW
