"""The page in a chat, an MCP App: shows what `segment` found, and cuts out what is clicked on.

One document without addresses: its policy allows only its own script, its own style and pictures in data URLs.
"""

from __future__ import annotations

import re

from mcp.server.apps import Apps, ResourceCsp
from mcp.types import ToolAnnotations

from lexiseg_service.adapters.mcp.tools import Tool
from lexiseg_service.gateway.rest.pages import WEB, policy_source

URI = "ui://lexiseg/chat.html"


def page() -> str:
    """The document as HTML."""
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
