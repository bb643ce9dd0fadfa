"""`lexiseg segment` writes the same files in this process and by a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from lexiseg_labels.folder_sets import LEDGER
from lexiseg_labels.formats.coco import ANNOTATIONS
from tests import pictures
from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine

NAMES = ["china", "flower", "coffee"]


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """In a folder of the photographs."""
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 320), "JPEG"))
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def without_model(ledger: bytes) -> Any:
    """A server is known by its address, a model in this process by its digest."""
    first, *rows = [json.loads(line) for line in ledger.splitlines()]
    assert first["asked"].pop("model")
    stamps = [row.pop("modified") for row in rows]
    assert all(stamps)
    return [first, *rows]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ("grpc", ["-c", "sky", "-c", "flower", "-c", "cup"]),
        ("url", ["--vocabulary", "coco-panoptic", "--task", "panoptic"]),
        ("grpc", ["--vocabulary", "coco-panoptic", "--task", "panoptic"]),
        ("url", ["--point", "120,80", "--prompt", "60,60 150,100 -5,5", "--box", "30,20,200.5,180"]),
        ("grpc", ["--point", "120,80", "-c", "sky", "-c", "flower", "-c", "cup"]),
    ],
)
def test_a_server_and_this_process_write_the_same_files(
    server: Server, lexiseg: CommandLine, tmp_path: Path, by: str, options: list[str]
) -> None:
    photographs = [f"{name}.jpg" for name in NAMES]

    done = lexiseg("segment", *photographs, "--out", "here", *options)
    asked = lexiseg("segment", *photographs, "--out", "there", *options, "--server", getattr(server, by))

    assert (done.status, asked.status) == (0, 0), done.err + asked.err
    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert json.loads(here[ANNOTATIONS])["annotations"]
    assert {f"{name}.png" for name in NAMES} <= here.keys()
    assert without_model(there.pop(LEDGER)) == without_model(here.pop(LEDGER))
    assert there == here
