"""Fixtures of commands."""

from tests.service.commands.conftest import lexiseg as lexiseg
from tests.service.commands.conftest import model_read_once as model_read_once
