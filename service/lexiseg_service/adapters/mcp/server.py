"""The server of the tools: what it says of itself, its models, and what `finding` and `counting` add."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult

from lexiseg_service.adapters.mcp import counting, finding
from lexiseg_service.adapters.mcp.asked import LOOKS, Ask
from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.reports import result

INSTRUCTIONS = (
    "Masks for words in pictures. Answers carry `image`, an id that asks again about the same picture at once. "
    "Words compete for pixels: name what else is in the picture, too. What is not there stands in `absent`."
)


def create(desk: Desk, caller_of: Ask) -> MCPServer[Any]:
    """A server of the tools; `caller_of` says who asks."""
    server: MCPServer[Any] = MCPServer("lexiseg", instructions=INSTRUCTIONS, version=version("lexiseg"))

    @server.tool(annotations=LOOKS)
    async def list_models(context: Context[Any, Any]) -> CallToolResult:
        """The models that can be asked, and what each can do."""
        cards = desk.use_case.models()
        return result({"models": [{name: card[name] for name in ("name", "summary", "tasks")} for card in cards]})

    finding.add(server, desk, caller_of)
    counting.add(server, desk, caller_of)
    return server
