"""`client.jobs` against a gateway with known answers."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lexiseg_client import AsyncClient, Client, JobState, SwitchedOff, TimedOut, UnknownJob, jobs
from tests.service.batch.http.asking import PNG
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with on_ports(KnownBackend(), jobs=True, state_dir=tmp_path_factory.mktemp("state")) as ports:
        yield ports.url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
async def async_client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        yield client


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    for name in ("a.png", "in/b.png"):
        (folder / name).write_bytes(PNG)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / ".hidden.png").write_bytes(PNG)
    return folder


def test_a_job_is_read_waited_for_saved_found_again_and_removed(client: Client, photos: Path, tmp_path: Path) -> None:
    states: list[JobState] = []
    job = client.jobs.create(photos, ["sky"])

    answers = {each.image: each for each in job}
    ended = job.wait(progress=states.append)
    saved = job.save(tmp_path / "annotations.json", to="coco")

    assert repr(job) == f"<Job {job.id}: done, 2 of 3 answered, 1 failed>"
    assert set(answers) == {"a.png", "in/b.png", "broken.png"}
    first, broken = answers["a.png"], answers["broken.png"]
    assert first.answer is not None
    assert [segment.label for segment in first.answer] == ["sky"]
    assert broken.problem is not None
    assert broken.problem.type == "unsupported-image"
    assert states[-1] == ended == client.jobs.get(job.id).state
    assert (ended.state, ended.done, ended.failed, ended.total) == ("done", 2, 1, 3)
    assert b'"categories":[{"id":1,"name":"sky"}]' in saved.read_bytes()
    assert job.id in [each.id for each in client.jobs.list()]
    job.delete()
    with pytest.raises(UnknownJob):
        job.refresh()


@pytest.mark.parametrize("named", ["archive first", "classes first", "by name"])
def test_pictures_come_first_as_in_other_calls_or_have_a_name(client: Client, photos: Path, named: str) -> None:
    create = client.jobs.create
    job = {
        "archive first": lambda: create(str(photos), ["sky"]),
        "classes first": lambda: create(["sky"], archive=photos),
        "by name": lambda: create(classes=["sky"], archive=photos),
    }[named]()

    assert (job.state.total, job.state.classes) == (3, ["sky"])


def test_pictures_of_a_job_are_given_once(client: Client, photos: Path) -> None:
    with pytest.raises(TypeError, match="given twice"):
        client.jobs.create(photos, ["sky"], archive=photos)
    with pytest.raises(TypeError, match=r"list of addresses; got 'a.png'"):
        client.jobs.create(["a.png"], ["sky"])


def test_a_bar_is_drawn_on_request(client: Client, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client.jobs.create(photos, ["sky"]).wait(progress=True)

    assert re.search(r"3/3 images, [0-9.]+ a second \n$", capsys.readouterr().err)


def test_waiting_ends_with_the_timeout(tmp_path: Path, photos: Path) -> None:
    backend = KnownBackend(now=KnownBackend().now.__class__(True, False, "not ready"))
    with on_ports(backend, jobs=True, state_dir=tmp_path, drain_seconds=0) as ports, Client(ports.url) as client:
        job = client.jobs.create(photos, ["sky"])

        with pytest.raises(TimedOut, match="0 of 3"):
            job.wait(timeout=0.1)


def test_a_server_without_jobs_says_so() -> None:
    with (
        on_ports(KnownBackend()) as ports,
        Client(ports.url) as client,
        pytest.raises(SwitchedOff, match="LEXISEG_JOBS"),
    ):
        client.jobs.create(["https://example.org/a.png"], ["sky"])


async def test_an_asyncio_client_reads_waits_saves_and_removes(
    async_client: AsyncClient, photos: Path, tmp_path: Path
) -> None:
    states: list[JobState] = []
    job = await async_client.jobs.create(photos, ["sky"])

    answers = {each.image: each async for each in job}
    ended = await job.wait(progress=states.append)

    assert set(answers) == {"a.png", "in/b.png", "broken.png"}
    assert answers["a.png"].answer is not None
    assert answers["broken.png"].problem is not None
    assert states[-1] == ended == job.state == await job.refresh()
    saved = await job.save(tmp_path / "annotations.json", to="coco")
    assert b'"categories":[{"id":1,"name":"sky"}]' in saved.read_bytes()
    assert job.id in [each.id for each in await async_client.jobs.list()]
    await job.delete()
    with pytest.raises(UnknownJob):
        await async_client.jobs.get(job.id)
