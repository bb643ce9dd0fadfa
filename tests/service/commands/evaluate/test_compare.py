"""`lexiseg eval --compare` with the bundled model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lexiseg_model.catalogue import bundled
from tests.service.commands.command_line import CommandLine
from tests.service.commands.evaluate.test_indexed import root  # noqa: F401  a fixture


def test_the_bundled_model_is_as_good_as_its_copy(lexiseg: CommandLine, root: Path, tmp_path: Path) -> None:  # noqa: F811
    copy, target = tmp_path / "copy", tmp_path / "reports" / "compared.json"
    shutil.copytree(bundled()["tiny"], copy)

    outcome = lexiseg(
        "eval", "--compare", "tiny", copy, "--dataset", "halves", "--root", root, "--runtime", "torch", "--json", target
    )

    assert outcome.status == 0, outcome.err
    report = json.loads(target.read_text())
    assert (report["a"]["model"], report["b"]["model"]) == ("tiny", str(copy))
    assert report["a"]["model_digest"] == report["b"]["model_digest"]
    (halves,) = report["datasets"]
    assert {row["difference"] for row in halves["measures"].values()} <= {0, None}
    assert 0 < halves["measures"]["mIoU"]["a"] < halves["measures"]["oracle names"]["a"]
    for words in ("halves/val, 2 photographs", "B - A", "95 % interval", "kept with 3 more"):
        assert words in outcome.out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--compare", "tiny", "tiny", "--task", "box"], "--task"),
        (["--compare", "tiny", "tiny", "--model", "tiny", "--refine", "none"], "--refine"),
        (["--dataset", "thirds"], "several data sets belong to --compare"),
    ],
)
def test_what_does_not_go_together_is_refused(
    lexiseg: CommandLine,
    root: Path,  # noqa: F811
    options: list[str],
    complaint: str,
) -> None:
    outcome = lexiseg("eval", "--dataset", "halves", "--root", root, *options)

    assert outcome.status == 2
    assert complaint in outcome.err
