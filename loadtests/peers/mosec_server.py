"""The model behind Mosec: one worker that takes batches and parses the form, which Mosec does not."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import orjson
from mosec import Server, Worker

from loadtests.peers.model import BATCH, WAIT_SECONDS, BatchedModel, Question, pixels_of
from loadtests.ports import free_port


class SegmentWorker(Worker):
    """One image and its classes in, masks out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = BatchedModel()

    def deserialize(self, data: bytes) -> Question:
        boundary = data[2 : data.index(b"\r\n")]
        head = b"Content-Type: multipart/form-data; boundary=" + boundary + b"\r\n\r\n"
        parts: dict[str, list[Any]] = {}
        for part in BytesParser(policy=HTTP).parsebytes(head + data).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            parts.setdefault(name, []).append(part.get_payload(decode=True))
        return pixels_of(parts["image"][0]), tuple(name.decode() for name in parts["classes"])

    def forward(self, data: list[Question]) -> list[list[dict[str, Any]]]:
        return self.model.segments(data)

    def serialize(self, data: list[dict[str, Any]]) -> bytes:
        return orjson.dumps({"segments": data})


if __name__ == "__main__":
    port = free_port()
    print(f"http://127.0.0.1:{port}", flush=True)
    settings = {"ADDRESS": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "error", "TIMEOUT": "120000"}
    os.environ.update({f"MOSEC_{name}": value for name, value in settings.items()})
    server = Server()
    wait = int(1000 * WAIT_SECONDS)
    server.append_worker(SegmentWorker, num=1, max_batch_size=BATCH, max_wait_time=wait, route="/segment")
    server.run()
