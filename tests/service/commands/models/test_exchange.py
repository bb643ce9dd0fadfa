"""`lexiseg models push` and `pull` as the shell sees them; what they do is in tests/model/test_exchange.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.commands.command_line import CommandLine


def test_a_model_goes_there_and_back(lexiseg: CommandLine, tmp_path: Path) -> None:
    pushed = lexiseg("models", "push", "tiny", tmp_path / "store")
    pulled = lexiseg("models", "pull", f"{tmp_path}/store/tiny", "--models-dir", tmp_path / "models")

    assert (pushed.status, pulled.status) == (0, 0), pushed.err + pulled.err
    files = sum(path.is_file() for path in (tmp_path / "models/tiny").rglob("*"))
    assert pushed.out == f"{tmp_path}/store/tiny: {files} files, {files} of them sent now\n"
    assert "card.yaml ...\n" in pushed.err
    assert f"serve it with: LEXISEG_MODELS_DIR={tmp_path}/models lexiseg serve --model tiny" in pulled.out
    assert (tmp_path / "models/tiny/card.yaml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pull", "store/tiny"), "no folder to pull into: set LEXISEG_MODELS_DIR"),
        (("pull", "tiny", "--models-dir", "models"), "names no model; expected URL/NAME"),
        (("pull", "store/..", "--models-dir", "models"), "names no model; expected URL/NAME"),
        (("push", "nobody", "store"), "no model 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_line(lexiseg: CommandLine, words: tuple[str, ...], message: str) -> None:
    outcome = lexiseg("models", *words)

    assert outcome.status == 1
    assert message in outcome.err
