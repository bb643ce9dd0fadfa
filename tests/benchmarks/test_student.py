"""`python -m benchmarks student`: a TIPSv2 of small random weights is distilled, and its line."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import distil
from benchmarks.distil import student
from tests.model.methods.tipsv2 import small
from tests.service.commands.command_line import CommandLine
from tests.train.methods.tiny.shapes import write_shapes

SHORT = ["steps=2", "decay_steps=0", "warmup_steps=1", "samples=0", "device=cpu", "workers=0"]


@pytest.mark.slow
def test_a_teacher_is_distilled_and_both_are_in_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lexiseg = CommandLine(monkeypatch, capsys)

    def run_here(command: Sequence[str], check: bool) -> None:
        """Each process would import torch anew."""
        outcome = lexiseg(*command[command.index("lexiseg_service.cli") + 1 :])
        assert check
        assert outcome.status == 0, outcome.err

    monkeypatch.setattr(distil, "subprocess", SimpleNamespace(run=run_here))
    write_shapes(tmp_path, 6)
    write_shapes(tmp_path, 3, "val")
    folders = ["--root", str(tmp_path), "--out", str(tmp_path / "run"), "--lines", str(tmp_path / "lines.jsonl")]
    phases = "phases=[{after: 0, crop: 64, global_batch: 4}]"

    student(["shapes", "--teacher", str(small.imported()), *folders, *SHORT, phases])

    [line] = map(json.loads, (tmp_path / "lines.jsonl").read_text().splitlines())
    assert line["teacher"].startswith("small ")
    assert (line["set"], line["images"]) == ("shapes", 3)
    assert all(0 <= line[figure] <= 100 for figure in ("teacher_miou", "student_miou"))
    assert str(tmp_path) not in json.dumps(line)


def test_a_dry_run_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student(["ade20k", "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--dry-run"])

    commands = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in commands] == [["data", "fetch"], ["eval", "--model"], ["train", "distil"]]
    assert not (tmp_path / "run").exists()
