"""`lexiseg bulk --local`, through the real command line and the real model."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tests import coco
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine

WORDS = ("-c", "sky", "-c", "flower", "--local")


def test_a_row_says_what_segment_says(lexiseg: CommandLine, tmp_path: Path) -> None:
    source = jobs.folder(tmp_path / "in", 1)
    lexiseg("segment", source / "day-0/000.jpg", "-c", "sky", "-c", "flower", "--out", tmp_path / "one")

    lexiseg("bulk", source, tmp_path / "out", *WORDS)

    expected = json.loads((tmp_path / "one/annotations/instances_default.json").read_text())["annotations"]
    (row,) = jobs.rows(tmp_path / "out")
    assert expected
    for segment, annotation in zip(row["segments"], expected, strict=True):
        assert segment["rle"] == annotation["segmentation"]
        assert segment["bbox"] == annotation["bbox"] == coco.box(segment["rle"])
        assert segment["area"] == annotation["area"]
        assert segment["score"] == pytest.approx(annotation["score"], abs=1e-4)


def test_a_bad_picture_is_a_row_with_its_reason(lexiseg: CommandLine, tmp_path: Path) -> None:
    source = jobs.folder(tmp_path / "in", 2)
    (source / "torn.jpg").write_bytes(jobs.picture(0)[:100])
    (source / "empty.png").write_bytes(b"")
    (source / "gone.jpg").symlink_to("nowhere")

    outcome = lexiseg("bulk", source, tmp_path / "out", *WORDS)

    assert outcome.status == 0, outcome.err
    failures = {row["id"]: row["error"] for row in jobs.rows(tmp_path / "out") if row["status"] == "failed"}
    assert failures.keys() == {"torn.jpg", "empty.png", "gone.jpg"}
    assert failures["torn.jpg"].startswith("undecodable-image: ")
    assert failures["gone.jpg"].startswith("undecodable-image: cannot be read: No such file")
    assert "torn.jpg: undecodable-image" in outcome.err


def test_every_input_is_one_row_and_what_has_rows_is_not_done_again(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = jobs.folder(tmp_path / "in", 6), tmp_path / "out"
    first = lexiseg("bulk", source, out, *WORDS, "--rows-per-file", "2")
    assert "6 inputs, 6 rows, none lost and none twice" in first.out, first.err
    stamps = {path.name: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    (out / "rows/00000001.parquet").unlink()

    outcome = lexiseg("bulk", source, out, *WORDS, "--rows-per-file", "2")

    assert "pictures: 4 of 6 were done before" in outcome.err
    assert "goes on with the question of its beginning" not in outcome.err
    found = jobs.rows(out)
    assert sorted(row["id"] for row in found) == sorted(f"day-{n % 2}/{n:03d}.jpg" for n in range(6))
    assert {row["status"] for row in found} == {"ok"}
    assert len({(row["model_digest"], row["vocabulary_digest"]) for row in found}) == 1
    changed = [name for name, stamp in stamps.items() if (out / "rows" / name).stat().st_mtime_ns != stamp]
    assert changed == ["00000001.parquet"]


def test_a_folder_of_0_3_is_gone_on_with(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = jobs.folder(tmp_path / "in", 4), tmp_path / "out"
    command = ("bulk", source, out, *WORDS, "--rows-per-file", "2")
    lexiseg(*command)
    for plan in (out / "plan").iterdir():  # 0.3 wrote paths as texts
        planned = pyarrow.parquet.ParquetFile(plan).read().to_pylist()
        texts = [row | {"path": row["path"].decode()} for row in planned]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(texts), plan)
    (out / "rows/00000001.parquet").unlink()

    outcome = lexiseg(*command)

    assert outcome.status == 0, outcome.err
    assert "4 inputs, 4 rows, none lost and none twice; 0 failures" in outcome.out


def test_too_many_failures_end_a_job_early_and_are_tried_again(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(120):
        (source / f"{number:03d}.jpg").write_bytes(b"not a picture")
    command = ("bulk", source, out, *WORDS, "--rows-per-file", "25", "--max-failure-rate", "0.2", "--max-side", "32")

    outcome = lexiseg(*command)

    assert outcome.status == 1
    assert "ended early: 100 of 100 pictures failed, more than 20%" in outcome.err
    assert len(jobs.rows(out)) == 100
    for number in range(120):
        (source / f"{number:03d}.jpg").write_bytes(jobs.picture(0))
    assert lexiseg(*command, "--retry-failed").status == 0
    assert [row["status"] for row in jobs.rows(out)] == ["ok"] * 120


def test_another_question_gets_another_folder(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = jobs.folder(tmp_path / "in", 1), tmp_path / "out"
    lexiseg("bulk", source, out, *WORDS)

    outcome = lexiseg("bulk", source, out, "-c", "dog", "--local")

    assert outcome.status == 1
    assert "holds answers of another job (classes, vocabulary_digest differ)" in outcome.err


def test_the_count_tells_what_is_wrong(lexiseg: CommandLine, tmp_path: Path) -> None:
    source, out = jobs.folder(tmp_path / "in", 4), tmp_path / "out"
    command = ("bulk", source, out, *WORDS, "--rows-per-file", "2")
    lexiseg(*command)
    file = out / "rows/00000001.parquet"
    table = pyarrow.parquet.ParquetFile(file).read()
    told = {
        "3 rows of 4 inputs; without a row: day-": (file, table.slice(0, 1)),
        "more than once: day-": (file, pyarrow.concat_tables([table, table.slice(0, 1)])),
        "no chunk": (out / "rows/00000007.parquet", table),
    }

    for said, (place, wrong) in told.items():
        pyarrow.parquet.write_table(table, file)
        pyarrow.parquet.write_table(wrong, place)
        outcome = lexiseg(*command)
        assert (outcome.status, said in outcome.err) == (1, True), outcome.err
