"""Random order of pairs: epochs, broken pairs."""

import gc
import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import StoredPair, decode
from lexiseg_train.training.pair_run import NumberedPairs, Order, PairDraw
from tests.train.data.pairs.pair_files import pair, write_shards, write_tar


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    seed=st.integers(0, 2**32),
    together=st.integers(1, 40),
    epoch=st.integers(0, 3),
)
def test_an_epoch_draws_every_pair_once(sizes: list[int], seed: int, together: int, epoch: int) -> None:
    order = Order(sizes, seed, together)

    numbers = [order[epoch * order.total + offset] for offset in range(order.total)]

    assert sorted(numbers) == list(range(sum(sizes)))


def pairs_of(folder: Path, seed: int = 0) -> NumberedPairs[list[PairDraw]]:
    return NumberedPairs(open_pairs(folder), list, 1, seed)


def captions(drawn: list[PairDraw]) -> list[str]:
    return [entry.caption for entry in drawn]


def test_image_and_caption_belong_together(tmp_path: Path) -> None:
    write_shards(tmp_path, [5, 4, 8])

    drawn = [pairs_of(tmp_path, 3).draw(position) for position in range(17)]

    assert sorted(captions(drawn)) == sorted(f"picture {number}" for number in range(17))
    assert all(entry.caption == f"picture {entry.image[0, 0, 0]}" for entry in drawn)
    assert drawn[0].image.shape == (4, 6, 3)


def test_indexes_are_read_side_by_side_while_garbage_is_collected(tmp_path: Path) -> None:
    write_shards(tmp_path, [1] * 40)

    def run_python(phase: str, info: dict[str, int]) -> None:
        sum(range(100))  # so that other threads may go on in the middle of a collection

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(run_python)
    gc.set_threshold(10)
    sys.setswitchinterval(1e-6)
    try:
        sizes = [sum(open_pairs(tmp_path).sizes) for _ in range(10)]
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(run_python)

    assert sizes == [40] * 10


def test_a_broken_pair_is_replaced_and_reported(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", pair(0) | pair(1) | pair(2) | {"000000003.jpg": b"<html>", "000000003.txt": b"words"})
    pairs = pairs_of(tmp_path)

    drawn = [pairs.draw(position) for position in range(8)]

    named = [skipped for entry in drawn for skipped in entry.skipped]
    assert len([entry for entry in drawn if entry.skipped]) == 2
    assert {skipped.name for skipped in named} == {f"{tmp_path}/0.tar/000000003"}
    assert all("cannot be read as an image" in skipped.reason for skipped in named)
    assert set(captions(drawn)) <= {f"picture {number}" for number in range(3)}
    assert captions([pairs.draw(position) for position in range(8)]) == captions(drawn)


def test_a_set_of_only_broken_pairs_ends_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"a.jpg": b"<html>", "a.txt": b"words"})
    pairs = pairs_of(tmp_path)

    with pytest.raises(DatasetError, match=r"21 samples in a row cannot be read; the last: .*0\.tar/a: "):
        pairs.draw(0)


def test_a_photograph_of_too_many_pixels_is_not_decoded() -> None:
    content = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(content, "PNG")

    with pytest.raises(SampleError, match="10000 x 9000 pixels; expected at most"):
        decode(StoredPair("a", content.getvalue(), ("words",)))
