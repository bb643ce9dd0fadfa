"""`lexiseg site` as `make serve` installs it: without what writes graphs."""

import sys
from pathlib import Path

import pytest

from tests.service.commands.command_line import CommandLine


def test_without_what_writes_graphs_the_way_to_it_is_said(
    lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)

    outcome = lexiseg("site", str(tmp_path / "site"))

    assert outcome.status == 2
    assert 'needs onnx: pip install "lexiseg[site]"' in outcome.err
    assert not (tmp_path / "site").exists()
