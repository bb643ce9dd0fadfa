"""Many pictures in one request, taught to `tiny` by an engine that has one place for each client."""

import asyncio

from tests.service.gateway.heads.reviewed import IMAGE, serving_tiny, sky
from tests.service.gateway.serving import ANN, BOB, KEYS


async def test_many_pictures_wait_for_their_turn_and_hold_up_no_other_client() -> None:
    reviewed = [sky(str(number)) for number in range(12)]
    async with serving_tiny(queue_limit=1, api_keys=KEYS) as (client, backend):
        teaching = asyncio.create_task(
            client.post("/v1/heads", json={"name": "views", "classes": ["sky"], "pictures": reviewed}, headers=ANN)
        )
        while not backend.engine.in_flight:
            await asyncio.sleep(0.001)
        other = await client.post("/v1/segment", files={"image": IMAGE}, data={"classes": "sky"}, headers=BOB)
        was_teaching = not teaching.done()
        made = await teaching

    assert (other.status_code, was_teaching) == (200, True)
    assert (made.status_code, made.json()["pictures"]) == (201, 12)
