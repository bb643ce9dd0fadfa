"""Fixtures of Label Studio's tests: its jobs, too, make short pauses."""

from tests.service.batch.http.conftest import _short_pauses as _short_pauses
