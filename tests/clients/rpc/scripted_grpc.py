"""A small real gRPC server that answers what it is told, for what a healthy lexiseg never answers."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import trustme

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import segmentation_pb2_grpc as pb_grpc
from tests.waiting import SOON

ANY = "127.0.0.1:0"
# Answers a call, or aborts it; given the request (or all of them) and its context.
Answer = Callable[[Any, Any], Any]


class Servicer(pb_grpc.SegmentationServicer):
    """`segment` answers in order, the last again and again; `asked` holds what came."""

    def __init__(self, *segment: Answer, video: Answer | None = None) -> None:
        self._segment = list(segment)
        self._video = video
        self.asked: list[Any] = []
        self.left = threading.Event()  # a stream was left by its client

    def Segment(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        answer = self._segment.pop(0) if len(self._segment) > 1 else self._segment[0]
        return answer(request, context)

    def ListModels(self, request: Any, context: Any) -> Any:
        return pb.ListModelsResponse()

    def SegmentVideo(self, request_iterator: Any, context: Any) -> Any:
        assert self._video is not None
        context.add_callback(self.left.set)
        return self._video(request_iterator, context)


@contextmanager
def scripted(servicer: Servicer, certificate: trustme.LeafCert | None = None) -> Iterator[str]:
    """Serves on a free port until the block ends, by TLS if there is a certificate; gives HOST:PORT."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        pb_grpc.add_SegmentationServicer_to_server(servicer, server)
        port = server.add_secure_port(ANY, _tls(certificate)) if certificate else server.add_insecure_port(ANY)
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait(SOON)


def _tls(certificate: trustme.LeafCert) -> grpc.ServerCredentials:
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    return grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])


def well(_: Any, __: Any) -> pb.SegmentResponse:
    """An answer without segments."""
    return pb.SegmentResponse(image_id="abc", size=pb.Size(height=4, width=4))


def aborts(code: grpc.StatusCode, said: str = "no") -> Answer:
    """A failure without details, as gRPC itself or a proxy makes it."""

    def answer(_: Any, context: Any) -> Any:
        context.abort(code, said)

    return answer
