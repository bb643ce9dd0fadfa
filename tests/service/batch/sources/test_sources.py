import tarfile
from contextlib import closing
from pathlib import Path

from lexiseg_service.batch.sources.files import FileReader
from lexiseg_service.batch.sources.listing import pictures_of, source_of
from lexiseg_service.errors import ServiceError
from tests.http_server import serving_files
from tests.service.batch.bulk import jobs

MOST = 10**6


def read(url: Path | str, id_column: str | None = None) -> dict[str, bytes | str]:
    """Every input of a source: its bytes, or why there are none."""
    source = source_of(str(url), None, id_column, None)
    found: dict[str, bytes | str] = {}
    with closing(FileReader(MOST, source.kind)) as files:
        for picture in list(pictures_of(source)):
            try:
                found[picture.name] = files.read(picture)
            except ServiceError as error:
                found[picture.name] = str(error)
    return found


def test_a_folder_is_walked_without_what_is_hidden(tmp_path: Path) -> None:
    jobs.folder(tmp_path, 3)
    rarer: dict[str, bytes | str] = dict.fromkeys(("phone.HEIC", "a.jfif", "b.JPE", "c.pjpeg", "d.dib"), b"rarer")
    for name in rarer:
        (tmp_path / name).write_bytes(b"rarer")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash/a.jpg").write_bytes(b"")

    photographs: dict[str, bytes | str] = {f"day-{n % 2}/{n:03d}.jpg": jobs.picture(n) for n in range(3)}
    assert read(tmp_path) == photographs | rarer


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    for number in range(2):
        jobs.shard(tmp_path / f"{number:03d}.tar", 2)

    expected = {f"{s:03d}.tar/{n:03d}.jpg": jobs.picture(n) for s in range(2) for n in range(2)}

    assert read(tmp_path) == read(tmp_path / "{000..001}.tar") == read(tmp_path / "*.tar") == expected


def test_a_torn_shard_is_an_input_that_says_so(tmp_path: Path) -> None:
    shard = jobs.shard(tmp_path / "a.tar", 4)
    shard.write_bytes(shard.read_bytes()[: 2 * tarfile.BLOCKSIZE + 600])

    found = read(shard)

    assert "cut off" in str(found["a.tar#damaged"])


def test_parquet_holds_pictures_as_bytes_as_the_hub_does_or_by_address(tmp_path: Path) -> None:
    content = [jobs.picture(n) for n in range(5)]
    jobs.folder(tmp_path / "in", 1)
    plain = jobs.parquet(tmp_path / "plain.parquet", {"image": content})
    hub = jobs.parquet(tmp_path / "hub.parquet", {"image": [{"bytes": each, "path": "a"} for each in content]})
    places = jobs.parquet(tmp_path / "p.parquet", {"id": ["a"], "url": [str(tmp_path / "in/day-0/000.jpg")]})

    assert read(plain) == {f"plain.parquet#{n}": each for n, each in enumerate(content)}
    assert read(hub) == {f"hub.parquet#{n}": each for n, each in enumerate(content)}
    assert read(places) == {"a": jobs.picture(0)}


def test_a_table_lists_addresses_and_paths(tmp_path: Path) -> None:
    jobs.folder(tmp_path, 2)
    (tmp_path / "large.jpg").write_bytes(bytes(MOST + 1))
    with serving_files(tmp_path) as server:
        rows = ["id,url", f"web,{server}/day-0/000.jpg", "here,day-1/001.jpg", f"none,{server}/gone.jpg"]
        rows += [f"large,{server}/large.jpg", "blank,"]
        (tmp_path / "list.csv").write_text("\n".join(rows))

        found = read(tmp_path / "list.csv")

    assert found["web"] == jobs.picture(0)
    assert found["here"] == jobs.picture(1)
    assert found["none"] == "the server answered 404"
    assert "at most 1,000,000 are taken" in str(found["large"])
    assert "row 6 has no url" in [value for key, value in found.items() if key.endswith("list.csv#6")]


def test_addresses_are_ids_unless_a_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("url\tsku\nfile:///a.jpg\t7\n")

    assert [each.name for each in pictures_of(source_of(str(tmp_path / "list.tsv"), None, None, None))] == [
        "file:///a.jpg"
    ]
    assert [each.name for each in pictures_of(source_of(str(tmp_path / "list.tsv"), None, "sku", None))] == ["7"]
