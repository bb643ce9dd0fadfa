"""An interrupted `lexiseg segment` keeps its finished images and continues."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexiseg_client import Segmentation
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source, sources_of
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.segment.run import STOPPED, Ask, Job
from lexiseg_service.settings import Limits
from tests.clients.formats import made


def answered(content: bytes = b"") -> Segmentation:
    """An answer without segments."""
    return made.answer(size=(4, 4), segments=(), overlay=b"a picture")


def run(out: Path, sources: list[Source], ask: Ask) -> int:
    job = Job(sources, Question(("sky",), None, None), out, "coco", Limits())
    return job.run(ask, (ClassEntry("sky"),), "a model")


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index}.jpg" for index in range(12)]
    for path in paths:
        path.write_bytes(path.name.encode())
    images = sources_of(paths)

    class UntilTheEleventh(Source):
        def read(self, limits: Limits) -> bytes:
            if self.stem == "10":
                raise KeyboardInterrupt
            return super().read(limits)

    interrupted: list[Source] = [UntilTheEleventh(image.name, image.path) for image in images]
    assert run(tmp_path / "out", interrupted, answered) == STOPPED
    assert "goes on with the rest" in capsys.readouterr().err
    kept = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [Path(image["file_name"]) for image in kept["images"]] == paths[:3]

    asked: list[bytes] = []

    def remembered(content: bytes) -> Segmentation:
        asked.append(content)
        return answered()

    assert run(tmp_path / "out", images, remembered) == 0
    assert sorted(asked) == [path.name.encode() for path in sorted(paths[3:])]
    everything = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["id"] for image in everything["images"]] == list(range(1, 13))
