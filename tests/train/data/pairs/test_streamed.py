"""Shards in a bucket, and behind a command."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import s3fs

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.pairs import shards as pair_shards
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.training.pair_run import NumberedPairs, PairDraw
from tests.s3_server import bucket
from tests.train.data.pairs.pair_files import write_shards

SIZES = [3, 1, 4]


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of local shards; copies of others lie beside it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    write_shards(tmp_path / "local", SIZES)
    return tmp_path / "local"


@pytest.fixture
def address(shards: Path) -> Iterator[str]:
    """Of the same shards in a bucket."""
    with bucket("pairs") as place:
        s3fs.S3FileSystem(skip_instance_cache=True).put(str(shards), "pairs/cc3m", recursive=True)
        yield f"{place}/cc3m"


def batches(place: Path | str, numbers: Sequence[int]) -> list[list[PairDraw]]:
    stream = NumberedPairs(open_pairs(place), list, 2, seed=5)
    return [stream[number] for number in numbers]


def told(drawn: list[list[PairDraw]]) -> list[tuple[int, str, int]]:
    return [(pair.position, pair.caption, int(pair.image[0, 0, 0])) for batch in drawn for pair in batch]


def test_shards_of_a_bucket_are_drawn_in_the_order_of_local_ones(
    shards: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_shards, "MAX_SHARDS", 1)
    local = told(batches(shards, range(9)))

    assert told(batches(address, range(9))) == told(batches(f"{address}/{{00000..00002}}.tar", range(9))) == local
    assert len(list(pair_shards.Streamed("").path.parent.glob("*.tar"))) == 1


def test_a_resumed_run_goes_on_in_the_middle_of_a_commands_shards(shards: Path) -> None:
    command = f"pipe:cat {shards}/{{00000..00002}}.tar"

    before, after = batches(command, range(2)), batches(command, range(2, 6))

    assert told(before + after) == told(batches(shards, range(6)))


def test_a_command_that_fails_is_reported(shards: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.tar: exit status 1: .*No such file"):
        open_pairs(f"pipe:cat {shards}/none.tar")
