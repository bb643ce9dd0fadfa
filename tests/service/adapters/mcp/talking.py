"""A client of the tools over a real engine, without a socket."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.extension import ClientExtension
from mcp.types import CallToolResult, TextContent

from lexiseg_service.adapters.mcp import create
from lexiseg_service.adapters.mcp.tools import ToolService
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.model.stand_in import ColourSegmenter
from tests.service.adapters.asking import TASKS
from tests.service.engine_backend import EngineBackend
from tests.waiting import SOON


@asynccontextmanager
async def talking(
    folder: Path | None,
    extensions: Sequence[ClientExtension] = (),
    key: Callable[[], str] = lambda: "test",
    **values: Any,
) -> AsyncIterator[Client]:
    """A client whose calls come with a key."""
    settings, engine = Settings(model="colours", **values), EngineBackend(ColourSegmenter(tasks=TASKS))
    app = create_app(settings, engine, Metrics())
    tools = ToolService(app.state.use_case, settings, folder, lambda _: Caller(client=key(), owner=key()))
    try:
        async with Client(create(tools), extensions=extensions) as client:
            yield client
    finally:
        engine.engine.close(SOON)


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a tool."""
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert not answer.is_error, answer.content
    content: dict[str, Any] = answer.structured_content
    return content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Why a tool refuses."""
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    (said,) = answer.content
    assert isinstance(said, TextContent)
    return said.text
