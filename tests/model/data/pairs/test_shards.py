"""Tar shards in img2dataset's layout: pairs, damaged shards and the index file."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest

from lexiseg_model.data.pairs.shards import ShardPairs
from lexiseg_model.errors import DatasetError, SampleError
from tests.model.data.pairs.pair_files import photograph, write_shards, write_tar


def one(folder: Path, files: dict[str, bytes]) -> ShardPairs:
    write_tar(folder / "00000.tar", files)
    return ShardPairs([folder / "00000.tar"])


def test_every_pair_of_every_shard_is_read(tmp_path: Path) -> None:
    shards = ShardPairs(write_shards(tmp_path, [3, 0, 2]))

    stored = [shards.read(part, index) for part, size in enumerate(shards.sizes) for index in range(size)]

    assert shards.sizes == [3, 0, 2]
    assert [entry.captions for entry in stored] == [(f"picture {number}",) for number in range(5)]
    assert [entry.photograph for entry in stored] == [photograph(number) for number in range(5)]


def test_the_text_file_takes_precedence_over_the_json(tmp_path: Path) -> None:
    about = json.dumps({"caption": "another"}).encode()

    assert one(tmp_path, {"a.jpg": photograph(1), "a.txt": b"words", "a.json": about}).read(0, 0).captions == ("words",)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.txt": b"a cat"}, "has no photograph"),
        ({"a.jpg": b"\xff\xd8"}, "has no caption"),
        ({"a.jpg": b"\xff\xd8", "a.txt": b"  "}, "has no caption"),
        ({"a.jpg": b"\xff\xd8", "a.txt": b"\xff\xfe\xfa"}, "its caption is not UTF-8"),
        ({"a.jpg": b"\xff\xd8", "a.json": b"{"}, "its .json is not JSON"),
        ({"a.jpg": b"\xff\xd8", "a.json": b'["cat"]'}, "has no caption"),
    ],
)
def test_an_incomplete_pair_is_reported(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    shards = one(tmp_path, files)

    with pytest.raises(SampleError, match=reason) as caught:
        shards.read(0, 0)

    assert caught.value.sample == f"{tmp_path}/00000.tar/a"


@pytest.mark.parametrize("cut", [512 + 100, 2048 * 3 - 200, 2048 * 3])
def test_a_truncated_shard_keeps_its_first_pairs_and_is_reported(tmp_path: Path, cut: int) -> None:
    """At a header's middle, in a file, and right between two files, where tarfile itself sees an end."""
    whole = write_shards(tmp_path, [9])[0]
    content = whole.read_bytes()
    whole.write_bytes(content[:cut])

    shards = ShardPairs([whole])

    assert 0 < shards.sizes[0] < 9
    assert [skipped.name for skipped in shards.damaged] == [str(whole)]
    assert "damaged or cut off after" in shards.damaged[0].reason


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    whole = write_shards(tmp_path, [1])[0]
    whole.write_bytes(gzip.compress(whole.read_bytes()))

    with pytest.raises(DatasetError, match="is compressed"):
        ShardPairs([whole])


def test_the_index_of_a_shard_is_written_once(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [2])
    ShardPairs(shards)
    index = tmp_path / "00000.tar.index.npz"
    written = index.stat().st_ino

    again = ShardPairs(shards)

    assert index.stat().st_ino == written
    assert again.read(0, 1).captions == ("picture 1",)


def test_shards_can_be_pickled(tmp_path: Path) -> None:
    shards = ShardPairs(write_shards(tmp_path, [2]))
    shards.read(0, 0)

    sent = pickle.loads(pickle.dumps(shards))

    assert sent.read(0, 1) == shards.read(0, 1)
