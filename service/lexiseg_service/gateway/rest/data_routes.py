"""The /data route: everything that is kept of a client."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.jobs.jobs import Jobs
from lexiseg_service.gateway.jobs.schemas import ErasedOutput
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.routes import as_json, caller_of
from lexiseg_service.gateway.trainings.trainings import Trainings
from lexiseg_service.gateway.vocabularies.collection import Vocabularies

router = APIRouter(tags=["service"])


@router.delete(
    "/data",
    summary="Remove everything that is kept of this API key",
    responses={200: {"model": ErasedOutput}, **problems(NotReady)},
)
async def delete_data(request: Request) -> Response:
    """Remove the jobs of this key with their archives and results, its trainings, and its vocabularies.

    Without API keys, that is everything. Models that were trained stay; images in the memory of workers go
    as others come.
    """
    caller = caller_of(request)
    jobs: Jobs | None = request.app.state.jobs
    vocabularies: Vocabularies = request.app.state.vocabularies
    n_jobs = 0 if jobs is None else await jobs.remove_all(caller)
    trainings: Trainings | None = request.app.state.trainings
    n_trainings = 0 if trainings is None else await trainings.remove_all(caller)
    n_vocabularies = await vocabularies.delete_all(caller)
    return as_json({"jobs": n_jobs, "trainings": n_trainings, "vocabularies": n_vocabularies})
