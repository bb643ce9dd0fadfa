"""The model behind LitServe, batched as its documentation shows."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from typing import Any

import litserve
from fastapi import Request

from loadtests.peers.model import BATCH, WAIT_SECONDS, BatchedModel, Question, pixels_of
from loadtests.ports import free_port


class SegmentAPI(litserve.LitAPI):
    """One image and its classes in, masks out."""

    def setup(self, device: str) -> None:
        self.model = BatchedModel()

    def decode_request(self, request: Request) -> Question:
        # LitServe passes the parsed form, although the parameter is typed as the request.
        form: Any = request
        return pixels_of(form["image"].file.read()), tuple(form.getlist("classes"))

    def predict(self, requests: list[Question]) -> list[list[dict[str, Any]]]:
        return self.model.segments(requests)

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"segments": output}


if __name__ == "__main__":
    port = free_port()
    print(f"http://127.0.0.1:{port}", flush=True)
    api = SegmentAPI(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS, api_path="/segment")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/readyz")
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
