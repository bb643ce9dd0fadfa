"""Every door writes every format, and the same random answers give the same bytes; tools of others read them."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Segmentation
from lexiseg_client.folders import Writer
from lexiseg_labels.exports import MEDIA_TYPES, format_of, formats
from lexiseg_labels.folder_sets import LEDGER
from lexiseg_model.types import ClassEntry
from lexiseg_service.batch.chunks import BulkJob
from lexiseg_service.batch.description import task_question
from lexiseg_service.batch.export import writer_of
from lexiseg_service.batch.formats import results
from lexiseg_service.batch.ledger.folder import Destination, write_plan
from lexiseg_service.batch.rows import row_of_line
from lexiseg_service.batch.sources.listing import pictures_of, source_of
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.question import question_of
from lexiseg_service.commands.segment.run import Job, Results
from lexiseg_service.in_process import resolved
from lexiseg_service.settings import Settings
from tests.integration.adapters.tools import ask_with
from tests.labels.formats import made

CLASSES = ["cat", "dog: a", "straße"]
SIZE = (40, 60)
Answers = Mapping[str, Segmentation]


def random_answer(random: np.random.Generator) -> Segmentation:
    """Segments that overlap, with holes, of any class or none."""
    segments = []
    for number in range(1, 5):
        top, left = random.integers(0, 25, 2)
        mask = np.zeros(SIZE, bool)
        mask[top : top + random.integers(5, 15), left : left + random.integers(5, 30)] = True
        mask[top + 2 : top + 4, left + 2 : left + 4] = False
        index, score = int(random.integers(0, 3)), float(random.integers(0, 65)) / 64
        label, place = (CLASSES[index], index) if number < 4 else (None, None)
        segments.append(replace(made.segment(number - 1, label, mask), class_index=place, score=score))
    return made.answer(size=SIZE, segments=tuple(segments))


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    random = np.random.default_rng(7)
    (tmp_path / "photographs").mkdir()
    names = ("a.png", "b c.jpg", "d.png", "e #1.jpg")
    for name in names:
        Image.fromarray(random.integers(0, 255, (*SIZE, 3), np.uint8)).save(tmp_path / "photographs" / name)
    return {name: random_answer(random) for name in names}


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labels_below(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_below(folder).items() if name != LEDGER}


def by_client(to: str, photographs: Path, answers: Answers) -> dict[str, bytes]:
    writer = Writer(to, photographs, photographs.with_name("client"), CLASSES, {"classes": CLASSES})
    for name, answer in answers.items():
        writer.add(photographs / name, answer)
    writer.close()
    return labels_below(writer.out)


def by_command(to: str, photographs: Path, answers: Answers) -> dict[str, bytes]:
    sources = [Source(name, photographs / name) for name in answers]
    job = Job(sources, question_of(CLASSES, None), photographs.with_name("command"), to)
    written = Results(job, [ClassEntry(name) for name in CLASSES], "tiny@1")
    for source, answer in zip(sources, answers.values(), strict=True):
        assert source.path is not None
        written.add(source, source.path.read_bytes(), answer)
    written.write()
    return labels_below(written.folder)


def lines_of(answers: Answers) -> list[dict[str, Any]]:
    return [
        {"number": number, "image": name, "answer": answer.to_dict(), "problem": None}
        for number, (name, answer) in enumerate(answers.items())
    ]


def by_job(to: str, photographs: Path, answers: Answers) -> dict[str, bytes]:
    written = results(to, lambda: lines_of(answers), CLASSES)
    content = b"".join(written.content)
    if written.media_type != MEDIA_TYPES["zip"]:
        return {str(format_of(to).listing): content}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_rows_of_results_have_no_doubtful_segments(answers: Answers) -> None:
    answer = answers["a.png"]
    first, *others = answer.segments
    [line] = lines_of({"a.png": replace(answer, segments=(replace(first, doubtful=True), *others))})

    assert [each["area"] for each in row_of_line(line)["segments"]] == [each.area for each in others]


def by_bulk(to: str, photographs: Path, answers: Answers) -> dict[str, bytes]:
    question, out = task_question(question_of(CLASSES, None)), photographs.with_name("bulk")
    job = BulkJob(
        source_of(str(photographs), None, None, None), str(out), question, resolved(question, Settings()), Settings(),
        "tiny@1",
    )  # fmt: skip
    rows = Destination(str(out))
    size = write_plan(job.identity, rows, pictures_of(job.source), 1000)
    rows.write_rows(0, [row_of_line(line) for line in lines_of(answers)], {})
    folder, write = writer_of(to)
    write(job, rows, size)
    return files_below(out / folder)


DOORS: dict[str, Callable[[str, Path, Answers], dict[str, bytes]]] = {
    "client": by_client,
    "command": by_command,
    "job": by_job,
    "bulk": by_bulk,
}


@pytest.mark.parametrize("to", formats())
def test_every_door_writes_the_same_labels(to: str, answers: Answers, tmp_path: Path) -> None:
    images = f"{format_of(to).images}/"

    written = {name: door(to, tmp_path / "photographs", answers) for name, door in DOORS.items()}

    pictures = {door: {name for name in files if name.startswith(images)} for door, files in written.items()}
    labels = {door: {name: files[name] for name in files.keys() - pictures[door]} for door, files in written.items()}
    if to == "labelme":  # where the picture lies differs
        for files in labels.values():
            files.update(
                {name: json.dumps(json.loads(text) | {"imagePath": ""}).encode() for name, text in files.items()}
            )
    assert labels["client"]
    assert all(files == labels["client"] for files in labels.values())
    assert pictures["client"] == pictures["command"] == pictures["bulk"]
    assert pictures["job"] == set()


@pytest.mark.slow
@pytest.mark.tools
def test_datumaro_reads_every_mask(answers: Answers, tmp_path: Path) -> None:
    for to in ("coco", "datumaro", "cvat"):
        writer = Writer(to, tmp_path / "photographs", tmp_path / to, CLASSES, {"classes": CLASSES})
        for name, answer in answers.items():
            writer.add(tmp_path / "photographs" / name, answer)
        writer.close()
    shutil.copytree(tmp_path / "photographs", tmp_path / "cvat/images")
    kinds = [(str(tmp_path / to), to) for to in ("coco", "datumaro", "cvat")]

    read = ask_with("datumaro_reads", *(text for kind in kinds for text in kind))

    expected = sorted(
        sorted(["mask", segment.label or "object", segment.area] for segment in answer) for answer in answers.values()
    )
    for each in read:
        assert set(each["labels"]) - {"background"} == {*CLASSES, "object"}
        found = [[entry for entry in item if entry[0] == "mask"] for item in each["items"].values()]
        assert sorted(found) == expected


@pytest.mark.slow
@pytest.mark.tools
def test_label_studio_takes_the_predictions(answers: Answers, tmp_path: Path) -> None:
    files = by_job("label-studio", tmp_path, answers)
    (tmp_path / "tasks.json").write_bytes(files["tasks.json"])

    read = ask_with("label_studio_reads", str(tmp_path / "tasks.json"))

    assert [task["wrong"] for task in read] == [[]] * len(answers)
    labels = [sorted({segment.label or "object" for segment in answer}) for answer in answers.values()]
    assert [sorted({*task["labels"]}) for task in read] == labels
