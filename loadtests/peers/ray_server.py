"""The model behind Ray Serve: a FastAPI ingress whose batches are made by `serve.batch`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import logging
import time
from typing import Annotated, Any

import ray
from fastapi import FastAPI, File, Form
from ray import serve

from loadtests.peers.model import BATCH, WAIT_SECONDS, BatchedModel, Question, pixels_of
from loadtests.ports import free_port

app = FastAPI()


# At least the number of clients: fewer concurrent requests would make small batches.
@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 2})
@serve.ingress(app)
class SegmentDeployment:
    """One image and its classes in, masks out."""

    def __init__(self) -> None:
        self.model = BatchedModel()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def together(self, batch: list[Question]) -> list[list[dict[str, Any]]]:
        return self.model.segments(batch)

    @app.post("/segment")
    async def segment(self, image: Annotated[bytes, File()], classes: Annotated[list[str], Form()]) -> dict[str, Any]:
        return {"segments": await self.together((pixels_of(image), tuple(classes)))}

    @app.get("/readyz")
    async def ready(self) -> dict[str, bool]:
        return {"ready": True}


if __name__ == "__main__":
    port = free_port()
    # A cluster of its own, which shares nothing with others on this machine.
    ray.init("local", num_cpus=2, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})
    deployment: Any = SegmentDeployment  # typed as the class that it was made from
    serve.run(deployment.bind())
    print(f"http://127.0.0.1:{port}", flush=True)
    while True:
        time.sleep(60)
