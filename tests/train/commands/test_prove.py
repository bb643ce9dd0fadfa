"""`lexiseg models prove`: what is refused, and the bundled model; other families are next to it."""

import json
from pathlib import Path

import pytest

from tests.service.commands.command_line import CommandLine
from tests.train.commands.voc import write_photographs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "data", {"chelsea": 8})


@pytest.mark.parametrize(("dataset", "message"), [("voc21", "holds ImageSets"), ("nothing", "'nothing'")])
def test_nothing_is_imported_where_there_are_no_pictures(
    lexiseg: CommandLine, tmp_path: Path, dataset: str, message: str
) -> None:
    outcome = lexiseg(
        *("models", "prove", "dense-clip", "--dataset", dataset, "--root", tmp_path),
        *("--models-dir", tmp_path / "models", "--clip", tmp_path / "clip.pt"),
    )

    assert outcome.status == 1
    assert message in outcome.err


@pytest.mark.parametrize(
    ("name", "dataset", "message"),
    [
        ("nobody", "voc21", "no published model 'nobody'; known: tiny, "),
        ("dense-clip", "camvid", "the protocol tcl does not cover 'camvid'; it covers voc21, "),
        ("tiny", "pictures", "the protocol tcl does not cover 'pictures'; it covers voc21, "),
    ],
)
def test_what_no_protocol_covers_is_refused(
    lexiseg: CommandLine, root: Path, name: str, dataset: str, message: str
) -> None:
    outcome = lexiseg("models", "prove", name, "--dataset", dataset, "--root", root)

    assert outcome.status != 0
    assert message in outcome.err


def test_a_model_without_a_protocol_of_its_own_is_measured_by_tcls(
    lexiseg: CommandLine, root: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "proofs.jsonl", "--progress", tmp_path / "progress")

    outcome = lexiseg("models", "prove", "tiny", "--dataset", "voc21", "--root", root, *out)

    assert outcome.status == 0, outcome.err
    assert "tiny on voc21, protocol tcl at the model's own size: mIoU" in outcome.out
    assert "published: no published figure for this combination" in outcome.out
    [line] = map(json.loads, (tmp_path / "proofs.jsonl").read_text().splitlines())
    assert line["rule"]["sight"] is None
