"""What the tools' arguments are called, and how they tell what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from lexiseg_service.errors import ServiceError
from lexiseg_service.gateway.use_case import Caller

LOOKS = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
Picture = Annotated[str, Field(description="a file's path, an https URL, or `id:...` of an earlier answer")]
File = Annotated[str, Field(description="a file's path or an https URL")]
Words = Annotated[list[str], Field(min_length=1, description="what to look for, one word or phrase each")]
Model = Annotated[str | None, Field(description="NAME or NAME@VERSION of list_models; default: the first")]
Score = Annotated[float, Field(ge=0, le=1, description="least score of what is told")]
Ask = Callable[[Context[Any, Any]], Caller]


@contextmanager
def told() -> Iterator[None]:
    """What is wrong with a request, in words for whoever sent it."""
    try:
        yield
    except ServiceError as error:
        raise ToolError(error.detail) from None
