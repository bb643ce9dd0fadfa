"""The routes for operators: probes and metrics; by convention without a version."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.question.schemas import Liveness, Readiness
from lexiseg_service.watch import probes

DEAD: dict[str, Any] = {"model": Liveness, "description": "The process is not healthy"}
NOT_READY: dict[str, Any] = {"model": Readiness, "description": "Requests are not answered yet, or no longer"}

router = APIRouter(tags=["service"])
router.get("/livez", summary="Is the process healthy?", responses={200: {"model": Liveness}, 503: DEAD})(
    probes.get_liveness
)
router.get("/readyz", summary="Is a model warmed up?", responses={200: {"model": Readiness}, 503: NOT_READY})(
    probes.get_readiness
)
router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)(probes.get_metrics)
answer_head(router)
