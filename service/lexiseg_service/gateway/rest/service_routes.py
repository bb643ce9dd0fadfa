"""Routes about the service itself: models, what is kept of a client, and for operators probes and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lexiseg_model.catalogue.available import available
from lexiseg_service.errors import NotReady, ServiceError, UnknownModel, unexpected
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.heads.teaching import Teaching
from lexiseg_service.gateway.parts import Running
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of, use_case_of
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.question.schemas import AvailableModels, Liveness, ModelList, ModelOutput, Readiness
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.watch import probes

logger = structlog.get_logger("lexiseg.data")
model_router = APIRouter(tags=["models"])
data_router = APIRouter(tags=["service"])
probe_router = APIRouter(tags=["service"])  # by convention without a version
ModelName = Annotated[str, Path(description="model name, as NAME or NAME@VERSION", examples=["tiny"])]


@model_router.get(
    "/models",
    summary="Cards of the models served here",
    responses={200: {"model": ModelList}},
)
async def list_models(request: Request) -> Response:
    """List tasks, input size, licence, training data, measured quality and digest of the weights for each model."""
    state, caller = request.app.state, caller_of(request)
    may_train = caller.admin or not caller.owner
    features = [name for name, part in state.parts.items() if part is not None and (may_train or name != "trainings")]
    return as_json({"models": use_case_of(request).models(), "features": features})


@model_router.get(
    "/models/available",
    summary="Models that could be served here",
    responses={200: {"model": AvailableModels}},
)
async def list_available() -> Response:
    """List networks, hub, sizes, licence, published figures and the command to serve it for each model."""
    return as_json({"models": [model.model_dump(mode="json") for model in available().values()]})


@model_router.get(
    "/models/{name}",
    summary="One model's card",
    responses={200: {"model": ModelOutput}, **problems(UnknownModel)},
)
async def get_model(request: Request, name: ModelName) -> Response:
    """Return the card of one model; `name` may carry a version: `tiny@1`."""
    return as_json(use_case_of(request).model(name))


class ErasedOutput(BaseModel):
    """Numbers of what `DELETE /v1/data` has removed."""

    leftovers: int = Field(description="number of removed pictures and lessons that failed requests had left")
    jobs: int = Field(description="number of removed jobs")
    heads: int = Field(description="number of removed heads")
    trainings: int = Field(description="number of removed trainings")
    vocabularies: int = Field(description="number of removed vocabularies")


@data_router.delete(
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


DEAD: dict[str, Any] = {"model": Liveness, "description": "The process is not healthy"}
NOT_READY: dict[str, Any] = {"model": Readiness, "description": "Requests are not answered yet, or no longer"}
probe_router.get("/livez", summary="Is the process healthy?", responses={200: {"model": Liveness}, 503: DEAD})(
    probes.get_liveness
)
probe_router.get("/readyz", summary="Is a model warmed up?", responses={200: {"model": Readiness}, 503: NOT_READY})(
    probes.get_readiness
)
probe_router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)(probes.get_metrics)
answer_head(model_router)
answer_head(probe_router)
