"""Pairs from folders, listings and shards; held-out pairs and broken samples."""

import gzip
import json
import os
import pickle
from pathlib import Path

import pytest

from lexiseg_model.errors import DatasetError, OptionError, SampleError
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.shards import ShardPairs
from lexiseg_train.data.pairs.source import PairSource, Skipped, Skips, set_apart
from tests.train.data.pairs.pair_files import pair, photograph, write_shards, write_tar


def captions_of(pairs: PairSource) -> list[tuple[str, ...]]:
    return [pairs.read(index).captions for index in range(sum(pairs.sizes))]


def test_held_out_pairs_are_not_in_the_rest(tmp_path: Path) -> None:
    write_shards(tmp_path, [4, 0, 7])
    pairs = open_pairs(tmp_path)

    rest, held_out = set_apart(pairs, 3)

    assert (sum(rest.sizes), sum(held_out.sizes)) == (8, 3)
    assert sorted(captions_of(rest) + captions_of(held_out)) == sorted(captions_of(pairs))


@pytest.mark.parametrize("n_pairs", [0, 11, 12])
def test_holding_out_all_pairs_is_refused(tmp_path: Path, n_pairs: int) -> None:
    write_shards(tmp_path, [11])

    with pytest.raises(OptionError, match="expected 1 to 10"):
        set_apart(open_pairs(tmp_path), n_pairs)


A, B = Skipped("a.jpg", "is cut off"), Skipped("b.jpg", "has no caption")


def test_the_list_of_skipped_samples_is_continued_after_a_resume(tmp_path: Path) -> None:
    listing = tmp_path / "skipped.jsonl"
    Skips(listing).add([A])

    resumed = Skips(listing)
    resumed.add([A, B])

    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [(line["name"], line["reason"]) for line in lines] == [A, B]
    assert len(resumed) == 2


def write_photographs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(photograph(number))


def test_a_folder_with_captions_is_read(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", "a.png", "b.png")
    listing = {"a": {"captions": ["one", " two "], "license": "CC"}, "b": ["three"]}
    (tmp_path / "captions.json").write_text(json.dumps(listing))

    pairs = open_pairs(tmp_path)

    assert captions_of(pairs) == [("one", "two"), ("three",)]
    assert pairs.read(1).photograph == photograph(1)


@pytest.mark.parametrize(
    "table",
    [
        "image,caption\na.png,one\nsub/b.png,two\na.png,three\n",
        "\ufeffCaption,License,FilePath\none,,a.png\ntwo,,sub/b.png\nthree,,a.png\n",
        "filepath\ttitle\na.png\tone\nsub/b.png\ttwo\na.png\tthree\n",
    ],
)
def test_a_table_of_captions_is_read(tmp_path: Path, table: str) -> None:
    write_photographs(tmp_path, "a.png")
    write_photographs(tmp_path / "sub", "b.png")
    (tmp_path / "pairs.csv").write_text(table)

    assert captions_of(open_pairs(tmp_path / "pairs.csv")) == [("one", "three"), ("two",)]


def test_captions_of_coco_are_read(tmp_path: Path) -> None:
    write_photographs(tmp_path / "val2017", "000000000139.jpg", "000000000285.jpg")
    (tmp_path / "annotations").mkdir()
    listing = tmp_path / "annotations" / "captions_val2017.json"
    images = [{"id": 285, "file_name": "000000000285.jpg"}, {"id": 139, "file_name": "000000000139.jpg"}]
    said = [{"image_id": 139, "caption": "one"}, {"image_id": 285, "caption": "two"}, {"image_id": 139, "caption": "3"}]
    listing.write_text(json.dumps({"images": images, "annotations": said}))

    assert captions_of(open_pairs(listing)) == [("one", "3"), ("two",)]


def test_several_paths_are_one_source(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", [2, 1])
    write_photographs(tmp_path, "a.png")
    (tmp_path / "pairs.csv").write_text("image,caption\na.png,one\n")

    pairs = open_pairs(tmp_path / "pairs.csv", tmp_path / "a")

    assert list(pairs.sizes) == [1, 2, 1]
    assert captions_of(pairs) == [("one",), ("picture 0",), ("picture 1",), ("picture 2",)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.json", "[]", r'expected \{"STEM"'),
        ("captions.json", "{", "is not JSON"),
        ("captions.json", "{}", "has no captions"),
        ("captions.json", '{"a": {"captions": "one"}}', "'a': expected a list of captions, got 'one'"),
        ("pairs.csv", "url,caption\nhttp://x,one\n", r"the columns \['url', 'caption'\]; expected one of image, "),
        ("pairs.csv", "", "the columns"),
        ("pairs.csv", "image,caption\n", "has no captions"),
        ("pairs.json", "[]", "not a file of COCO's captions"),
        ("readme.txt", "hello", "holds no pairs; expected"),
    ],
)
def test_an_unreadable_listing_is_reported(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DatasetError, match=message) as caught:
        open_pairs(tmp_path if name == "captions.json" else tmp_path / name)

    assert name in str(caught.value)


def one(folder: Path, files: dict[str, bytes]) -> ShardPairs:
    write_tar(folder / "00000.tar", files)
    return ShardPairs([folder / "00000.tar"])


def test_the_json_has_a_caption_where_the_text_file_is_empty_and_only_if_told_so(tmp_path: Path) -> None:
    about = json.dumps({"caption": "another"}).encode()
    full = one(tmp_path, {"a.jpg": photograph(1), "a.txt": b"words", "a.json": about})
    assert full.read(0).captions == ("words",)
    shards = one(tmp_path, {"a.jpg": photograph(1), "a.txt": b" \n", "a.json": about})

    told = open_pairs(tmp_path, json_captions=True)

    with pytest.raises(SampleError, match=r"its \.txt is empty; json_captions=true takes the caption in \.json"):
        shards.read(0)
    assert told.read(0).captions == ("another",)
    assert pickle.loads(pickle.dumps(told)).read(0).captions == ("another",)


def test_what_is_no_text_in_a_listing_is_left_out_of_its_captions(tmp_path: Path) -> None:
    cut_emoji, nothing = {"image_id": 1, "caption": "a cat \ud83d"}, {"image_id": 1, "caption": None}
    listing = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [cut_emoji, nothing]}
    write_photographs(tmp_path, "a.png")
    (tmp_path / "captions.json").write_text(json.dumps(listing))
    files = {"a.jpg": photograph(1), "a.json": json.dumps({"captions": ["a cat \ud83d", None]}).encode()}

    assert captions_of(open_pairs(tmp_path / "captions.json")) == [("a cat",)]
    assert one(tmp_path, files).read(0).captions == ("a cat",)


def test_names_in_a_tar_need_not_be_utf_8(tmp_path: Path) -> None:
    shards = one(tmp_path, {"caf\udce9.jpg": photograph(1), "caf\udce9.txt": b"words"})

    assert shards.read(0).name == ShardPairs(shards.shards).read(0).name == f"{tmp_path}/00000.tar/caf\udce9"


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
        shards.read(0)

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


@pytest.mark.parametrize(
    ("content", "says"), [(b"nothing", "is damaged or cut off after 0 pairs: .*"), (bytes(1024), "holds no pair")]
)
def test_shards_without_a_pair_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "00000.tar").write_bytes(content)

    with pytest.raises(DatasetError, match=rf"00000.tar {says}; expected NAME.jpg with NAME.txt"):
        open_pairs(tmp_path)


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
    assert again.read(1).captions == ("picture 1",)


def test_a_shard_that_goes_or_shrinks_costs_only_its_own_pairs(tmp_path: Path) -> None:
    shrunk, gone, _ = paths = write_shards(tmp_path, [3, 2, 1])
    shards = ShardPairs(paths)
    write_tar(shrunk, pair(0))
    os.utime(shrunk, (1, 1))
    gone.unlink()

    assert [shards.read(index).captions for index in (0, 5)] == [("picture 0",), ("picture 5",)]
    for index, reason in ((2, "was replaced by one of 1 pairs"), (3, "No such file")):
        with pytest.raises(SampleError, match=reason):
            shards.read(index)
