"""Tests of commands run them as those of the service."""

from tests.service.commands.conftest import lexiseg, model_read_once

__all__ = ["lexiseg", "model_read_once"]
