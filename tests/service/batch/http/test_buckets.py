"""Jobs whose pictures and results lie in buckets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import s3fs

from tests.s3_server import bucket
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, tarred, zipped

FILES = {"one.png": PNG, "in/two.png": PNG, "broken.png": b"no picture"}


@pytest.fixture(scope="module")
def store() -> Iterator[s3fs.S3FileSystem]:
    with bucket("photos"):
        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.pipe({f"photos/in/{name}": content for name, content in FILES.items()})
        yield store


@pytest.fixture
def client(store: s3fs.S3FileSystem, tmp_path: Path) -> Iterator[httpx.Client]:
    with gateway(tmp_path, job_folders="s3://photos/in", job_files="s3://photos/kept") as client:
        yield client


def test_pictures_below_a_prefix_are_asked(client: httpx.Client) -> None:
    job = finished(client, create(client, folder="s3://photos/in/"))

    assert (job["done"], job["failed"]) == (2, 1)
    assert {line["image"] for line in lines(client, job["id"])} == set(FILES)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archive_and_results_lie_in_the_bucket_until_the_job_is_removed(
    client: httpx.Client, store: s3fs.S3FileSystem, tmp_path: Path, pack: object
) -> None:
    assert callable(pack)
    job = finished(client, create(client, pack(FILES)))

    kept = store.find(f"photos/kept/{job['id']}")
    assert [path.rpartition(".")[2] for path in kept if "/parts/" in path] == ["jsonl"] * (len(kept) - 2)
    assert {line["image"] for line in lines(client, job["id"])} == set(FILES)
    assert not (tmp_path / "jobs").exists()
    client.delete(f"/v1/jobs/{job['id']}")
    store.invalidate_cache()
    assert store.find(f"photos/kept/{job['id']}") == []


def test_a_bucket_that_is_not_there_is_one_problem(client: httpx.Client) -> None:
    answer = create(client, folder="s3://photos/in/none")

    assert (answer.status_code, "a folder or prefix that exists" in answer.json()["detail"]) == (422, True)
