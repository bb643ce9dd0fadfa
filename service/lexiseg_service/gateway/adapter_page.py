"""The page /adapters: the addresses of other tools' protocols, as HTML for a browser and as JSON for programs.

It needs no key, as `/docs`: it says which interfaces there are, and they ask for one.
"""

from __future__ import annotations

import html

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.gateway.rest.paths import ADAPTERS, answer_head
from lexiseg_service.gateway.rest.routes import as_json

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ROW = "<tr><td>{name}<td><code>{address}</code><td><code>{use}</code>"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>lexiseg: other tools</title>
<h1>Other tools</h1>
<p>LEXISEG_ADAPTERS names them. Where keys are set, a tool's own key is one of them.
<table border="1" cellpadding="6"><tr><th>tool<th>address<th>use
"""

router = APIRouter(include_in_schema=False)


def listed(request: Request) -> list[dict[str, str]]:
    """Name, address and use of each adapter, under the address at which this service was asked."""
    base = str(request.base_url).rstrip("/")
    return [
        {"name": each.name, "address": base + each.path, "use": each.adapter.use.replace("ADDRESS", base + each.path)}
        for each in request.app.state.adapters
    ]


@router.get(ADAPTERS)
async def addresses(request: Request) -> Response:
    """HTML where the client takes it, as browsers do; else {"adapters": [{"name", "address", "use"}]}."""
    adapters = listed(request)
    if "text/html" not in request.headers.get("accept", ""):
        answer = as_json({"adapters": adapters})
    else:
        rows = (ROW.format(**{name: html.escape(text) for name, text in each.items()}) for each in adapters)
        answer = Response(PAGE + "\n".join(rows) + "\n</table></html>\n", media_type="text/html")
        answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["Vary"] = "Accept"
    return answer


answer_head(router)
