"""Many pictures in one request, taught to `tiny` by an engine that has one place for each client."""

import asyncio

import httpx

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.heads.reviewed import IMAGE, sky, tiny
from tests.waiting import SOON

ANN, BOB = {"X-API-Key": "ann"}, {"X-API-Key": "bob"}


async def test_fifty_pictures_wait_for_their_turn_and_hold_up_no_other_client() -> None:
    settings = Settings(
        deadline_seconds=600, queue_limit=1, api_keys="\n".join(line_of(name, name) for name in ("ann", "bob"))
    )
    backend = EngineBackend(tiny(), settings=settings)
    app = create_app(settings, backend, Metrics())
    reviewed = [sky(str(number)) for number in range(50)]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        teaching = asyncio.create_task(
            client.post("/v1/heads", json={"name": "views", "classes": ["sky"], "pictures": reviewed}, headers=ANN)
        )
        while not backend.engine.in_flight:
            await asyncio.sleep(0.001)
        other = await client.post("/v1/segment", files={"image": IMAGE}, data={"classes": "sky"}, headers=BOB)
        was_teaching = not teaching.done()
        made = await teaching
    backend.engine.close(SOON)

    assert (other.status_code, was_teaching) == (200, True)
    assert (made.status_code, made.json()["pictures"]) == (201, 50)
