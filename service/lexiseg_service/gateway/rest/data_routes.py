"""The /data route: everything that is kept of a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import NotReady, ServiceError, unexpected
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.heads.teaching import Teaching
from lexiseg_service.gateway.parts import Running
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.routes import as_json, caller_of
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.retries import AWAY_SECONDS

logger = structlog.get_logger("lexiseg.data")
router = APIRouter(tags=["service"])


class ErasedOutput(BaseModel):
    """Numbers of what `DELETE /v1/data` has removed."""

    leftovers: int = Field(description="number of removed pictures and lessons that failed requests had left")
    jobs: int = Field(description="number of removed jobs")
    heads: int = Field(description="number of removed heads")
    trainings: int = Field(description="number of removed trainings")
    vocabularies: int = Field(description="number of removed vocabularies")


@router.delete(
    "/data",
    summary="Remove everything that is kept of this API key",
    responses={200: {"model": ErasedOutput}, **problems(NotReady)},
)
async def delete_data(request: Request) -> Response:
    """Remove the jobs of this key with their archives and results, its trainings, its heads, and its vocabularies.

    Without API keys, that is everything. Models that were trained stay; images in the memory of workers go
    as others come. Where a kind cannot be removed now, the others are, and the answer is 503 and says which.
    """
    caller, state = caller_of(request), request.app.state
    parts: Mapping[str, Running | None] = state.parts
    vocabularies: Vocabularies = state.vocabularies
    heads = parts["heads"]
    kinds: dict[str, Callable[[Caller], Awaitable[int]] | None] = {
        "leftovers": heads.remove_leftovers if isinstance(heads, Teaching) else None,
        **{name: None if part is None else part.remove_all for name, part in parts.items()},
        "vocabularies": vocabularies.delete_all,
    }
    erased: dict[str, int] = {}
    failed: dict[str, str] = {}
    for kind, remove_all in kinds.items():
        try:
            erased[kind] = 0 if remove_all is None else await remove_all(caller)
        except ServiceError as error:
            failed[kind] = error.detail
        except Exception as error:
            logger.error("unexpected error", kind=kind, error=type(error).__name__, exc_info=error)
            failed[kind] = unexpected().detail
    if failed:
        erasures = ", ".join(f"{number} {kind}" for kind, number in erased.items()) or "nothing"
        left = "; ".join(f"{kind}: {reason}" for kind, reason in failed.items())
        problem = NotReady(f"erased: {erasures}; not erased: {left}; send the request again", AWAY_SECONDS)
        problem.extra["erased"] = dict(erased)
        raise problem
    return as_json(erased)
