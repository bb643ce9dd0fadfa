"""How a client names itself, and what it takes from the environment."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

import lexiseg_client
from lexiseg_client import Client
from lexiseg_client.about import USER_AGENT
from lexiseg_client.address import read_address
from lexiseg_service.commands.options import refuse_unknown
from tests.clients.rest.scripted_server import Say, scripted


def test_the_version_is_that_of_the_installation() -> None:
    assert lexiseg_client.__version__ in (
        "0+unknown",
        *(importlib.metadata.version(name) for name in ("lexiseg",)),
    )


def test_requests_say_who_asks() -> None:
    with scripted(Say(200, {"models": []})) as script, Client(script.url) as client:
        client.models()

    assert script.asked[0][2]["user-agent"] == USER_AGENT
    assert re.fullmatch(r"lexiseg-client/\S+ python/3\S+", USER_AGENT)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_address(None, None, None).url == "http://localhost:8000"
    monkeypatch.setenv("LEXISEG_BASE_URL", "https://masks.example.org/")
    monkeypatch.setenv("LEXISEG_API_KEY", "secret")

    assert read_address(None, None, None).url == "https://masks.example.org"
    assert read_address(None, None, None).headers == {"Authorization": "Bearer secret"}
    assert read_address("http://other:1", None, None).url == "http://other:1"
    with scripted(Say(200, {"models": []})) as script:
        monkeypatch.setenv("LEXISEG_BASE_URL", script.url)
        with Client() as client:
            client.models()
        assert script.asked


def test_the_command_line_knows_the_clients_variable() -> None:
    refuse_unknown({"LEXISEG_BASE_URL": "http://localhost:8000"})
