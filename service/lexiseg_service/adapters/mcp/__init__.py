"""Tools for language models over the Model Context Protocol: `lexiseg mcp`, and /mcp of a gateway.

This module has the server, and the two ways to serve it: over HTTP and over standard input and output.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from mcp.server.apps import Apps, ResourceCsp
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from starlette.requests import Request

from lexiseg_service.adapters.mcp.tools import FILES, PNG, Tool, ToolService, with_tool_errors
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.app import create_app
from lexiseg_service.gateway.rest.pages import WEB, policy_source
from lexiseg_service.gateway.rest.routes import caller_of
from lexiseg_service.question.backend import Backend, until_ready
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
STDIO_CALLER = Caller(client="stdio")
INSTRUCTIONS = (
    "Masks for words in pictures. Answers carry `image`, an id that asks again about the same picture at once. "
    "Words compete for pixels: name what else is in the picture, too. What is not there stands in `absent`."
)
PATH = "/mcp"
PICTURE = "lexiseg://pictures/"  # and the id of an answer's image
JPEG = "image/jpeg"
MAX_LISTED = 100  # pictures, the last used first
URI = "ui://lexiseg/chat.html"


def page() -> str:
    """The document of the App: its policy allows only its own script, its own style and pictures in data URLs."""
    script = (WEB / "chat.js").read_text(encoding="utf-8")
    html = (WEB / "chat.html").read_text(encoding="utf-8").replace("{script}", script)
    script_hash, style_hash = (  # the sources of the only element of each name
        policy_source(re.findall(f"<{name}[^>]*>(.*?)</{name}>", html, re.DOTALL)[0]) for name in ("script", "style")
    )
    policy = f"default-src 'none'; script-src '{script_hash}'; style-src '{style_hash}'; img-src data:"
    return html.replace("{policy}", policy)


def chat(segment: Tool, annotations: ToolAnnotations) -> Apps:
    """The extension with the page and the tool that it shows results of."""
    apps = Apps()
    apps.tool(resource_uri=URI, annotations=annotations)(segment)
    nothing = ResourceCsp(connect_domains=[], resource_domains=[], frame_domains=[], base_uri_domains=[])
    apps.add_html_resource(URI, page(), name="chat", title="What was found", csp=nothing, prefers_border=True)
    return apps


def create(service: ToolService) -> MCPServer[Any]:
    """An MCP server with the tools, the page in a chat, and the pictures of a caller's answers as resources."""

    async def list_pictures(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method == "resources/list" and isinstance(result, dict):
            ids = service.image_ids(service.caller_of(ctx))[-MAX_LISTED:]
            result["resources"] += [{"uri": PICTURE + one, "name": one, "mimeType": JPEG} for one in reversed(ids)]
        return result

    server: MCPServer[Any] = MCPServer(
        "lexiseg",
        instructions=INSTRUCTIONS,
        version=version("lexiseg"),
        middleware=[list_pictures],
        extensions=[chat(with_tool_errors(service.segment), READ_ONLY)],
    )
    server.resource(PICTURE + "{image_id}", name="picture", mime_type=JPEG)(service.kept_picture)
    server.resource(FILES + "{name}", name="file", mime_type=PNG)(service.made_file)
    for tool in (service.list_models, service.find, service.cut_out):
        server.add_tool(with_tool_errors(tool), annotations=READ_ONLY)
    return server


def adapter(app: FastAPI) -> Adapter:
    """The route /mcp; its sessions are open while the gateway runs."""
    settings: Settings = app.state.settings
    server = create(ToolService(app.state.use_case, settings, settings.mcp_folder, _caller))
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.limits.max_question_bytes + settings.limits.max_image_bytes * 4 // 3,
        # The gateway checks Host and Origin for all routes (`gateway.rest.middleware`).
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    routes = APIRouter(prefix=PATH, routes=inner.routes)
    use = '{"mcpServers": {"lexiseg": {"url": "ADDRESS"}}}'
    return Adapter([routes], running=server.session_manager.run(), use=use)


def _caller(context: ServerRequestContext[Any, Any]) -> Caller:
    request = context.request
    assert isinstance(request, Request)
    return caller_of(request)


async def serve_stdio(settings: Settings, backend: Backend, metrics: Metrics, folder: Path) -> None:
    """Serve over standard input and output until the input ends. Raises NotReady: the model cannot be loaded."""
    app = create_app(settings, backend, metrics)
    server = create(ToolService(app.state.use_case, settings, folder, lambda _: STDIO_CALLER))
    async with app.router.lifespan_context(app):
        await until_ready(backend)
        with suppress(asyncio.CancelledError):
            await server.run_stdio_async()
