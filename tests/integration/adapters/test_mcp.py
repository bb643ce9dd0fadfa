"""The SDK's own client talks with `lexiseg mcp`, by both transports."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Headers
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from lexiseg_service.gateway.admission.keys import line_of, new_key
from tests.integration.server import ROOT, Server


async def asked(client: Client, photo: str) -> dict[str, Any]:
    answer = await client.call_tool("measure", {"image": photo, "words": ["sky", "building"]})
    assert isinstance(answer, CallToolResult)
    assert not answer.is_error, answer.content
    measured: dict[str, Any] = answer.structured_content["measured"]
    return measured


async def test_standard_input_and_output_are_the_protocols_alone(photo: Path, tmp_path: Path) -> None:
    arguments = ["-m", "lexiseg_service.cli", "mcp", "--mcp-folder", str(photo.parent)]
    started = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env=dict(os.environ))
    with (tmp_path / "log.jsonl").open("w") as log:
        async with Client(stdio_client(started, errlog=log)) as client:
            measured = await asked(client, photo.name)

    assert measured["sky"]["percent"] > 20
    assert measured["building"]["percent"] > 5


async def test_streamable_http_asks_for_a_key_like_every_route(photo: Path, tmp_path: Path) -> None:
    key = new_key()
    settings = {
        "LEXISEG_ADAPTERS": "mcp",
        "LEXISEG_MCP_FOLDER": str(photo.parent),
        "LEXISEG_API_KEYS": line_of("agent", key),
    }
    with Server(tmp_path / "log.jsonl", **settings) as running:
        async with (
            AsyncClient(headers=Headers({"Authorization": f"Bearer {key}"})) as http,
            Client(streamable_http_client(f"{running.url}/mcp", http_client=http)) as client,
        ):
            measured = await asked(client, photo.name)
        with pytest.raises(BaseExceptionGroup):
            async with Client(f"{running.url}/mcp") as stranger:
                await stranger.list_tools()

    assert measured["sky"]["percent"] > 20
