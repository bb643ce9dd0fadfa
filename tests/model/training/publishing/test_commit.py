"""The commit of a checkout, read from its files as git lays them."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from lexiseg_model.training.publishing.commit import commit

HEAD = "0123456789abcdef0123456789abcdef01234567"


def checkout(root: Path, head: str = "ref: refs/heads/main\n") -> Path:
    (root / ".git" / "refs" / "heads").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text(head)
    return root


def test_a_branch_is_followed_to_its_commit(tmp_path: Path) -> None:
    (checkout(tmp_path) / ".git" / "refs" / "heads" / "main").write_text(f"{HEAD}\n")

    assert commit(tmp_path) == HEAD[:12]


def test_a_packed_branch_is_looked_up(tmp_path: Path) -> None:
    packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/main-old\n{HEAD} refs/heads/main\n"
    (checkout(tmp_path) / ".git" / "packed-refs").write_text(packed)

    assert commit(tmp_path) == HEAD[:12]


def test_a_detached_head_is_itself(tmp_path: Path) -> None:
    assert commit(checkout(tmp_path, f"{HEAD}\n")) == HEAD[:12]


def test_a_second_worktree_shares_the_branches_of_the_first(tmp_path: Path) -> None:
    first = checkout(tmp_path / "first", "ref: refs/heads/other\n")
    (first / ".git" / "refs" / "heads" / "main").write_text(HEAD)
    own = first / ".git" / "worktrees" / "second"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/main\n")
    (own / "commondir").write_text("../..\n")
    second = tmp_path / "second"
    second.mkdir()
    (second / ".git").write_text(f"gitdir: {own}\n")

    assert commit(second) == HEAD[:12]


@pytest.mark.parametrize(
    ("version", "told"), [("0.3.1.dev4+gabc1234.d20260101", "abc1234"), ("0.3.1", "version 0.3.1")]
)
def test_an_installed_package_tells_its_version(
    version: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "lexiseg-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lexiseg\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert metadata.version("lexiseg") == version

    assert commit(tmp_path) == told
