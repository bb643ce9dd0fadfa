from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.counts import Counts, count
from lexiseg_model.evaluation.tally import NEW, Tally, folder_of, forget, read_parts


def some(seed: int) -> Counts:
    random = np.random.default_rng(seed)
    return count(random.integers(0, 3, 50), random.integers(0, 3, 50), 3)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    tally = Tally(tmp_path, 3, seconds=0)

    tally.add("a", some(0))
    tally.add("b", some(1))

    counts, done = read_parts(tmp_path, 3)
    assert done == {"a", "b"}
    assert counts.hits.tolist() == (some(0) + some(1)).hits.tolist()


def test_after_the_first_image_it_is_not_saved_before_its_time(tmp_path: Path) -> None:
    tally = Tally(tmp_path, 3, seconds=1e9)

    tally.add("a", some(0))
    tally.add("b", some(1))
    assert read_parts(tmp_path, 3)[1] == {"a"}

    tally.save()
    assert read_parts(tmp_path, 3)[1] == {"a", "b"}


def test_a_folder_that_cannot_be_written_to_is_found_out_at_the_first_image(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="Not a directory"):
        Tally(tmp_path / "file" / "folder", 3, seconds=1e9).add("a", some(0))


def test_parts_of_several_runs_add_up(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        Tally(tmp_path, 3, seconds=0).add(name, some(seed))

    counts, done = read_parts(tmp_path, 3)

    assert done == {"a", "b", "c"}
    assert counts.truth.sum() == 150


def test_a_part_that_was_being_written_is_not_read(tmp_path: Path) -> None:
    Tally(tmp_path, 3, seconds=0).add("a", some(0))
    (tmp_path / "half").with_suffix(NEW).write_text('{"done": ["b"], "hi')

    assert read_parts(tmp_path, 3)[1] == {"a"}


def test_nothing_done_leaves_nothing_behind(tmp_path: Path) -> None:
    Tally(tmp_path / "folder", 3).save()

    assert not (tmp_path / "folder").exists()
    assert read_parts(tmp_path / "folder", 3)[1] == set()


@pytest.mark.parametrize("content", ["{", "[]", '{"done": ["a"], "hits": [1]}'])
def test_a_damaged_part_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "part.json").write_text(content)

    with pytest.raises(DatasetError, match=r"part\.json is damaged"):
        read_parts(tmp_path, 3)


def test_two_parts_with_the_same_image_are_refused(tmp_path: Path) -> None:
    for _ in range(2):
        Tally(tmp_path, 3, seconds=0).add("a", some(0))

    with pytest.raises(DatasetError, match="two evaluations ran at once"):
        read_parts(tmp_path, 3)


def test_the_folder_depends_on_all_that_the_counts_depend_on(tmp_path: Path) -> None:
    key = {"model": "1", "data": ["a", "b"]}

    assert folder_of(tmp_path, "tiny-voc21", key) == folder_of(tmp_path, "tiny-voc21", dict(reversed(key.items())))
    assert folder_of(tmp_path, "tiny-voc21", key) != folder_of(tmp_path, "tiny-voc21", key | {"model": "2"})


def test_an_evaluation_at_its_end_is_forgotten(tmp_path: Path) -> None:
    Tally(tmp_path / "folder", 3, seconds=0).add("a", some(0))

    forget(tmp_path / "folder")
    forget(tmp_path / "folder")

    assert not (tmp_path / "folder").exists()


def test_a_part_is_plain_json(tmp_path: Path) -> None:
    Tally(tmp_path, 3, seconds=0).add("a", some(0))

    (part,) = tmp_path.glob("*.json")
    assert set(json.loads(part.read_text())) == {"done", "hits", "truth", "predicted"}
