import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import supervision
import yaml

from tests import coco, pictures
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def out(lexiseg: CommandLine, tmp_path: Path) -> Path:
    """A finished job with one input that failed."""
    source = jobs.folder(tmp_path / "in", 3)
    (source / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    forms = ("--to", "webdataset", "--to", "yolo", "--to", "coco")
    outcome = lexiseg("bulk", source, tmp_path / "out", "-c", "sky", "-c", "cat", "--local", *forms)
    assert outcome.status == 0, outcome.err
    return tmp_path / "out"


def test_yolo_labels_are_the_masks(out: Path, tmp_path: Path) -> None:
    read = supervision.DetectionDataset.from_yolo(
        str(out / "yolo/images/day-0"), str(out / "yolo/labels/day-0"), str(out / "yolo/data.yaml"), force_masks=True
    )

    rows = {str(out / "yolo/images" / row["id"]): row for row in jobs.rows(out)}
    assert read.classes == ["sky", "cat"]
    assert yaml.safe_load((out / "yolo/data.yaml").read_text())["names"] == {0: "sky", 1: "cat"}
    compared = 0
    for path, _, detections in read:
        for segment in rows[path]["segments"] or ():
            assert isinstance(detections.mask, np.ndarray)
            parts = detections.mask[detections.class_id == segment["class_index"]]
            expected = coco.decode(segment["rle"]).astype(bool)
            drawn = np.any(parts, axis=0)
            # Drawn outlines take the border's pixels along, on either side.
            assert drawn[expected].mean() > 0.9
            compared += 1
    assert compared


def test_a_picture_that_is_gone_is_in_no_part_of_coco(lexiseg: CommandLine, tmp_path: Path) -> None:
    source = jobs.folder(tmp_path / "in", 3)
    asked = ("bulk", source, tmp_path / "out", "-c", "sky", "-c", "cat", "--local")
    assert lexiseg(*asked).status == 0
    gone = sorted(source.rglob("*.jpg"))[0]
    gone.unlink()
    assert lexiseg(*asked, "--to", "coco").status == 0

    read = json.loads((tmp_path / "out/coco/annotations/instances_default.json").read_text())
    sources = {image["source"] for image in read["images"]}
    assert str(gone.relative_to(source)) not in sources
    assert len(sources) == 2
    assert {each["image_id"] for each in read["annotations"]} <= {image["id"] for image in read["images"]} == {1, 2}


def test_yolo_lists_the_pictures_that_it_has_written(out: Path) -> None:
    folder = out / "yolo"
    told = yaml.safe_load((folder / "data.yaml").read_text())

    splits = [(folder / told[split]).read_text().splitlines() for split in ("train", "val")]
    listed = {line for split in splits for line in split}
    written = sorted(f"./{path.relative_to(folder)}" for path in folder.glob("images/**/*.*"))
    assert all(splits)
    assert sorted(listed) == written
    assert len(written) == 3
    for line in listed:
        assert (folder / line.replace("/images/", "/labels/")).with_suffix(".txt").exists()


def test_a_shard_holds_pictures_and_their_rows(out: Path) -> None:
    rows = {row["id"]: row for row in jobs.rows(out)}

    with tarfile.open(out / "webdataset/000000.tar") as shard:
        content = {member.name: shard.extractfile(member).read() for member in shard}  # type: ignore[union-attr]

    assert len(content) == 2 * 3
    assert content["day-0/000.jpg"] == jobs.picture(0)
    assert json.loads(content["day-0/000.json"]) == rows["day-0/000.jpg"]


def test_a_shard_takes_what_phones_send_and_names_without_dots(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    contents = {
        "a.b.heic": pictures.heic(pictures.small("china", 64)),
        "a_b.jpg": pictures.encoded(pictures.small("flower", 64), "MPO"),
        "c.avif": pictures.encoded(pictures.small("coffee", 64), "AVIF"),
        "gone.jpg": jobs.picture(0),
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    lexiseg("bulk", source, out, "-c", "sky", "--local")
    (source / "gone.jpg").write_bytes(b"no picture any more")

    outcome = lexiseg("bulk", source, out, "-c", "sky", "--local", "--to", "webdataset")

    assert outcome.status == 0, outcome.err
    with tarfile.open(out / "webdataset/000000.tar") as shard:
        assert shard.getnames() == ["a_b.heic", "a_b.json", "a_b-2.jpg", "a_b-2.json", "c.avif", "c.json"]
