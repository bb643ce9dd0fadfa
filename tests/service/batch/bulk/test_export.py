import json
import tarfile
from pathlib import Path

from tests import pictures
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine


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


def test_a_shard_holds_pictures_and_their_rows(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = jobs.folder(tmp_path / "in", 3), tmp_path / "out"
    (source / "torn.jpg").write_bytes(b"\xff\xd8\xff")

    outcome = lexiseg("bulk", source, out, "-c", "sky", "--local", "--to", "webdataset")

    assert outcome.status == 0, outcome.err
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
