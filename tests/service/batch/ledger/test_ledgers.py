"""What every store of jobs keeps: pictures are taken once, answered once, and free again when their holder is gone."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from lexiseg_service.batch.ledger.job import UNENDED, Job, Ledger, Webhook
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.records.redis_store import RedisStore
from lexiseg_service.records.sqlite import SqliteStore
from lexiseg_service.records.store import Amounts, Excess, Quota
from lexiseg_service.redis_link import Breaker, RedisLink
from tests.redis_server import RedisServer

LEASE = 1000.0  # seconds; longer than any test
PLENTY = Quota(Amounts())
WEBHOOK = Webhook("https://example.org/hook", "a secret of sixteen")


def job(identity: str = "a", total: int = 4, webhook: Webhook | None = None) -> Job:
    question = {"classes": ["sky"]}
    return Job(identity, "", "address:1", 1.0, total, "urls", "", question, ("sky",), "jsonl", webhook)


def pictures(count: int) -> list[Picture]:
    return [Picture(f"{number}.jpg", f"https://example.org/{number}.jpg", number=number) for number in range(count)]


def add(store: Ledger, added: Job, count: int) -> None:
    assert store.add(added, 0, PLENTY) is None
    assert store.plan(added.id, pictures(count))


def take(store: Ledger, count: int, *others: str, total: int = 4) -> None:
    """Let holder x take some pictures of a new job; others may take the rest."""
    add(store, job(total=total), total)
    store.renew_leases(["x", *others], LEASE)
    store.take("a", "x", count)


def open_jobs(store: Ledger) -> list[tuple[str, str, int, bool]]:
    """Of jobs with pictures to do: id, client, pictures that are left, and whether it is begun."""
    jobs = store.all_progress(UNENDED).items()
    return [(identity, each.client, each.left, each.started is not None) for identity, each in jobs]


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        store = Ledger(SqliteStore(tmp_path / "records.sqlite"))
    else:
        server: RedisServer = request.getfixturevalue("shared_redis")
        link = RedisLink(server.url, 10, Breaker())
        link.call(lambda client: client.flushall())
        store = Ledger(RedisStore(link))
    yield store
    store.close()


def test_a_job_comes_back_as_it_was_added(store: Ledger) -> None:
    added = job(webhook=WEBHOOK)
    add(store, added, 4)

    found = store.job("a")

    assert found is not None
    assert (found.question, list(found.classes), found.webhook) == (added.question, ["sky"], added.webhook)
    assert [each.id for each in store.jobs()] == ["a"]
    assert open_jobs(store) == [("a", "address:1", 4, False)]
    assert store.job("b") is None
    assert store.progress("b") is None


def test_a_holder_that_missed_what_it_took_gets_it_again(store: Ledger) -> None:
    take(store, 2)

    assert [picture.number for picture in store.take("a", "x", 2)] == [0, 1]


def test_pictures_of_a_holder_that_is_gone_are_free(store: Ledger) -> None:
    take(store, 2, "y")

    store.release_lease("x")

    assert take_all(store, "y", 4) == [0, 1, 2, 3]


def take_all(store: Ledger, holder: str, count: int) -> list[int]:
    """The numbers of all pictures that a holder gets; each is answered before the next are taken."""
    numbers: list[int] = []
    while taken := [picture.number for picture in store.take("a", holder, count)]:
        numbers += taken
        store.commit("a", uuid.uuid4().hex, dict.fromkeys(taken, False), 10)
    return sorted(numbers)


def test_pictures_of_a_lease_that_has_ended_are_free(store: Ledger) -> None:
    add(store, job(total=2), 2)
    store.renew_leases(["x"], 0.001)
    store.take("a", "x", 2)
    store.renew_leases(["y"], LEASE)
    taken: list[Picture] = []

    while len(taken) < 2:
        taken += store.take("a", "y", 2)

    assert sorted(picture.number for picture in taken) == [0, 1]


def test_a_part_counts_each_picture_once(store: Ledger) -> None:
    take(store, 3, "y")
    store.release_lease("x")  # it stalls, and comes back too late
    store.take("a", "y", 2)

    assert store.commit("a", "first", {0: False, 1: True}, 10)
    assert store.commit("a", "late", {0: False, 1: False, 2: False}, 10)

    parts = store.parts("a")
    assert [(part.name, part.done, part.failed, sorted(part.superseded)) for part in parts] == [
        ("first", 1, 1, []),
        ("late", 1, 0, [0, 1]),
    ]
    assert [part.name for part in store.parts("a", after=1)] == ["late"]
    progress = store.progress("a")
    assert progress is not None
    assert (progress.done, progress.failed, progress.ended) == (2, 1, None)


def test_a_commit_that_is_repeated_changes_nothing(store: Ledger) -> None:
    take(store, 1, total=1)

    assert store.commit("a", "first", {0: False}, 10)
    assert store.commit("a", "first", {0: False}, 10)

    assert [(part.name, part.done, list(part.superseded)) for part in store.parts("a")] == [("first", 1, [])]


def test_the_last_picture_ends_the_job(store: Ledger) -> None:
    take(store, 2, total=2)
    store.update("a", {"detail": "the disk is full"})
    store.commit("a", "first", {0: False}, 10)
    assert open_jobs(store) == [("a", "address:1", 1, True)]

    store.commit("a", "second", {1: False}, 10)

    progress = store.progress("a")
    assert progress is not None
    assert progress.started is not None
    assert progress.ended is not None
    assert progress.detail is None
    assert open_jobs(store) == []


def test_a_removed_job_takes_no_answers(store: Ledger) -> None:
    take(store, 2)

    store.erase(["a"])

    assert not store.commit("a", "first", {0: False}, 10)
    assert (store.jobs(), store.take("a", "x", 1), store.parts("a")) == ([], [], [])


def test_a_job_without_room_is_not_added_and_the_store_says_what_its_client_has(store: Ledger) -> None:
    quota = partial(Quota, unended_states=UNENDED)
    room = quota(Amounts(2, 3, 120))
    assert store.add(job("a"), 100, room) is None
    store.plan("a", pictures(4))
    store.commit("a", "first", {0: False}, 15)

    assert store.add(job("b"), 6, room) == Excess("nbytes", True, 115, 6, 120)
    assert store.add(job("b"), 5, quota(Amounts(1, 3, 120))) == Excess("unended", True, 1, 1, 1)
    assert store.add(job("b"), 5, quota(Amounts(2, 1, 120))) == Excess("number", True, 1, 1, 1)
    assert [each.id for each in store.jobs()] == ["a"]

    assert store.add(job("b"), 5, room) is None
    store.erase(["a"])
    assert store.add(job("c"), 115, room) is None


def test_a_job_that_has_ended_is_kept_and_not_unended(store: Ledger) -> None:
    take(store, 1, total=1)
    store.commit("a", "first", {0: False}, 7)

    assert store.add(job("b"), 0, Quota(Amounts(1, 1), unended_states=UNENDED)) == Excess("number", True, 1, 1, 1)


def test_a_job_that_is_not_planned_has_no_pictures_and_is_erased_later(store: Ledger) -> None:
    store.add(job(), 0, PLENTY)
    store.renew_leases(["x"], LEASE)

    assert store.take("a", "x", 1) == []
    assert store.erasures()["a"] > time.time()

    store.plan("a", pictures(4))
    assert (len(store.take("a", "x", 1)), store.erasures()) == (1, {})


def test_pictures_of_a_job_that_is_gone_are_not_added(store: Ledger) -> None:
    store.add(job(), 0, PLENTY)
    store.erase(["a"])

    assert not store.plan("a", pictures(4))
    assert "a" in store.erasures()


def test_an_erasure_is_recorded_until_its_files_are_gone(store: Ledger) -> None:
    for identity in "abc":
        add(store, job(identity), 4)

    store.erase(["a", "b"])

    assert [each.id for each in store.jobs()] == ["c"]
    assert set(store.erasures()) == {"a", "b"}
    store.record_erased("a")
    assert set(store.erasures()) == {"b"}


def test_a_notice_is_due_at_the_end_and_has_one_holder(store: Ledger) -> None:
    add(store, job("a", 1, WEBHOOK), 1)
    add(store, job("b", 1, WEBHOOK), 1)
    store.renew_leases(["x", "y"], LEASE)
    store.take("a", "x", 1)
    store.commit("a", "first", {0: False}, 10)

    assert (store.due_notices("x"), store.due_notices("y")) == (["a"], [])
    store.release_lease("x")
    assert store.due_notices("y") == ["a"]
    store.update("a", {"notice": "sent"})
    store.release_lease("y")
    assert store.due_notices("x") == []


def test_a_holder_that_begins_while_another_takes_pictures_is_not_gone(
    store: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, job(total=4), 4)
    store.renew_leases(["x"], LEASE)
    alive = store._alive
    taken: list[Picture] = []

    def begin() -> tuple[float, set[str]]:
        known = alive()
        monkeypatch.setattr(store, "_alive", alive)
        store.renew_leases(["y"], LEASE)
        taken.extend(store.take("a", "y", 2))
        return known

    monkeypatch.setattr(store, "_alive", begin)
    taken += store.take("a", "x", 4)

    assert sorted(picture.number for picture in taken) == [0, 1, 2, 3]


def test_many_holders_at_once_take_each_picture_once(store: Ledger) -> None:
    add(store, job(total=200), 200)
    holders = [f"holder {number}" for number in range(8)]
    store.renew_leases(holders, LEASE)

    with ThreadPoolExecutor(8) as threads:
        taken = [
            number for numbers in threads.map(lambda holder: take_all(store, holder, 3), holders) for number in numbers
        ]

    assert sorted(taken) == list(range(200))
