"""Errors as `application/problem+json` (RFC 9457), without stack traces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lexiseg_model.errors import ModelError
from lexiseg_service.errors import InvalidValue, ServiceError, unexpected
from lexiseg_service.gateway.rest.paths import methods_of

logger = structlog.get_logger("lexiseg.gateway")
TYPES_BY_STATUS = {404: "no-such-route", 405: "method-not-allowed", 400: "malformed-request", 413: "too-large"}


def response(error: ServiceError, request_id: str | None) -> Response:
    return _response(error.document(request_id), error.headers)


def as_bytes(document: dict[str, Any]) -> bytes:
    """The JSON of a problem: the standard library escapes lone surrogates, which a client may send; orjson does not."""
    return json.dumps(document, default=str).encode()


def _response(document: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(as_bytes(document), document["status"], headers, "application/problem+json")


async def refuse(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    await response(error, _id(scope))(scope, receive, send)


def unexpected_response(error: Exception, request_id: str | None, key_id: str | None = None) -> Response:
    """The answer for an unexpected error: logged here, reported to the client without details."""
    # A model's error means that one of our checks is missing.
    kind = "model error" if isinstance(error, ModelError) else "unexpected error"
    logger.error(kind, request_id=request_id, key_id=key_id, error=type(error).__name__, exc_info=error)
    return response(unexpected(), request_id)


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Answer the errors that routes raise on purpose as problems; `RequestFrame` handles the others."""

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return response(error, _id(request.scope))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_parameter(request: Request, error: RequestValidationError) -> Response:
        return response(InvalidValue.together(map(_invalid_parameter, error.errors())), _id(request.scope))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        kind = TYPES_BY_STATUS.get(error.status_code, "http-error")
        headers, detail = dict(error.headers or {}), str(error.detail)
        path = request.scope["path"]
        # The router names the methods of the first route of the path only.
        if error.status_code == 405 and (methods := methods_of(path, routers)):
            headers["Allow"] = ", ".join(methods)
            detail = f"{path[:80]} takes {' and '.join(methods)}, not {request.method}"
        elif error.status_code == 404:
            detail = f"there is no {path[:80]!r} here; /docs shows every route"
        about = {"type": kind, "title": "The request cannot be served", "status": error.status_code, "detail": detail}
        return _response({**about, "request_id": _id(request.scope)}, headers)


def _invalid_parameter(finding: Any) -> InvalidValue:
    """One finding of FastAPI about a query, header or path."""
    expected = str(finding["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return InvalidValue.of(".".join(map(str, finding["loc"][1:])), finding.get("input"), expected)


def _id(scope: Scope) -> str | None:
    identity: str | None = scope.get("state", {}).get("request_id")
    return identity
