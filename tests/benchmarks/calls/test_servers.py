from pathlib import Path

import pytest

from benchmarks.calls.servers import checkouts


def test_without_a_name_this_checkout_alone_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGAINST", raising=False)

    assert checkouts() == [Path.cwd()]


def test_what_is_no_checkout_is_refused_and_not_measured_as_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAINST", "8e7c5e8")

    with pytest.raises(SystemExit, match="AGAINST=8e7c5e8: expected the folder of another checkout"):
        checkouts()


def test_another_checkout_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service" / "lexiseg_service").mkdir(parents=True)
    monkeypatch.setenv("AGAINST", str(tmp_path))

    assert checkouts() == [tmp_path, Path.cwd()]
