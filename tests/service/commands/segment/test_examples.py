"""Examples of the command line."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import typer

from lexiseg_service.commands.segment.examples import with_examples


def test_a_file_is_read_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_MAX_IMAGE_BYTES", "99")
    whole = tmp_path / "whole.jpg"
    whole.write_bytes(bytes(99))

    (shown,) = with_examples((), [f"cup={whole}@1,1,9,9"], ())

    assert isinstance(shown, dict)
    assert base64.b64decode(shown["examples"][0]["image"]["base64"]) == bytes(99)
    with pytest.raises(typer.BadParameter, match="/dev/zero cannot be read: more than 99 bytes"):
        with_examples((), ["cup=/dev/zero@1,1,9,9"], ())
