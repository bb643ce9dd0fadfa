"""`lexiseg bulk` from and to S3: the real protocol, against a server on this machine."""

import io
import json
import tarfile
from collections.abc import Iterator

import pytest
import s3fs

from lexiseg_model.catalogue.store import open_store
from lexiseg_service.batch.sources import listing
from tests.s3_server import bucket
from tests.service.batch.bulk import jobs
from tests.service.batch.sources.test_sources import read
from tests.service.commands.command_line import CommandLine

COUNT = 4


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket with pictures in every form."""
    here = tmp_path_factory.mktemp("pictures")
    jobs.folder(here / "photos", COUNT)
    for number in range(2):
        jobs.shard(here / f"{number:03d}.tar", COUNT // 2)
    jobs.parquet(
        here / "table.parquet", {"id": [str(n) for n in range(COUNT)], "image": [jobs.picture(n) for n in range(COUNT)]}
    )
    with bucket("mine") as address:
        starts = f"{address}/", ""  # an address, and a path that starts where the table is
        names = "".join(f"{n},{starts[n % 2]}photos/day-{n % 2}/{n:03d}.jpg\n" for n in range(COUNT))
        (here / "list.csv").write_text(f"id,url\n{names}")
        s3fs.S3FileSystem(skip_instance_cache=True).put(f"{here}/", f"{address}/", recursive=True)
        yield address


@pytest.mark.parametrize("source", ["photos", "{000..001}.tar", "table.parquet", "list.csv"])
def test_every_input_of_a_bucket_is_read(mine: str, source: str) -> None:
    pictures = read(f"{mine}/{source}")

    assert len(pictures) == COUNT
    assert {*pictures.values()} <= {jobs.picture(number) for number in range(COUNT)}


def test_what_a_bucket_lists_is_not_kept(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = open_store(mine)
    monkeypatch.setattr(listing, "open_store", lambda url: (store, url.removeprefix("s3://")))

    assert len(list(listing.pictures_of(listing.Source(f"{mine}/photos", "files")))) == COUNT
    assert not store.dircache


def test_a_job_in_a_bucket_goes_on_and_is_written_in_other_forms(lexiseg: CommandLine, mine: str) -> None:
    store, out = s3fs.S3FileSystem(skip_instance_cache=True), f"{mine}/out"
    command = ("bulk", f"{mine}/photos", out, "-c", "sky", "--local", "--rows-per-file", "3")
    assert lexiseg(*command).status == 0
    store.rm_file(f"{out}/rows/00000001.parquet")

    outcome = lexiseg(*command, "--to", "coco", "--to", "webdataset")

    store.invalidate_cache()

    assert outcome.status == 0, outcome.err
    assert f"pictures: 3 of {COUNT} were done before" in outcome.err
    assert len(json.loads(store.cat_file(f"{out}/coco/annotations/instances_default.json"))["images"]) == COUNT
    with tarfile.open(fileobj=io.BytesIO(store.cat_file(f"{out}/webdataset/000000.tar"))) as shard:
        assert len(shard.getnames()) == 2 * 3
