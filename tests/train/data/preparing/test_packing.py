"""Writing tar shards: reading them back, resuming, quarantine of broken pairs."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import decode
from lexiseg_train.data.preparing.packing import Packed, pack_pairs
from tests.train.data.pairs.pair_files import photograph

BROKEN = {2: b"<html>", 5: photograph(5)[:-30]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Seven pairs, two of them broken and one without a photograph."""
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(BROKEN.get(number, photograph(number)))
    rows = [f"{number}.png,picture {number}\n" for number in range(7)]
    (tmp_path / "pairs.csv").write_text("".join(["image,caption\n", *rows, "absent.png,words\n", "0.png,again\n"]))
    return tmp_path / "pairs.csv"


def pack(table: Path, target: Path, per_shard: int = 3, side: int | None = None) -> Packed:
    return pack_pairs(open_pairs(table), str(table), target, per_shard, side)


def test_shards_hold_the_pairs_of_their_source_as_img2dataset_lays_them_out(table: Path, tmp_path: Path) -> None:
    packed = pack(table, tmp_path / "shards")

    shards = open_pairs(tmp_path / "shards")
    stored = [shards.read(number) for number in range(sum(shards.sizes))]
    assert [pair.captions for pair in stored] == [
        ("picture 0", "again"), ("picture 1",), ("picture 3",), ("picture 4",), ("picture 6",),
    ]  # fmt: skip
    assert [pair.photograph for pair in stored] == [photograph(number) for number in (0, 1, 3, 4, 6)]
    assert (packed.shards, packed.pairs, list(shards.sizes)) == (3, 5, [2, 2, 1])
    with tarfile.open(tmp_path / "shards" / "00001.tar") as archive:
        names = archive.getnames()
        about = json.load(archive.extractfile("000000003.json") or io.BytesIO())
    assert names == [f"{key:09}{suffix}" for key in (3, 4) for suffix in (".png", ".txt", ".json")]
    told = {key: about[key] for key in ("key", "caption", "width", "height", "status")}
    assert told == {"key": "000000003", "caption": "picture 3", "width": 6, "height": 4, "status": "success"}


def test_broken_pairs_are_quarantined_with_a_reason(table: Path, tmp_path: Path) -> None:
    packed = pack(table, tmp_path / "shards")

    quarantine = tmp_path / "shards" / "quarantine"
    lines = [json.loads(line) for path in sorted(quarantine.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert [Path(line["name"]).name for line in lines] == ["2.png", "5.png", "absent.png"]
    assert [line["reason"].partition(":")[0] for line in lines] == [
        "cannot be read as an image",
        "cannot be read as an image",
        "cannot be read",
    ]
    assert [(entry.name, entry.reason) for entry in packed.broken] == [(line["name"], line["reason"]) for line in lines]
    kept = {path.relative_to(quarantine).as_posix(): path.read_bytes() for path in quarantine.glob("*/*")}
    assert kept == {"00000/000000002.png": BROKEN[2], "00001/000000005.png": BROKEN[5]}


@pytest.mark.parametrize("lost", ["00000.tar", "00001.tar", "00002.tar"])
def test_a_resumed_run_writes_the_same_bytes(table: Path, tmp_path: Path, lost: str) -> None:
    shards = tmp_path / "shards"
    whole = pack(table, shards)
    before = {path.name: path.read_bytes() for path in shards.glob("*.tar")}
    (shards / f".{lost}").write_bytes((shards / lost).read_bytes()[:700])
    (shards / lost).unlink()
    assert sum(open_pairs(shards).sizes) < whole.pairs  # what a killed run left unfinished is not read

    again = pack(table, shards)

    assert {path.name: path.read_bytes() for path in shards.glob("*.tar")} == before
    assert (again.pairs, again.broken) == (whole.pairs, whole.broken)
    assert again.earlier == 8 - (2 if lost == "00002.tar" else 3)


@pytest.mark.parametrize(("per_shard", "side", "named"), [(4, None, "per_shard 3, not 4"), (3, 8, "side None, not 8")])
def test_shards_with_other_options_are_not_continued(
    table: Path, tmp_path: Path, per_shard: int, side: int | None, named: str
) -> None:
    pack(table, tmp_path / "shards")

    with pytest.raises(DatasetError, match=named):
        pack(table, tmp_path / "shards", per_shard, side)


def test_only_large_photographs_are_downscaled(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(photograph(200, (300, 120)))
    (tmp_path / "small.png").write_bytes(photograph(7, (50, 40)))
    (tmp_path / "pairs.csv").write_text("image,caption\nlarge.png,one\nsmall.png,two\n")

    pack(tmp_path / "pairs.csv", tmp_path / "shards", side=60)

    shards = open_pairs(tmp_path / "shards")
    assert decode(shards.read(0)).shape == (60, 150, 3)
    assert shards.read(1).photograph == photograph(7, (50, 40))
