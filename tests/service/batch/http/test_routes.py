"""The /jobs routes over a backend with known answers, on a real port."""

import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest
import redis
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.app import create_app
from lexiseg_service.gateway.rest import uploads
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, tarred, zipped
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import serving

PICTURES = {"a.png": PNG, "in/b.png": PNG, "in/notes.txt": b"no picture", "__MACOSX/._a.png": b"hidden"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "photos").mkdir()
    for name in ("one.png", "two.png"):
        (folder / "photos" / name).write_bytes(PNG)
    (folder / "photos" / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[httpx.Client]:
    state, folders = tmp_path_factory.mktemp("state"), f"{folder},s3://bucket/a"
    with (
        pytest.MonkeyPatch.context() as patch,
        gateway(state, job_folders=folders, job_bytes_per_client=10 * 2**20) as client,
    ):
        patch.setattr(Settings, "job_pictures", 100)
        yield client


async def test_jobs_are_off_until_the_operator_switches_them_on() -> None:
    async with serving() as client:
        answers = [
            await client.post("/v1/jobs", json={"urls": ["https://example.org/a.png"], "question": {}}),
            await client.get("/v1/jobs"),
            await client.delete("/v1/jobs/a"),
        ]

    assert {(answer.status_code, answer.json()["type"]) for answer in answers} == {(403, "switched-off")}
    assert "LEXISEG_JOBS" in answers[0].json()["detail"]


def test_the_request_beside_an_archive_may_come_as_a_file(client: httpx.Client) -> None:
    asked = ("blob", json.dumps({"question": {"classes": ["sky"]}}).encode(), "application/json")

    answer = client.post("/v1/jobs", files={"archive": ("a.zip", zipped(PICTURES)), "request": asked})

    assert finished(client, answer)["classes"] == ["sky"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_each_picture_of_an_archive_has_one_line(client: httpx.Client, pack: Any) -> None:
    job = finished(client, create(client, pack(PICTURES)))

    assert {name: job[name] for name in ("state", "total", "done", "failed", "seconds_left", "classes")} == {
        "state": "done", "total": 2, "done": 2, "failed": 0, "seconds_left": 0.0, "classes": ["sky"],
    }  # fmt: skip
    answered = lines(client, job["id"])
    assert sorted((line["number"], line["image"], line["problem"]) for line in answered) == [
        (0, "a.png", None),
        (1, "in/b.png", None),
    ]
    assert answered[0]["answer"]["segments"][0]["label"] == "sky"


def test_a_picture_that_cannot_be_read_costs_itself_alone(client: httpx.Client, folder: Path) -> None:
    job = finished(client, create(client, folder=f"{folder}/photos"))

    by_name = {line["image"]: line for line in lines(client, job["id"])}
    parquet = client.get(f"/v1/jobs/{job['id']}/results", params={"to": "parquet"}).content
    rows = {row["id"]: row for row in pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pylist()}
    assert (job["done"], job["failed"]) == (2, 1)
    assert by_name["broken.png"]["answer"] is None
    assert by_name["broken.png"]["problem"]["type"] == "unsupported-image"
    assert rows["one.png"]["segments"][0]["label"] == "sky"
    assert (rows["broken.png"]["status"], rows["broken.png"]["segments"]) == ("failed", None)


def test_results_continue_after_what_a_client_has(client: httpx.Client) -> None:
    job = finished(client, create(client, zipped(PICTURES)))

    first = client.get(f"/v1/jobs/{job['id']}/results")
    following = client.get(first.links["next"]["url"])

    assert len(first.text.splitlines()) == 2
    assert (following.status_code, following.text) == (200, "")


@pytest.mark.parametrize(("name", "value"), [("to", "null"), ("after", "-1"), ("limit", "many")])
def test_a_wrong_value_in_the_query_is_a_problem(client: httpx.Client, name: str, value: str) -> None:
    answer = client.get("/v1/jobs/any/results", params={name: value})

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (answer.json()["type"], answer.json()["errors"][0]["field"]) == ("invalid-value", name)


def cut_off() -> bytes:
    return zipped(PICTURES)[:-30]


def long_names_without_an_end() -> bytes:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1
    return (entry.tobuf() + b"a".ljust(512, b"\0")) * 1_000


def bomb() -> bytes:
    return zipped({"bomb.png": bytes(30 * 2**20)})


@pytest.mark.parametrize(
    ("archive", "fields", "status", "expected"),
    [
        (None, {}, 422, "one of `urls`, `folder` and the file `archive`"),
        (zipped(PICTURES), {"folder": "/photos"}, 422, "one of `urls`, `folder` and the file `archive`"),
        (None, {"urls": ["https://example.org/a.png"]}, 403, "LEXISEG_URL_NETWORKS"),
        (None, {"folder": "/etc"}, 403, "LEXISEG_JOB_FOLDERS"),
        (None, {"folder": "s3://bucket/a/../b"}, 403, "LEXISEG_JOB_FOLDERS"),
        (None, {"folder": "s3://bucket/apples"}, 403, "LEXISEG_JOB_FOLDERS"),
        (b"neither", {}, 422, "a whole zip or an uncompressed tar"),
        (gzip.compress(tarred(PICTURES)), {}, 422, "a whole zip or an uncompressed tar, got 'a gzip'"),
        (cut_off(), {}, 422, "a whole zip or an uncompressed tar"),
        (tarred(PICTURES)[:1600], {}, 422, "a whole zip or an uncompressed tar"),
        (zipped({"\u00e9.png": PNG}).replace("\u00e9".encode(), b"\xff\xff"), {}, 422, "a whole zip or an"),
        (long_names_without_an_end(), {}, 422, "a whole zip or an uncompressed tar"),
        (zipped({"../a.png": PNG}), {}, 422, "names within the archive"),
        (zipped({"/a.png": PNG}), {}, 422, "names within the archive"),
        (zipped({"notes.txt": b"x"}), {}, 422, "at least one"),
        (zipped({f"{number}.png": b"" for number in range(101)}), {}, 422, "at most 100"),
        (zipped(PICTURES), {"question": {"classes": []}}, 422, "classes"),
        (zipped(PICTURES), {"question": {"classes": ["sky"], "mask": "png"}, "to": "coco"}, 422, "rle for to=coco"),
        (zipped(PICTURES), {"question": {"classes": ["sky"], "model": "other"}}, 404, "no 'other' here"),
        (zipped(PICTURES), {"question": {"head": "mugs"}}, 404, "there is none called 'mugs'"),
        (
            zipped(PICTURES),
            {"question": {"vocabulary": "ade847"}, "to": "voc"},
            422,
            "a format with room for 847",
        ),
        (zipped(PICTURES), {"to": "cut-outs"}, 422, "to: expected one of coco, "),
        (
            zipped(PICTURES),
            {"question": {"classes": ["sky"], "refine": "regions"}},
            422,
            "refine: expected one of none",
        ),
        (
            zipped(PICTURES),
            {
                "question": {
                    "prompts": [{"mask": {"size": [4, 4], "counts": "088"}}, {"mask": {"size": [4, 4], "counts": "0"}}]
                }
            },
            422,
            "question.prompts.1.mask.counts: expected run lengths of a mask: the runs of a mask of 4 x 4 sum to 0",
        ),
        (
            zipped(PICTURES),
            {"question": {"prompts": [{"points": [{"x": -1, "y": 1}]}]}},
            422,
            "prompts.0.points.0.x: expected pixels inside the image",
        ),
        (zipped(PICTURES), {"more": 1}, 422, "no field of that name"),
    ],
)
def test_a_job_that_cannot_be_is_refused_at_once(
    client: httpx.Client, archive: bytes | None, fields: dict[str, Any], status: int, expected: str
) -> None:
    answer = create(client, archive, **fields)

    assert (answer.status_code, expected in answer.json()["detail"]) == (status, True), answer.text


def test_an_archive_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    # 27 MiB are any body's own bound.
    answer = create(client, zipped({"a.png": bytes(30 * 2**20)}, zipfile.ZIP_STORED))

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


def test_an_upload_that_finds_the_disk_full_may_be_repeated(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "TemporaryFile", lambda dir: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115
    answer = create(client, zipped(PICTURES))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "No space left on device" in answer.json()["detail"]


def test_a_bomb_is_a_picture_that_is_too_large(client: httpx.Client) -> None:
    job = finished(client, create(client, bomb()))

    assert lines(client, job["id"])[0]["problem"]["type"] == "too-large"


def test_no_urls_and_a_million_are_one_problem_each(tmp_path: Path) -> None:
    with gateway(tmp_path, url_networks="*") as client:
        none, million = (create(client, urls=["https://a.org"] * number) for number in (0, 10**6))

    assert (none.status_code, "urls: expected at least one, got" in none.json()["detail"]) == (422, True)
    assert (million.status_code, "the JSON holds more than" in million.json()["detail"]) == (413, True)


def test_a_language_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    backend = EngineBackend()
    with gateway(tmp_path, backend) as client:
        answer = create(client, zipped(PICTURES), question={"classes": ["rot"], "language": "de"})
    backend.engine.close(0)

    assert answer.status_code == 422
    assert answer.json()["detail"] == "language: expected en: no dictionaries are installed, got 'de'"


def test_a_damaged_file_of_jobs_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"cut off" * 1000)

    expected = r"LEXISEG_STATE_DIR.*records\.sqlite can be opened \(file is not a database\)"
    with pytest.raises(InvalidValue, match=expected):
        create_app(Settings(model="colours", jobs=True, state_dir=tmp_path), KnownBackend(), Metrics())


@pytest.mark.parametrize("where", ["sqlite", "redis"])
def test_a_job_of_0_4_is_refused_by_name_and_kept(tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    settings: dict[str, Any] = {}
    with ExitStack() as stack:
        if where == "sqlite":
            file = stack.enter_context(closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)))
            file.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY)")
            file.execute("INSERT INTO jobs VALUES ('old')")
        else:
            settings["redis_url"] = request.getfixturevalue("shared_redis").url
            client = stack.enter_context(redis.Redis.from_url(settings["redis_url"]))
            client.zadd("lexiseg:jobs", {"old": 1.0})

        for _ in range(2):  # it is still there for the next start
            with capture_logs() as logged, gateway(tmp_path, **settings) as asked:
                answers = [asked.get("/v1/jobs/old"), asked.get("/v1/jobs/other"), asked.delete("/v1/jobs/old")]
                asked.delete("/v1/data").raise_for_status()

            says = [(each.status_code, "of release 0.4" in each.json()["detail"]) for each in answers]
            assert says == [(404, True), (404, False), (404, True)]
            assert [line["jobs"] for line in logged if "release 0.4" in line["event"]] == [["old"]]


def test_a_damaged_file_of_0_4_costs_no_other_job_its_answer(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"cut off" * 1000)

    with gateway(tmp_path) as asked:
        assert finished(asked, create(asked, zipped(PICTURES)))["state"] == "done"
        assert asked.get("/v1/jobs/other").status_code == 404
