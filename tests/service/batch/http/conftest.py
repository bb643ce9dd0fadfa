"""Gateways of these tests look for work more often than served ones, and pause less."""

import pytest


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runner.POLL_SECONDS", "http.jobs.POLL_SECONDS", "loop.READY_SECONDS"):
        monkeypatch.setattr(f"lexiseg_service.batch.{name}", 0.1)
    monkeypatch.setattr("lexiseg_service.watch.checks.CHECK_SECONDS", 0.1)
    monkeypatch.setattr("lexiseg_service.batch.loop.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("lexiseg_service.batch.http.notices.FIRST_PAUSE", 0.1)
